//! Where exchanges keep their books, asked alike wherever that is: in the memory that the workers of this Envoy share
//! ([`Sheets`]), or with a Tollgate server, so that many Envoys and servers share one budget ([`Server`]).
//!
//! Shared memory answers at once, a server later: whoever asks gets an [`Asked`], and goes on where the answer is. While
//! the server cannot be asked, a share of the windows and slots is granted here, and no budget.

use std::rc::Rc;
use std::sync::Arc;

use tollgate_ledger::keys::{Digest, Found};
use tollgate_ledger::{Charged, Entry, Hold, Raise, Reservation, share};
use tollgate_remote::Call;

use crate::outbox::{self, Settlement};
use crate::record;
use crate::server::{Asked, Server};
use crate::sheets::Sheets;

/// The books.
pub enum Ledger {
    /// Of this Envoy alone. A restart forgets them.
    Here(Sheets),
    /// Of a server.
    There {
        /// That server.
        server: Rc<Server>,
        /// What is granted while it cannot be asked.
        share: Sheets,
        /// How much of each limit that is.
        percent: u64,
    },
}

/// Where a hold is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the books.
    Books,
    /// In the books, if the answer that never came was a grant.
    Perhaps,
    /// In this Envoy's share.
    Share,
}

impl Ledger {
    /// The key that has this digest among its secrets. Without a server there are none but those of the file.
    pub fn find(&self, digest: &Digest) -> Asked<Option<Found>> {
        match self {
            Self::Here(_) => Asked::Answered(Ok(None)),
            Self::There { server, .. } => server.ask(Call::find(digest)),
        }
    }

    /// Holds every claim, or none.
    pub fn reserve(&self, hold: Hold<'_>, now: u64) -> Asked<Reservation> {
        match self {
            Self::Here(sheets) => Asked::Answered(sheets.reserve(hold, now)),
            Self::There { server, .. } => server.ask(Call::reserve(hold, now)),
        }
    }

    /// What the share grants of the same claims, because the books did not answer for this reason.
    ///
    /// # Errors
    /// That reason, where a budget is among the claims or they are more than the share ever grants. INVARIANT (fail
    /// closed on money).
    pub fn reserve_share(&self, hold: Hold<'_>, down: String, now: u64) -> Result<Reservation, String> {
        let Self::There { share, percent, .. } = self else { return Err(down) };
        let Some(claims) = share::scaled(hold.claims, *percent) else { return Err(down) };
        match share.reserve(Hold { claims: &claims, ..hold }, now)? {
            Reservation::Limited { claim, retry_after_ms: None, .. }
                if hold.claims.get(claim).is_some_and(|claim| claim.amount <= claim.rule.limit()) =>
            {
                // It fits its limit, only not this share of it: to ask for less is not called for.
                Err(down)
            }
            answer => Ok(answer),
        }
    }

    /// Raises what a hold holds, where it is.
    pub fn raise(&self, hold: Hold<'_>, at: Place, now: u64) -> Asked<Raise> {
        match (self, at) {
            (Self::Here(sheets), _) => Asked::Answered(sheets.raise(hold, now)),
            (Self::There { share, percent, .. }, Place::Share) => {
                let claims = share::scaled(hold.claims, *percent);
                let claims = claims.ok_or_else(|| "there is no share of a budget".to_owned());
                Asked::Answered(claims.and_then(|claims| share.raise(Hold { claims: &claims, ..hold }, now)))
            }
            (Self::There { server, .. }, _) => server.ask(Call::raise(hold, now)),
        }
    }

    /// Moves a lease.
    pub fn renew(&self, entry: &Entry, lease_ms: u64, at: Place, now: u64) {
        match (self, at) {
            (Self::Here(sheets), _) | (Self::There { share: sheets, .. }, Place::Share) => {
                sheets.renew(entry, lease_ms, now);
            }
            (Self::There { server, .. }, _) => outbox::renew(server, &entry.request_id, lease_ms, now),
        }
    }

    /// Closes a hold with what it really cost, and writes its row.
    pub fn settle(&self, entry: Arc<Entry>, charged: Charged, at: Place, now: u64) {
        match self {
            Self::Here(sheets) => sheets.settle(&entry, charged.lend(), now),
            Self::There { server, share, .. } => {
                match at {
                    Place::Books => record::row(&entry),
                    Place::Share => share.settle(&entry, charged.lend(), now),
                    Place::Perhaps => {}
                }
                outbox::settle(server, Settlement { entry, charged, now }, at);
            }
        }
    }

    /// Closes the holds of this Envoy whose lease has passed. A server looks at its own.
    pub fn expire(&self, now: u64) {
        match self {
            Self::Here(sheets) | Self::There { share: sheets, .. } => sheets.expire(now),
        }
    }
}
