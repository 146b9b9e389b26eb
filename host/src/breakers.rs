//! The breakers of upstreams, asked before a try and told after it.
//!
//! They are the store's, so that gateways with one store share them. A store that cannot be asked lets everybody pass:
//! a breaker saves time, it guards nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_ledger::breaker::{self, BreakerRule, Health, Passage};

use crate::shell::Shell;
use crate::upstream::Upstream;

/// What is known here of an upstream's breaker.
#[derive(Debug, Default)]
pub(crate) struct Calm(Mutex<breaker::Calm>);

impl Calm {
    fn lock(&self) -> MutexGuard<'_, breaker::Calm> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A try that may be made. Dropped without a word, nothing was learnt, and a probe frees its place.
pub(crate) struct Passed {
    shell: Arc<Shell>,
    upstream: Arc<Upstream>,
    name: String,
    rule: BreakerRule,
    /// As the breaker let it pass; none: it was not asked.
    generation: Option<u64>,
    told: bool,
}

/// Asks the breaker of an upstream; or how many milliseconds it lets nobody pass.
pub(crate) async fn ask(
    shell: &Arc<Shell>,
    upstream: &Arc<Upstream>,
    name: &str,
    rule: BreakerRule,
) -> Result<Passed, u64> {
    let now = (shell.clock)();
    let passed = |generation| Passed {
        shell: Arc::clone(shell),
        upstream: Arc::clone(upstream),
        name: name.to_owned(),
        rule,
        generation,
        told: false,
    };
    if upstream.calm.lock().holds(now) {
        return Ok(passed(None));
    }
    match shell.store.ask(name, rule, now).await {
        Ok(Passage::Wait(wait_ms)) => Err(wait_ms),
        Ok(Passage::Pass { generation, probe }) => {
            upstream.calm.lock().heard(probe, now);
            Ok(passed(Some(generation)))
        }
        Err(cause) => {
            tracing::debug!(upstream = name, %cause, "the breaker could not be asked");
            Ok(passed(None))
        }
    }
}

impl Passed {
    /// Says what became of the try.
    pub(crate) fn tell(mut self, health: Health) {
        self.tell_once(health);
    }

    fn tell_once(&mut self, health: Health) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        self.upstream.calm.lock().saw(health);
        if self.generation.is_some() || health == Health::Bad {
            let name = std::mem::take(&mut self.name);
            let now = (self.shell.clock)();
            self.shell.books.tell(name, self.rule, self.generation, health, now);
        }
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        self.tell_once(Health::Unknown);
    }
}
