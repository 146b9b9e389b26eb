//! The books and the keys of an exchange: in Spin's SQLite, or in a Redis that servers and edge share.

use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tollgate_edge::Ledger;
use tollgate_edge::wasi::{failed, insist, within};
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found};
use tollgate_ledger::{Charged, Entry, Hold, Raise, Reservation, Unavailable};
use tollgate_scripts::Shared;
use tollgate_stepwise::Stepwise;

use crate::database::Spin;
use crate::shared::Server;

const NOT_TOLD: &str = "a breaker could not be told";
const NOT_RENEWED: &str = "the ledger did not renew a lease";
const NOT_SETTLED: &str = "the ledger did not settle; the hold ends by its lease";
const NOT_LOOKED_AT: &str = "leases could not be looked at";

/// The ledger.
pub(crate) enum Books {
    /// Spin's SQLite, whose steps are done when they return.
    Own(Rc<Stepwise<Spin>>),
    /// Redis, which is waited for. What nobody can wait for goes on by itself.
    Shared(Rc<Far>),
}

/// Redis, and how long it may take to answer.
pub(crate) struct Far {
    ledger: Shared<Server>,
    timeout: Duration,
}

impl Books {
    pub(crate) fn own() -> Self {
        Self::Own(Rc::new(Stepwise::new(Spin::default())))
    }

    /// With Redis at this address.
    pub(crate) fn shared(address: &str, namespace: &str, rows: u64, timeout: Duration) -> Self {
        Self::Shared(Rc::new(Far { ledger: Shared::new(Server::new(address), namespace, rows), timeout }))
    }
}

impl Far {
    /// What Redis answers in time. After none the connection is another one.
    async fn ask<T>(&self, asked: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Unavailable> {
        self.heard(within(self.timeout, asked).await)
    }

    fn heard<T>(&self, answer: Result<T, Unavailable>) -> Result<T, Unavailable> {
        if answer.is_err() {
            self.ledger.commands().forget();
        }
        answer
    }
}

impl Ledger for Books {
    async fn find(&self, digest: &Digest) -> Result<Option<Found>, Unavailable> {
        match self {
            Self::Own(ledger) => ledger.find(digest),
            Self::Shared(far) => far.ask(far.ledger.find(digest)).await,
        }
    }

    async fn reserve(&self, hold: Hold<'_>, now: u64) -> Result<Reservation, Unavailable> {
        match self {
            Self::Own(ledger) => ledger.reserve(hold, now),
            Self::Shared(far) => far.ask(far.ledger.reserve(hold, now)).await,
        }
    }

    async fn raise(&self, hold: Hold<'_>, now: u64) -> Result<Raise, Unavailable> {
        match self {
            Self::Own(ledger) => ledger.raise(hold, now),
            Self::Shared(far) => far.ask(far.ledger.raise(hold, now)).await,
        }
    }

    async fn ask(&self, name: &str, rule: BreakerRule, now: u64) -> Result<Passage, Unavailable> {
        match self {
            Self::Own(ledger) => ledger.ask(name, rule, now),
            Self::Shared(far) => far.ask(far.ledger.ask(name, rule, now)).await,
        }
    }

    fn tell(&self, name: &str, rule: BreakerRule, generation: u64, health: Health, now: u64) {
        match self {
            Self::Own(ledger) => report(NOT_TOLD, name, ledger.tell(name, rule, generation, health, now)),
            Self::Shared(far) => {
                let (far, of) = (Rc::clone(far), name.to_owned());
                insist(NOT_TOLD, name, async move || {
                    far.heard(far.ledger.tell((&of, rule), (generation, health), now).await)
                });
            }
        }
    }

    fn renew(&self, hold: &str, lease_ms: u64, now: u64) {
        match self {
            Self::Own(ledger) => report(NOT_RENEWED, hold, ledger.renew(hold, lease_ms, now)),
            Self::Shared(far) => {
                let (far, id) = (Rc::clone(far), hold.to_owned());
                insist(NOT_RENEWED, hold, async move || {
                    far.heard(far.ledger.renew(&id, lease_ms, now).await)
                });
            }
        }
    }

    fn settle(&self, entry: &Arc<Entry>, charged: &Charged, now: u64) {
        let id = &entry.request_id;
        match self {
            Self::Own(ledger) => {
                if ledger.settle(entry, charged.lend(), now).is_err() {
                    // Others were writing for longer than Spin waits. It is one step: it was done or not begun.
                    let (ledger, entry, charged) = (Rc::clone(ledger), Arc::clone(entry), charged.clone());
                    insist(NOT_SETTLED, id, async move || ledger.settle(&entry, charged.lend(), now));
                }
            }
            Self::Shared(far) => {
                let (far, entry, charged) = (Rc::clone(far), Arc::clone(entry), charged.clone());
                insist(NOT_SETTLED, id, async move || {
                    far.heard(far.ledger.settle(&entry, charged.lend(), now).await)
                });
            }
        }
    }

    fn expire(&self, now: u64) {
        match self {
            Self::Own(ledger) => report(NOT_LOOKED_AT, "", ledger.expire(now)),
            Self::Shared(far) => {
                let far = Rc::clone(far);
                insist(NOT_LOOKED_AT, "", async move || far.heard(far.ledger.expire(now).await));
            }
        }
    }
}

fn report<T, E: Display>(what: &str, of: &str, done: Result<T, E>) {
    if let Err(cause) = done {
        failed(what, of, &cause);
    }
}
