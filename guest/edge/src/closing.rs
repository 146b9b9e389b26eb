//! The end of an exchange: its hold settled, its row written, whatever happened before.

use std::sync::Arc;
use std::time::Duration;

use tollgate_ledger::{Charged, Claim, Entry, Hold, Outcome, Raise};

use crate::exchange::{Exchange, Held};
use crate::platform::{Cause, Clock as _, Ledger as _, Platform};
use crate::relay::Raising;
use crate::{translate, wit};

impl<P: Platform> Exchange<P> {
    /// Closes the exchange: settles what is held, writes the row. INVARIANT (settle once): only the first call does
    /// anything.
    pub(crate) fn finish(&mut self, ending: wit::Ending) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let row = self.hold.take().map(|held| self.settle(&held, ending));
        let outcome = row.as_ref().map_or(translate::outcome(ending), |row| row.outcome);
        let line = serde_json::json!({
            "level": "info", "message": "exchange", "request_id": self.id, "status": self.status,
            "outcome": outcome.as_str(), "row": row.as_deref(),
        });
        self.shell.clock.note(&line.to_string());
    }

    /// Has the policy say what the exchange really cost, and tells the ledger. Its row.
    fn settle(&self, held: &Held, ending: wit::Ending) -> Arc<Entry> {
        let settlement = self.shell.generation.gateway.settle(&self.ticket, ending);
        let (entry, charged) = if settlement.amounts.len() == held.claims.len() {
            let entry = translate::entry(&self.id, held.opening.at_ms, settlement.usage);
            (Entry { outcome: translate::outcome(ending), ..entry }, Charged::Amounts(settlement.amounts))
        } else if held.dispatched {
            // What was held is charged, for nobody can say what it was.
            self.note("the policy settled another number of claims than it made", &"settle");
            (Entry { outcome: Outcome::PolicyFailed, ..Entry::clone(&held.opening) }, Charged::Held)
        } else {
            (held.opening.undispatched(), Charged::Nothing)
        };
        let took = self.shell.clock.elapsed().saturating_sub(self.started);
        let entry = Arc::new(Entry {
            status: self.status,
            duration_ms: milliseconds(took),
            first_byte_ms: self.first_byte.map(milliseconds),
            ..entry
        });
        self.shell.ledger.settle(&entry, &charged, self.shell.clock.now_ms());
        entry
    }

    /// Asks the ledger to hold so much from now on, all claims or none.
    pub(crate) fn raise(&self, holding: wit::Holding) -> Result<Raising, Cause> {
        let wit::Holding { amounts, usage } = holding;
        let held = self.hold.as_ref().filter(|held| held.claims.len() == amounts.len());
        let held = held.ok_or(Cause("the policy holds another number of claims than it made"))?;
        let with = |(claim, amount): (&Claim, u64)| Claim { amount, ..claim.clone() };
        let claims: Vec<Claim> = held.claims.iter().zip(amounts).map(with).collect();
        let entry = Arc::new(translate::entry(&self.id, held.opening.at_ms, usage));
        let shell = std::rc::Rc::clone(&self.shell);
        let line = serde_json::json!({
            "level": "debug", "message": "more is held for a stream", "request_id": self.id,
            "amounts": claims.iter().map(|claim| claim.amount).collect::<Vec<_>>(),
        });
        shell.clock.note(&line.to_string());
        Ok(Box::pin(async move {
            let (lease_ms, now) = (shell.generation.lease_ms(), shell.clock.now_ms());
            let hold = Hold { entry: &entry, claims: &claims, lease_ms };
            match shell.ledger.raise(hold, now).await {
                Ok(Raise::Granted { .. }) => Some(entry),
                // A hold whose lease has passed is charged as it was.
                Ok(Raise::Limited { .. } | Raise::Gone) => None,
                // INVARIANT (fail closed on money): what nobody knows to be held is not held.
                Err(cause) => {
                    let line = serde_json::json!({
                        "level": "error", "message": "the ledger did not hold more for a stream",
                        "request_id": entry.request_id, "cause": cause.to_string(),
                    });
                    shell.clock.note(&line.to_string());
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

impl<P: Platform> Drop for Exchange<P> {
    fn drop(&mut self) {
        let ending = if self.dispatched() { wit::Ending::ClientLeft } else { wit::Ending::Undispatched };
        self.finish(ending);
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
