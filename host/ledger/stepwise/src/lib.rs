//! The ledger in an SQLite database that is asked statement by statement, for platforms that give no more than that.
//!
//! Nothing is kept between two steps: each is one transaction that reads the cells and the hold it is about, has the
//! books of [`tollgate_ledger`] apply their rules to them, and writes back what changed. So any number of processes
//! may share the database, and any of them may end at any time. The tables are those of `tollgate-sqlite`, so that its
//! tools read the rows and make the keys; breakers have a table of their own here, for no process outlives them.
//!
//! The invariants of [`tollgate_ledger`] hold because the step is atomic: `BEGIN IMMEDIATE` lets one writer in at a
//! time, and a step that fails is rolled back. A reservation that is refused changes nothing and takes no turn among
//! writers: it is answered from what one statement read.

#![forbid(unsafe_code)]

mod breakers;
mod database;
mod keys;
mod ledger;
mod notes;
mod row;
mod step;
mod tables;

use std::sync::{Arc, Mutex, PoisonError};

use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found};
use tollgate_ledger::{Charge, Claim, Entry, Hold, Raise, Reservation, Settled, Standing, Unavailable};

pub use database::{Database, Row, Value};

use step::Step;
use tables::Tables;

/// Cells and rows stay so long after they are over, in milliseconds: no exchange lasts longer.
const KEPT_MS: u64 = 86_400_000;

/// The ledger in a database.
pub struct Stepwise<D>(Mutex<Inner<D>>);

struct Inner<D> {
    database: D,
    tables: Tables,
}

impl<D: Database> Stepwise<D> {
    /// A ledger in this database, which gets its tables with the first step if it has none.
    pub fn new(database: D) -> Self {
        Self(Mutex::new(Inner { database, tables: Tables::Unseen }))
    }

    /// See [`tollgate_ledger::Ledger::reserve`]. What is granted is durable.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn reserve(&self, hold: Hold<'_>, now: u64) -> Result<Reservation, Unavailable> {
        // Who is refused keeps no writer out: what was read was all of one moment.
        match self.with(|step| step.refusal(hold, now))? {
            Some(refused) => Ok(refused),
            None => self.atomically(|step| step.reserve(hold, now)),
        }
    }

    /// See [`tollgate_ledger::Ledger::raise`]. What is granted is durable.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn raise(&self, hold: Hold<'_>, now: u64) -> Result<Raise, Unavailable> {
        self.atomically(|step| step.raise(hold, now))
    }

    /// See [`tollgate_ledger::Ledger::renew`].
    ///
    /// # Errors
    /// The database does not answer.
    pub fn renew(&self, hold: &str, lease_ms: u64, now: u64) -> Result<bool, Unavailable> {
        self.atomically(|step| step.renew(hold, lease_ms, now))
    }

    /// See [`tollgate_ledger::Ledger::settle`].
    ///
    /// # Errors
    /// The database does not answer.
    pub fn settle(&self, entry: &Arc<Entry>, charge: Charge<'_>, now: u64) -> Result<Settled, Unavailable> {
        self.atomically(|step| step.settle(entry, charge, now))
    }

    /// See [`tollgate_ledger::Ledger::expire`]. Takes the first hundred holds that are due.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn expire(&self, now: u64) -> Result<usize, Unavailable> {
        // Nearly always nothing is due: that is seen without keeping writers out.
        let is_due = self.with(|step| step.is_due(now, now.saturating_sub(KEPT_MS)))?;
        if !is_due {
            return Ok(0);
        }
        self.atomically(|step| {
            step.sweep(now.saturating_sub(KEPT_MS))?;
            step.expire(now)
        })
    }

    /// See [`tollgate_ledger::Ledger::standings`].
    ///
    /// # Errors
    /// The database does not answer.
    pub fn standings(&self, claims: &[Claim], now: u64) -> Result<Vec<Standing>, Unavailable> {
        self.atomically(|step| step.standings(claims, now))
    }

    /// See [`tollgate_ledger::Breakers::ask`].
    ///
    /// # Errors
    /// The database does not answer.
    pub fn ask(&self, name: &str, rule: BreakerRule, now: u64) -> Result<Passage, Unavailable> {
        self.breaker(name, |breaker| breaker.ask(rule, now))
    }

    /// See [`tollgate_ledger::Breakers::tell`].
    ///
    /// # Errors
    /// The database does not answer.
    pub fn tell(
        &self,
        name: &str,
        rule: BreakerRule,
        generation: u64,
        health: Health,
        now: u64,
    ) -> Result<(), Unavailable> {
        self.breaker(name, |breaker| breaker.tell(rule, generation, health, now))
    }

    /// See [`tollgate_ledger::keys::Keys::find`].
    ///
    /// # Errors
    /// The database does not answer.
    pub fn find(&self, digest: &Digest) -> Result<Option<Found>, Unavailable> {
        self.with(|step| keys::find(step, digest))
    }

    /// One step: all of it happens, or nothing.
    fn atomically<T>(
        &self,
        act: impl Fn(&mut Step<'_, D>) -> Result<T, Unavailable>,
    ) -> Result<T, Unavailable> {
        self.with(|step| {
            step.run("BEGIN IMMEDIATE", &[])?;
            let done = act(step).and_then(|answer| step.run("COMMIT", &[]).map(|_| answer));
            if done.is_err() {
                // Whatever this answers: a connection that cannot roll back is of no more use, and ends the same way.
                let _ = step.run("ROLLBACK", &[]);
            }
            done
        })
    }

    fn with<T>(&self, act: impl Fn(&mut Step<'_, D>) -> Result<T, Unavailable>) -> Result<T, Unavailable> {
        // Nothing under the lock panics; a poisoned one would still hold a sound database.
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { database, tables } = &mut *inner;
        let mut step = Step { database };
        if *tables == Tables::Unseen {
            *tables = tables::look(&mut step)?;
        }
        let done = act(&mut step);
        if done.is_ok() || *tables == Tables::Complete {
            return done;
        }
        // Perhaps for want of a table: a tool makes fewer. Any other failure is not for us to repeat.
        let made = tables::set_up(&mut step)?;
        *tables = Tables::Complete;
        if made { act(&mut step) } else { done }
    }
}
