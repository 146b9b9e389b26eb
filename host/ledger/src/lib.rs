//! The accounting rules of Tollgate, and the trait through which a server keeps its books.
//!
//! This crate decides whether an exchange may take units (requests, tokens, nano-units of money) from the cells
//! that limit it, and what each cell says afterwards. It never does I/O, reads no clock and knows no float: time is
//! an argument, and everything is an integer whose overflow is checked. The rules ([`window`], [`budget`]) are
//! functions of a small [`cell`], an operation and `now`; a store only has to make that step atomic. [`Memory`] is
//! the store inside one process.
//!
//! # An exchange in the books
//!
//! ```text
//! reserve(hold, claims, lease, now) -> granted: every claim is held; or limited: none is
//! renew(hold, lease, now)           -> the lease of a long stream is moved on
//! settle(hold, charge, now)         -> what was held becomes what it really cost, once
//! ```
//!
//! # Invariants
//!
//! Cited by name where they are relied on, and tested by that name.
//!
//! - **never over-admit**: what a cell has settled and what it holds never exceed its limit because of a grant, for
//!   every interleaving, retry, disconnect and crash. A window keeps this for *every* trailing period. Only real
//!   usage above what was held can pass a limit; it is charged in full, and nothing more is granted until it fits.
//! - **no phantom refusal**: a hold ends by its settlement or by its lease and blocks no longer than its cell counts
//!   it: one period of a window, the calendar period of a budget. What a settlement gives back is free at once.
//! - **settle once**: an exchange is charged once, whatever is repeated, cancelled or lost.
//! - **conservation**: a cell's units are the sum of the charges and the open holds it still counts.
//!
//! # What each ending is charged
//!
//! | ending | [`Charge`] | the books say |
//! |---|---|---|
//! | completed, usage known | `Amounts` | the real amounts |
//! | completed, usage never came | `Amounts` | the policy's estimate, marked so in the usage record |
//! | usage is an explicit zero | `Amounts` | zero: a zero is a number, not a gap |
//! | usage above the hold | `Amounts` | all of it, even past the limit |
//! | refused, or failed before any byte was sent | `Nothing` | as if it had never been |
//! | the client left | `Amounts` | what was produced until then |
//! | the upstream broke in the middle | `Amounts` | what was produced until then |
//! | the policy failed after dispatch | `Amounts`, or `Held` if it cannot say | metered so far, else the hold |
//! | the server died, before dispatch or after | none comes | the hold, as soon as its lease has passed |
//!
//! Held and settled units weigh the same, so a lease that passes moves nothing: the hold is forgotten, and what it
//! held stays charged. That is the closed side to fail on where money is concerned.

#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

pub mod budget;
pub mod cell;
mod memory;
mod shelf;
pub mod window;

pub use memory::{CellState, Memory, OpenHold, Snapshot};

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What a [`Ledger`] method returns: an answer that may have to be fetched.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'a>>;

/// A store that applies the rules of this crate atomically.
///
/// `now` is milliseconds since the epoch. A hold's id names one exchange and is never used for another; 1 to 64 of
/// `[A-Za-z0-9_-]`. Every method may be repeated with the same arguments when its answer was lost. A future that is
/// dropped before it is ready may or may not have taken effect: whoever drops a `reserve` settles that hold with
/// [`Charge::Nothing`], or its lease will charge it.
pub trait Ledger: Send + Sync + 'static {
    /// Holds every claim, or none.
    ///
    /// The hold stays open until it is settled or until `lease_ms` have passed. Repeated for a hold that is open,
    /// or that was lately settled, it takes nothing more and is answered as granted. A claim carries its cell's
    /// rule, which may differ from the one before: the new limit is applied to what the cell has counted.
    fn reserve<'a>(
        &'a self,
        hold: &'a str,
        claims: &'a [Claim],
        lease_ms: u64,
        now: u64,
    ) -> Pending<'a, Reservation>;

    /// Closes a hold with what it really cost.
    fn settle<'a>(&'a self, hold: &'a str, charge: Charge<'a>, now: u64) -> Pending<'a, Settled>;

    /// Moves an open hold's lease to at least `now + lease_ms`. False: the hold is not open (any more).
    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool>;
}

impl<L: Ledger + ?Sized> Ledger for Arc<L> {
    fn reserve<'a>(
        &'a self,
        hold: &'a str,
        claims: &'a [Claim],
        lease_ms: u64,
        now: u64,
    ) -> Pending<'a, Reservation> {
        (**self).reserve(hold, claims, lease_ms, now)
    }

    fn settle<'a>(&'a self, hold: &'a str, charge: Charge<'a>, now: u64) -> Pending<'a, Settled> {
        (**self).settle(hold, charge, now)
    }

    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool> {
        (**self).renew(hold, lease_ms, now)
    }
}

/// How a cell is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// At most `limit` units in any trailing `period_ms`.
    Window {
        /// Units.
        limit: u64,
        /// Milliseconds; 0 is taken as 1.
        period_ms: u64,
    },
    /// At most `limit` units between two instants. The cell's name contains its period.
    Budget {
        /// Units.
        limit: u64,
        /// Milliseconds since the epoch: the first that counts.
        start_ms: u64,
        /// Milliseconds since the epoch: the first that no longer counts.
        end_ms: u64,
    },
}

impl Rule {
    /// The limit, in the cell's units.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        match *self {
            Self::Window { limit, .. } | Self::Budget { limit, .. } => limit,
        }
    }
}

/// Units to hold in one cell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The cell's name. A cell that was never claimed is empty.
    pub cell: String,
    /// Its rule, as it is from now on.
    pub rule: Rule,
    /// Units: requests, tokens or nano-units of money.
    pub amount: u64,
}

/// What is left of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Units that could be taken now.
    pub remaining: u64,
    /// Milliseconds until all of the limit could be taken.
    pub reset_ms: u64,
}

/// The answer of [`Ledger::reserve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// Every claim is held. One standing for each, in their order, as they are after the grant.
    Granted(Vec<Standing>),
    /// Nothing is held.
    Limited {
        /// The claim with the longest wait, from 0; one that can never be granted comes first.
        claim: usize,
        /// When that claim could be granted if nothing else happens. None: never, it is larger than its limit.
        retry_after_ms: Option<u64>,
        /// One for each claim, in their order, as they are without this exchange.
        standings: Vec<Standing>,
    },
}

/// What a hold is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge<'a> {
    /// The real amount of each claim, in their order. May exceed what was held. A claim without one is charged as
    /// held.
    Amounts(&'a [u64]),
    /// What was held.
    Held,
    /// Nothing.
    Nothing,
}

impl Charge<'_> {
    /// What the claim at `index`, of which `held` units are held, is charged.
    #[must_use]
    pub fn amount(&self, index: usize, held: u64) -> u64 {
        match self {
            Self::Amounts(amounts) => amounts.get(index).copied().unwrap_or(held),
            Self::Held => held,
            Self::Nothing => 0,
        }
    }
}

/// The answer of [`Ledger::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// The hold was open and is charged now.
    Done,
    /// It was settled before. Nothing changed.
    Already,
    /// It is not open: it was never granted, or its lease has passed (it stays charged as held), or it was settled
    /// too long ago to be remembered. Nothing changed.
    Unknown,
}

/// Whether an amount can be taken from a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fit {
    /// Yes.
    Now,
    /// After this many milliseconds, if nothing else happens.
    After(u64),
    /// It is larger than the limit.
    Never,
}

/// The store did not answer in time, or cannot be reached. Whether the operation took effect is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// What went wrong, for the log. Holds no secret.
    pub reason: Cow<'static, str>,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the ledger is unavailable: {}", self.reason)
    }
}

impl std::error::Error for Unavailable {}
