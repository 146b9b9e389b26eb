//! Books in the memory that all workers of one Envoy share: a sheet for each organisation, swapped as a whole.
//!
//! INVARIANT (never over-admit): whatever one exchange claims lies below one organisation, so all of it is on one
//! sheet, and one swap holds all of it or nothing. Two workers that swap at once do so one after the other: the second
//! reads what the first has written. The rules are those of `tollgate-ledger`.
//!
//! INVARIANT (settle once): a hold leaves its sheet in the swap that charges it. Who finds it gone charges nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use proxy_wasm::types::LogLevel;
use tollgate_ledger::sheet::{self, Turned};
use tollgate_ledger::{Charge, Entry, Hold, Raise, Reservation};

use crate::plugin::log;
use crate::{record, shared};

/// Sheets whose names in the shared data begin alike.
pub struct Sheets {
    prefix: &'static str,
    /// The organisations whose leases are looked at: those that the configuration names, and those that this worker
    /// has granted anything.
    organisations: RefCell<BTreeSet<String>>,
}

/// The first name of a path: the organisation, whose sheet it is on.
fn organisation(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

impl Sheets {
    /// Those of this prefix, for the organisations of these keys.
    pub fn new(prefix: &'static str, keys: impl Iterator<Item = String>) -> Self {
        let organisations = keys.map(|key| organisation(&key).to_owned()).collect();
        Self { prefix, organisations: RefCell::new(organisations) }
    }

    /// Holds every claim, or none.
    ///
    /// # Errors
    /// When the shared data could not be used: nothing is held.
    pub fn reserve(&self, hold: Hold<'_>, now: u64) -> Result<Reservation, String> {
        let organisation = organisation(&hold.entry.key);
        if !self.organisations.borrow().contains(organisation) {
            self.organisations.borrow_mut().insert(organisation.to_owned());
        }
        self.turn(organisation, |bytes| sheet::reserve(bytes, hold, now))
    }

    /// Raises what a hold holds.
    ///
    /// # Errors
    /// See [`Sheets::reserve`].
    pub fn raise(&self, hold: Hold<'_>, now: u64) -> Result<Raise, String> {
        self.turn(organisation(&hold.entry.key), |bytes| sheet::raise(bytes, hold, now))
    }

    /// Moves a lease.
    pub fn renew(&self, entry: &Entry, lease_ms: u64, now: u64) {
        let id = &entry.request_id;
        let renewed = self.turn(organisation(&entry.key), |bytes| sheet::renew(bytes, id, lease_ms, now));
        if let Err(cause) = renewed {
            log(LogLevel::Error, &format!("{id}: a lease was not moved: {cause}"));
        }
    }

    /// Closes a hold with what it really cost. Where that fails, its lease closes it, charged as held.
    pub fn settle(&self, entry: &Arc<Entry>, charge: Charge<'_>, now: u64) {
        let settled = self.turn(organisation(&entry.key), |bytes| sheet::settle(bytes, entry, charge, now));
        if let Err(cause) = settled {
            log(LogLevel::Error, &format!("{}: not settled: {cause}", entry.request_id));
        }
    }

    /// Closes the holds whose lease has passed: those of a worker that is gone. They are charged as held.
    pub fn expire(&self, now: u64) {
        for organisation in self.organisations.borrow().iter() {
            if let Err(cause) = self.turn(organisation, |bytes| sheet::expire(bytes, now)) {
                log(LogLevel::Error, &format!("leases were not looked at: {cause}"));
            }
        }
    }

    /// Swaps a sheet, and logs the rows that this closed.
    fn turn<T>(
        &self,
        organisation: &str,
        operation: impl Fn(&[u8]) -> Result<Turned<T>, sheet::NotASheet>,
    ) -> Result<T, String> {
        let (answer, closed) = shared::swap(&format!("{}/{organisation}", self.prefix), |bytes| {
            let Turned { answer, sheet, closed } = operation(bytes).map_err(|wrong| wrong.to_string())?;
            Ok(((answer, closed), sheet))
        })?;
        closed.iter().for_each(|row| record::row(row));
        Ok(answer)
    }
}
