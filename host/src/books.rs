//! Writing to the ledger from places that cannot wait: the end of a stream, a dropped exchange.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;
use tollgate_ledger::{Charge, Ledger, Settled, Unavailable};

/// Settles and renews in the background, and knows when all of it is written.
pub(crate) struct Books {
    ledger: Arc<dyn Ledger>,
    /// How many writes are under way.
    pending: Arc<watch::Sender<usize>>,
}

impl Books {
    pub(crate) fn new(ledger: Arc<dyn Ledger>) -> Self {
        Self { ledger, pending: Arc::new(watch::Sender::new(0)) }
    }

    /// Settles a hold with the amounts the policy gave.
    pub(crate) fn settle(&self, hold: String, amounts: Vec<u64>, now: u64) {
        let ledger = Arc::clone(&self.ledger);
        self.detach(async move {
            let settled = ledger.settle(&hold, Charge::Amounts(&amounts), now).await;
            report(&hold, settled);
        });
    }

    /// Settles a hold whose policy is silent: what was held, if the request was sent; else nothing.
    pub(crate) fn settle_without_policy(&self, hold: String, dispatched: bool, now: u64) {
        let ledger = Arc::clone(&self.ledger);
        self.detach(async move {
            let charge = if dispatched { Charge::Held } else { Charge::Nothing };
            let settled = ledger.settle(&hold, charge, now).await;
            report(&hold, settled);
        });
    }

    /// Keeps a hold alive.
    pub(crate) fn renew(&self, hold: String, lease: Duration, now: u64) {
        let ledger = Arc::clone(&self.ledger);
        let lease = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        self.detach(async move {
            match ledger.renew(&hold, lease, now).await {
                Ok(true) => {}
                Ok(false) => tracing::warn!(request_id = hold, "the lease of a running exchange had passed"),
                Err(cause) => tracing::error!(request_id = hold, %cause, "the ledger did not renew a lease"),
            }
        });
    }

    /// Waits until nothing is under way.
    pub(crate) async fn written(&self) {
        // The sender lives in self, so the wait cannot fail.
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    /// Runs a write to its end. One that is done at once, as with the ledger in memory, costs no task.
    fn detach(&self, write: impl Future<Output = ()> + Send + 'static) {
        let mut write: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(write);
        if let Poll::Ready(()) = write.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            tracing::error!("no runtime is left to write to the ledger; the hold ends by its lease");
            return;
        };
        let pending = Arc::clone(&self.pending);
        pending.send_modify(|count| *count = count.saturating_add(1));
        runtime.spawn(async move {
            write.await;
            pending.send_modify(|count| *count = count.saturating_sub(1));
        });
    }
}

fn report(hold: &str, settled: Result<Settled, Unavailable>) {
    match settled {
        Ok(Settled::Done) => {}
        Ok(already) => tracing::debug!(request_id = hold, ?already, "nothing was left to settle"),
        Err(cause) => {
            tracing::error!(request_id = hold, %cause, "the ledger did not settle; the hold ends by its lease");
        }
    }
}
