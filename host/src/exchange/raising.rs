//! Holding more for an answer that has become longer than what was held for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tollgate_ledger::{Claim, Entry, Hold, Raise, Unavailable};

use super::{DURABLE_WITHIN, Exchange};
use crate::policy::{Broken, wit};
use crate::translate;

/// More is being held. Its answer is for [`Exchange::raised`].
pub(crate) type Raising = Pin<Box<dyn Future<Output = Option<Arc<Entry>>> + Send>>;

impl Exchange {
    /// Asks the ledger to hold so much from now on, all claims or none.
    pub(crate) fn raise(&self, holding: wit::Holding) -> Result<Raising, Broken> {
        let wit::Holding { amounts, usage } = holding;
        let held = self.hold.as_ref().filter(|held| held.claims.len() == amounts.len());
        let held =
            held.ok_or_else(|| Broken::new("the policy holds another number of claims than it made"))?;
        let claims: Vec<Claim> = held
            .claims
            .iter()
            .zip(amounts)
            .map(|(claim, amount)| Claim { amount, ..claim.clone() })
            .collect();
        let entry = Arc::new(translate::entry(&self.id, held.opening.at_ms, usage));
        let store = Arc::clone(&self.shell.store);
        let (lease_ms, now) = (self.generation.lease_ms(), (self.shell.clock)());
        Ok(Box::pin(async move {
            let hold = Hold { entry: &entry, claims: &claims, lease_ms };
            let raised = async {
                match store.raise(hold, now).await? {
                    Raise::Granted { position, .. } => {
                        within(DURABLE_WITHIN, store.durable(position)).await.map(|()| true)
                    }
                    // A hold whose lease has passed is charged as it was.
                    Raise::Limited { .. } | Raise::Gone => Ok(false),
                }
            };
            match raised.await {
                Ok(granted) => granted.then_some(entry),
                // INVARIANT (fail closed on money): what nobody knows to be held is not held.
                Err(cause) => {
                    tracing::error!(request_id = entry.request_id, %cause, "the ledger did not hold more for a stream");
                    None
                }
            }
        }))
    }

    /// What was asked for is held; the row of the exchange is now this one if nobody settles it.
    pub(crate) fn raised(&mut self, opening: Arc<Entry>) {
        if let Some(held) = &mut self.hold {
            held.opening = opening;
        }
    }
}

/// A write that must be on the disk in time.
pub(super) async fn within(
    span: Duration,
    durable: impl Future<Output = Result<(), Unavailable>>,
) -> Result<(), Unavailable> {
    let kept = tokio::time::timeout(span, durable).await;
    kept.unwrap_or_else(|_| Err(Unavailable::new("what was granted is not on the disk in time")))
}
