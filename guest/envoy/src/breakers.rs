//! Breakers that all workers share, each a line of text in the shared data.

use proxy_wasm::types::LogLevel;
use tollgate_ledger::breaker::{Breaker, BreakerRule, Health, Passage};

use crate::plugin::log;
use crate::shared;

/// Who was let pass, to be told of.
pub struct Passed {
    upstream: String,
    rule: BreakerRule,
    generation: u64,
}

/// Asks an upstream's breaker; or how long it lets nobody pass, in milliseconds. One that cannot be asked lets pass.
pub fn ask(upstream: &str, rule: BreakerRule, now: u64) -> Result<Passed, u64> {
    let passed = |generation| Passed { upstream: upstream.to_owned(), rule, generation };
    match with(upstream, |breaker| breaker.ask(rule, now)) {
        Some(Passage::Pass { generation, .. }) => Ok(passed(generation)),
        Some(Passage::Wait(wait_ms)) => Err(wait_ms),
        None => Ok(passed(u64::MAX)),
    }
}

impl Passed {
    /// Tells the breaker what became of the try.
    pub fn tell(&self, health: Health, now: u64) {
        with(&self.upstream, |breaker| breaker.tell(self.rule, self.generation, health, now));
    }
}

fn with<T>(upstream: &str, change: impl Fn(&mut Breaker) -> T) -> Option<T> {
    let swapped = shared::swap(&format!("breaker/{upstream}"), |bytes| {
        let text = str::from_utf8(bytes).unwrap_or_default();
        let before: Breaker = text.parse().unwrap_or_default();
        let mut after = before;
        let answer = change(&mut after);
        Ok((answer, (after != before).then(|| after.to_string().into_bytes())))
    });
    swapped.map_err(|cause| log(LogLevel::Error, &format!("the breaker of {upstream}: {cause}"))).ok()
}
