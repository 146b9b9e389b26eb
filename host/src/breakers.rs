//! The breakers of upstreams, asked before a try and told after it.
//!
//! They are the store's, so that gateways with one store share them. A store that cannot be asked lets everybody pass:
//! a breaker saves time, it guards nothing.
//!
//! As long as an upstream does not fail here, its breaker is asked once in a second and told nothing: a store may be
//! a round trip away, and two for every exchange would buy nothing. From its first failure on it is asked and told
//! every time, until it answers again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tollgate_ledger::breaker::{BreakerRule, Health, Passage};

use crate::shell::Shell;
use crate::upstream::Upstream;

/// For so long, in milliseconds, an upstream passes that its breaker let pass.
const CALM_MS: u64 = 1_000;

/// What is known here of an upstream's breaker.
#[derive(Debug, Default)]
pub(crate) struct Calm {
    /// Until then nobody asks: milliseconds since the epoch.
    until_ms: AtomicU64,
    /// Whether it failed, and did not answer since.
    failing: AtomicBool,
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
    let calm = &upstream.calm;
    let until_ms = calm.until_ms.load(Ordering::Relaxed);
    // A clock that went back is no reason not to ask for long.
    if until_ms > now && until_ms.saturating_sub(now) <= CALM_MS {
        return Ok(passed(None));
    }
    match shell.store.ask(name, rule, now).await {
        Ok(Passage::Wait(wait_ms)) => Err(wait_ms),
        Ok(Passage::Pass { generation, probe }) => {
            if !probe && !calm.failing.load(Ordering::Relaxed) {
                calm.until_ms.store(now.saturating_add(CALM_MS), Ordering::Relaxed);
            }
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
        let calm = &self.upstream.calm;
        match health {
            Health::Bad => {
                calm.failing.store(true, Ordering::Relaxed);
                calm.until_ms.store(0, Ordering::Relaxed);
            }
            Health::Good => calm.failing.store(false, Ordering::Relaxed),
            Health::Unknown => {}
        }
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
