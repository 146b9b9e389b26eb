//! Writing to the ledger from places that cannot wait: the end of a stream, a dropped exchange.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;
use tollgate_ledger::{Charge, Entry, Settled, Store, Unavailable};

/// Settles and renews in the background, and knows when all of it is written.
pub(crate) struct Books {
    store: Arc<dyn Store>,
    /// How many writes are under way.
    pending: Arc<watch::Sender<usize>>,
}

/// What an exchange is charged: [`Charge`], owned.
pub(crate) enum Charged {
    /// The real amounts.
    Amounts(Vec<u64>),
    /// What was held.
    Held,
    /// Nothing.
    Nothing,
}

impl Charged {
    fn lend(&self) -> Charge<'_> {
        match self {
            Self::Amounts(amounts) => Charge::Amounts(amounts),
            Self::Held => Charge::Held,
            Self::Nothing => Charge::Nothing,
        }
    }
}

impl Books {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, pending: Arc::new(watch::Sender::new(0)) }
    }

    /// Settles the hold of the entry's exchange and writes the entry.
    pub(crate) fn settle(&self, entry: Arc<Entry>, charged: Charged, now: u64) {
        let store = Arc::clone(&self.store);
        self.detach(async move {
            let settled = store.settle(&entry, charged.lend(), now).await;
            report(&entry.request_id, settled);
        });
    }

    /// Keeps a hold alive.
    pub(crate) fn renew(&self, hold: String, lease: Duration, now: u64) {
        let store = Arc::clone(&self.store);
        let lease = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        self.detach(async move {
            match store.renew(&hold, lease, now).await {
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
