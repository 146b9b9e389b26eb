//! The books and the keys of an exchange, in Spin's SQLite.

use std::sync::Arc;

use tollgate_edge::Ledger;
use tollgate_edge::wasi::failed;
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found};
use tollgate_ledger::{Charged, Entry, Hold, Raise, Reservation, Unavailable};
use tollgate_stepwise::Stepwise;

use crate::database::Spin;

/// The ledger.
pub(crate) struct Books(Stepwise<Spin>);

impl Books {
    pub(crate) fn new() -> Self {
        Self(Stepwise::new(Spin::default()))
    }
}

impl Ledger for Books {
    async fn find(&self, digest: &Digest) -> Result<Option<Found>, Unavailable> {
        self.0.find(digest)
    }

    async fn reserve(&self, hold: Hold<'_>, now: u64) -> Result<Reservation, Unavailable> {
        self.0.reserve(hold, now)
    }

    async fn raise(&self, hold: Hold<'_>, now: u64) -> Result<Raise, Unavailable> {
        self.0.raise(hold, now)
    }

    async fn ask(&self, name: &str, rule: BreakerRule, now: u64) -> Result<Passage, Unavailable> {
        self.0.ask(name, rule, now)
    }

    fn tell(&self, name: &str, rule: BreakerRule, generation: u64, health: Health, now: u64) {
        report("a breaker could not be told", name, self.0.tell(name, rule, generation, health, now));
    }

    fn renew(&self, hold: &str, lease_ms: u64, now: u64) {
        report("the ledger did not renew a lease", hold, self.0.renew(hold, lease_ms, now));
    }

    fn settle(&self, entry: &Arc<Entry>, charged: &Charged, now: u64) {
        let settled = self.0.settle(entry, charged.lend(), now);
        report("the ledger did not settle; the hold ends by its lease", &entry.request_id, settled);
    }

    fn expire(&self, now: u64) {
        report("leases could not be looked at", "", self.0.expire(now));
    }
}

fn report<T>(what: &str, of: &str, done: Result<T, Unavailable>) {
    if let Err(cause) = done {
        failed(what, of, &cause);
    }
}
