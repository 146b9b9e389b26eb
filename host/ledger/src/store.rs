//! What a server asks of the place that keeps its books: traits, and what goes in and out of them.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::breaker::{BreakerRule, Health, Passage};
use crate::keys::Keys;
use crate::{Charge, Claim, Entry, Hold, Position, Raise, Reservation, Settled, Standing};

/// What a store's method returns: an answer that may have to be fetched.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'a>>;

/// A store that applies the rules of this crate atomically.
///
/// `now` is milliseconds since the epoch; a store that several servers share may go by its own clock instead, so
/// that they agree. A hold's id names one exchange and is never used for another. Every method may be repeated with
/// the same arguments when its answer was lost. A future that is dropped before it is ready may or may not have
/// taken effect: whoever drops a `reserve` settles that hold with [`Charge::Nothing`], or its lease will charge it.
pub trait Ledger: Send + Sync + 'static {
    /// Holds every claim, or none.
    ///
    /// The hold stays open until it is settled or until its lease has passed. Repeated for a hold that is open,
    /// or that was lately closed, it takes nothing more and is answered as granted. A claim carries its cell's
    /// rule, which may differ from the one before: the new limit is applied to what the cell has counted. A refusal
    /// changes nothing, except that a window believes a clock that went back by more than its period.
    fn reserve<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Reservation>;

    /// Waits until everything up to this position survives a crash. No byte of an answer may reach the client
    /// before.
    fn durable(&self, position: Position) -> Pending<'_, ()>;

    /// Moves an open hold's lease to at least `now + lease_ms`. False: the hold is not open (any more).
    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool>;

    /// Raises what an open hold holds: of each claim at least this amount in total, all of them or none.
    ///
    /// The claims are those of the reservation, in their order and on its cells, with their amounts and rules as they
    /// are wanted now. What is taken counts in a window from `now`, in a budget in the period of the claim; slots stay
    /// as they are. Granted, the entry becomes the hold's row, and the lease is moved as by [`Ledger::renew`].
    /// Repeated, it takes nothing more; amounts below what is held change nothing, nor does an entry that comes with
    /// such amounts only. A refusal changes no more than that of a reservation does. What a raise pays for may reach
    /// the client when its position is durable.
    fn raise<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Raise>;

    /// Closes the hold named by the entry's `request_id` with what it really cost, and writes the entry. If its lease
    /// has passed, it is closed as [`Ledger::expire`] would have done.
    fn settle<'a>(&'a self, entry: &'a Arc<Entry>, charge: Charge<'a>, now: u64) -> Pending<'a, Settled>;

    /// Closes every hold whose lease has passed and writes its row; says how many. Called every second or so.
    fn expire(&self, now: u64) -> Pending<'_, usize>;

    /// What is left for each claim, whatever its amount. Changes no more than a refusal does.
    fn standings<'a>(&'a self, claims: &'a [Claim], now: u64) -> Pending<'a, Vec<Standing>>;

    /// Waits until everything done so far survives a crash. Called before the server ends.
    fn flush(&self) -> Pending<'_, ()>;

    /// How the store is.
    fn condition(&self) -> Condition;
}

/// Breakers that all servers of a store share.
pub trait Breakers: Send + Sync + 'static {
    /// Asks whether an exchange may pass the named breaker.
    fn ask<'a>(&'a self, name: &'a str, rule: BreakerRule, now: u64) -> Pending<'a, Passage>;

    /// Tells the named breaker what became of an exchange that passed.
    fn tell<'a>(
        &'a self,
        name: &'a str,
        rule: BreakerRule,
        generation: u64,
        health: Health,
        now: u64,
    ) -> Pending<'a, ()>;
}

/// The rows of the books.
pub trait Charges: Send + Sync + 'static {
    /// The rows that match, the oldest first.
    fn charges<'a>(&'a self, query: &'a Query) -> Pending<'a, Vec<Entry>>;
}

/// Which rows of the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Of exchanges that began then or later: milliseconds since the epoch.
    pub from_ms: u64,
    /// Of exchanges that began before.
    pub to_ms: u64,
    /// Of this key, or of the keys below this scope.
    pub scope: Option<String>,
    /// Of this exchange.
    pub request_id: Option<String>,
    /// After this row in the order of time and request id: the last one of the page before.
    pub after: Option<(u64, String)>,
    /// At most so many.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self { from_ms: 0, to_ms: u64::MAX, scope: None, request_id: None, after: None, limit: 1_000 }
    }
}

impl Query {
    /// Whether this is one of the rows, their number left aside.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        (self.from_ms..self.to_ms).contains(&entry.at_ms)
            && self.scope.as_deref().is_none_or(|scope| entry.scopes().any(|around| around == scope))
            && self.request_id.as_deref().is_none_or(|id| entry.request_id == id)
            && self.after.as_ref().is_none_or(|(at_ms, id)| (entry.at_ms, &entry.request_id) > (*at_ms, id))
    }
}

/// Everything that a server keeps in one place.
pub trait Store: Ledger + Breakers + Charges + Keys {}

impl<S: Ledger + Breakers + Charges + Keys> Store for S {}

/// How a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All is well.
    Sound,
    /// Budgets are refused; rate windows are kept by a local share. The text says why.
    Degraded(Cow<'static, str>),
    /// Nothing is granted. The text says why.
    Down(Cow<'static, str>),
}

/// The store did not answer in time, or cannot be reached. Whether the operation took effect is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// What went wrong, for the log. Holds no secret.
    pub reason: Cow<'static, str>,
}

impl Unavailable {
    /// With this reason.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into() }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the ledger is unavailable: {}", self.reason)
    }
}

impl std::error::Error for Unavailable {}
