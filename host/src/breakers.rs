//! The breakers of upstreams, asked before a try and told after it.
//!
//! They are the store's, so that gateways with one store share them. A store that cannot be asked lets everybody pass:
//! a breaker saves time, it guards nothing.

use std::sync::Arc;

use tollgate_ledger::breaker::{BreakerRule, Health, Passage};

use crate::gateway::Shell;

/// A try that a breaker let pass. Dropped without a word, nothing was learnt, and a probe frees its place.
pub(crate) struct Passed {
    shell: Arc<Shell>,
    told: Option<Told>,
}

/// What the breaker must hear of again.
struct Told {
    upstream: String,
    rule: BreakerRule,
    generation: u64,
}

/// Asks the breaker of an upstream; or how many milliseconds it lets nobody pass.
pub(crate) async fn ask(shell: &Arc<Shell>, upstream: &str, rule: BreakerRule) -> Result<Passed, u64> {
    let told = match shell.store.ask(upstream, rule, (shell.clock)()).await {
        Ok(Passage::Wait(wait_ms)) => return Err(wait_ms),
        Ok(Passage::Pass { generation, .. }) => {
            Some(Told { upstream: upstream.to_owned(), rule, generation })
        }
        Err(cause) => {
            tracing::debug!(upstream, %cause, "the breaker could not be asked");
            None
        }
    };
    Ok(Passed { shell: Arc::clone(shell), told })
}

impl Passed {
    /// Tells the breaker what became of the try.
    pub(crate) fn tell(mut self, health: Health) {
        self.tell_once(health);
    }

    fn tell_once(&mut self, health: Health) {
        if let Some(Told { upstream, rule, generation }) = self.told.take() {
            self.shell.books.tell(upstream, rule, generation, health, (self.shell.clock)());
        }
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        self.tell_once(Health::Unknown);
    }
}
