//! The end of an exchange: its hold settled, its row written, whatever happened before.

use std::sync::Arc;
use std::time::Duration;

use tollgate_ledger::{Charged, Entry, Outcome};

use super::{Exchange, Held};
use crate::policy::{Broken, wit};
use crate::translate;

impl Exchange {
    /// Closes the exchange: settles what is held, writes the row. INVARIANT (settle once): only the first call does
    /// anything.
    pub(crate) fn finish(&mut self, ending: wit::Ending) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let row = self.hold.take().map(|held| {
            self.shell.books.closed(&self.id);
            self.settle(&held, ending)
        });
        self.record.write(&self.id, row.as_deref(), translate::outcome(ending), self.started.elapsed());
    }

    /// Has the policy say what the exchange really cost, and tells the ledger. Its row.
    fn settle(&self, held: &Held, ending: wit::Ending) -> Arc<Entry> {
        let now = (self.shell.clock)();
        let settled = self.generation.policy.call(|policy| policy.settle(&self.ticket, ending)).and_then(
            |settlement| {
                if settlement.amounts.len() == held.claims.len() {
                    Ok(settlement)
                } else {
                    Err(Broken::new("the policy settled another number of claims than it made"))
                }
            },
        );
        let (entry, charged) = match settled {
            Ok(settlement) => {
                let entry = translate::entry(&self.id, held.opening.at_ms, settlement.usage);
                (Entry { outcome: translate::outcome(ending), ..entry }, Charged::Amounts(settlement.amounts))
            }
            Err(broken) => {
                tracing::error!(request_id = %self.id, cause = %broken, "the policy did not settle");
                if held.dispatched {
                    // What was held is charged, for nobody can say what it was.
                    let entry = Entry { outcome: Outcome::PolicyFailed, ..Entry::clone(&held.opening) };
                    (entry, Charged::Held)
                } else {
                    (held.opening.undispatched(), Charged::Nothing)
                }
            }
        };
        let entry = Arc::new(Entry {
            status: self.record.status,
            duration_ms: milliseconds(self.started.elapsed()),
            first_byte_ms: self.record.first_byte.map(milliseconds),
            ..entry
        });
        self.shell.books.settle(Arc::clone(&entry), charged, now);
        entry
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let ending = if self.dispatched() { wit::Ending::ClientLeft } else { wit::Ending::Undispatched };
        self.finish(ending);
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
