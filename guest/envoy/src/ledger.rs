//! The ledger that all workers of one Envoy share: a sheet for each organisation, swapped as a whole.
//!
//! INVARIANT (never over-admit): whatever one exchange claims lies below one organisation, so all of it is on one
//! sheet, and one swap holds all of it or nothing. Two workers that swap at once do so one after the other: the second
//! reads what the first has written. The rules are those of `tollgate-ledger`.
//!
//! INVARIANT (settle once): a hold leaves its sheet in the swap that charges it. Who finds it gone charges nothing.

use std::sync::Arc;

use tollgate_ledger::sheet::{self, Turned};
use tollgate_ledger::{Charge, Entry, Hold, Raise, Reservation, Settled};

use crate::shared;

/// The first name of a path: the organisation, whose sheet it is on.
pub fn organisation(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

/// Holds every claim, or none.
///
/// # Errors
/// When the shared data could not be used: nothing is held.
pub fn reserve(hold: Hold<'_>, now: u64) -> Result<Reservation, String> {
    turn(organisation(&hold.entry.key), |bytes| sheet::reserve(bytes, hold, now)).map(|(answer, _)| answer)
}

/// Raises what a hold holds.
///
/// # Errors
/// See [`reserve`].
pub fn raise(hold: Hold<'_>, now: u64) -> Result<Raise, String> {
    turn(organisation(&hold.entry.key), |bytes| sheet::raise(bytes, hold, now)).map(|(answer, _)| answer)
}

/// Moves a lease; false: the hold is not open any more.
///
/// # Errors
/// See [`reserve`].
pub fn renew(entry: &Entry, lease_ms: u64, now: u64) -> Result<bool, String> {
    turn(organisation(&entry.key), |bytes| sheet::renew(bytes, &entry.request_id, lease_ms, now))
        .map(|(answer, _)| answer)
}

/// Closes a hold with what it really cost. The rows that this closed: its own, or the one it was lost with.
///
/// # Errors
/// See [`reserve`]. The lease will close it, charged as held.
pub fn settle(
    entry: &Arc<Entry>,
    charge: Charge<'_>,
    now: u64,
) -> Result<(Settled, Vec<Arc<Entry>>), String> {
    turn(organisation(&entry.key), |bytes| sheet::settle(bytes, entry, charge, now))
}

/// Closes the holds of an organisation whose lease has passed. Their rows.
///
/// # Errors
/// See [`reserve`].
pub fn expire(organisation: &str, now: u64) -> Result<Vec<Arc<Entry>>, String> {
    turn(organisation, |bytes| sheet::expire(bytes, now)).map(|(_, lost)| lost)
}

fn turn<T>(
    organisation: &str,
    operation: impl Fn(&[u8]) -> Result<Turned<T>, sheet::NotASheet>,
) -> Result<(T, Vec<Arc<Entry>>), String> {
    shared::swap(&format!("sheet/{organisation}"), |bytes| {
        let Turned { answer, sheet, closed } = operation(bytes).map_err(|wrong| wrong.to_string())?;
        Ok(((answer, closed), sheet))
    })
}
