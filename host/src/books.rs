//! Writing to the ledger from places that cannot wait: the end of a stream, a dropped exchange.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::{Charged, Entry, Settled, Store, Unavailable};

/// Settles and renews in the background, and knows when all of it is written.
pub(crate) struct Books {
    store: Arc<dyn Store>,
    /// How many writes are under way.
    pending: Arc<watch::Sender<usize>>,
    /// The holds of exchanges under way, and when their leases were last moved.
    open: Mutex<HashMap<String, Instant>>,
}

impl Books {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, pending: Arc::new(watch::Sender::new(0)), open: Mutex::default() }
    }

    /// Settles the hold of the entry's exchange and writes the entry.
    pub(crate) fn settle(&self, entry: Arc<Entry>, charged: Charged, now: u64) {
        let store = Arc::clone(&self.store);
        self.detach(async move {
            let settled = store.settle(&entry, charged.lend(), now).await;
            report(&entry.request_id, settled);
        });
    }

    /// Tells the breaker of an upstream what became of a try that it let pass; without a generation it is asked for the
    /// present one, and only for that.
    pub(crate) fn tell(
        &self,
        upstream: String,
        rule: BreakerRule,
        generation: Option<u64>,
        health: Health,
        now: u64,
    ) {
        let store = Arc::clone(&self.store);
        self.detach(async move {
            let told = async {
                let (generation, health) = match generation {
                    Some(generation) => (generation, health),
                    None => match store.ask(&upstream, rule, now).await? {
                        Passage::Pass { generation, probe: false } => (generation, health),
                        // Nobody is probing: the place is free for the next one to ask.
                        Passage::Pass { generation, probe: true } => (generation, Health::Unknown),
                        Passage::Wait(_) => return Ok(()),
                    },
                };
                store.tell(&upstream, rule, generation, health, now).await
            };
            if let Err(cause) = told.await {
                tracing::debug!(upstream, %cause, "the breaker could not be told");
            }
        });
    }

    /// Keeps a hold alive from now on, whatever its exchange waits for.
    pub(crate) fn opened(&self, hold: &str) {
        self.open().insert(hold.to_owned(), Instant::now());
    }

    /// Lets go of it.
    pub(crate) fn closed(&self, hold: &str) {
        self.open().remove(hold);
    }

    /// Moves the leases of which half has passed.
    pub(crate) async fn renew(&self, lease: Duration, now: u64) {
        let is_due =
            |(hold, renewed): (&String, &Instant)| (renewed.elapsed() >= lease / 2).then(|| hold.clone());
        let due: Vec<String> = self.open().iter().filter_map(is_due).collect();
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        for hold in due {
            match self.store.renew(&hold, lease_ms, now).await {
                Ok(true) => {
                    if let Some(renewed) = self.open().get_mut(&hold) {
                        *renewed = Instant::now();
                    }
                }
                // It may have been settled meanwhile.
                Ok(false) if self.open().remove(&hold).is_none() => {}
                Ok(false) => tracing::warn!(request_id = hold, "the lease of a running exchange had passed"),
                Err(cause) => {
                    tracing::error!(request_id = hold, %cause, "the ledger did not renew a lease");
                    return;
                }
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        // Nothing under the lock panics.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
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
        Ok(Settled::Unknown) => {
            tracing::warn!(
                request_id = hold,
                "the ledger does not know this hold: it was refused, or lost by the store"
            );
        }
        Ok(already) => tracing::debug!(request_id = hold, ?already, "nothing was left to settle"),
        Err(cause) => {
            tracing::error!(request_id = hold, %cause, "the ledger did not settle; the hold ends by its lease");
        }
    }
}
