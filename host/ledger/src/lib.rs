//! The accounting rules of Tollgate, and the traits through which a server keeps its books.
//!
//! This crate decides whether an exchange may take units (requests, tokens, nano-units of money, slots) from the
//! cells that limit it, and what each cell says afterwards. It never does I/O, reads no clock and knows no float:
//! time is an argument, and everything is an integer whose overflow is checked. The rules ([`window`], [`budget`],
//! [`slots`], [`breaker`]) are functions of a small state, an operation and `now`; a store only has to make that
//! step atomic. [`Memory`] is the store inside one process, [`Books`] the part of it that others build on.
//!
//! # An exchange in the books
//!
//! ```text
//! reserve(hold, now)          -> granted: every claim is held, or limited: none is
//! durable(position)           -> what was granted survives a crash; awaited before the client gets a byte
//! renew(id, lease, now)       -> the lease of a long stream is moved on
//! raise(hold, now)            -> the open hold takes more: every claim is raised, or limited: none is
//! settle(entry, charge, now)  -> what was held becomes what it really cost, once, and the row is written
//! expire(now)                 -> holds whose lease has passed are closed: charged as held, their rows written
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
//!   it: one period of a window, the calendar period of a budget, the lease of a slot. What a settlement gives back
//!   is free at once.
//! - **settle once**: an exchange is charged once and has one row, whatever is repeated, cancelled or lost.
//! - **conservation**: a cell's units are the sum of the charges and the open holds it still counts.
//!
//! # What each ending is charged
//!
//! | ending | [`Charge`] | the books say |
//! |---|---|---|
//! | completed, usage known | `Amounts` | the real amounts |
//! | completed, usage never came | `Amounts` | the policy's estimate, marked so in the row |
//! | usage is an explicit zero | `Amounts` | zero: a zero is a number, not a gap |
//! | usage above the hold | `Amounts` | all of it, even past the limit |
//! | refused, or failed before any byte was sent | `Nothing` | as if it had never been |
//! | the client left | `Amounts` | what was produced until then |
//! | the upstream broke in the middle | `Amounts` | what was produced until then |
//! | the policy failed after dispatch | `Amounts`, or `Held` if it cannot say | metered so far, else the hold |
//! | the server died after the hold was durable | none comes | the hold, as soon as its lease has passed: [`Outcome::Lost`] |
//! | the server died before the hold was durable | none comes | nothing: no byte of an answer had reached the client |
//! | the hold was not durable in time, after dispatch | `Amounts` | what the upstream gave; the client got 503 |
//! | granted by a local share, and the server died | none comes | nothing, and no row: no budget was claimed |
//! | raised by a local share, and the server died | none comes | what was held before: no budget was claimed |
//!
//! The hold is what it is when the exchange ends: what it was raised to, if it was.
//!
//! Held and settled units weigh the same, so a lease that passes moves nothing in a window or a budget: the hold is
//! closed, and what it held stays charged. That is the closed side to fail on where money is concerned.

#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

mod books;
pub mod breaker;
pub mod budget;
pub mod cell;
mod entry;
mod holds;
mod journal;
pub mod keyring;
pub mod keys;
mod memory;
mod part;
pub mod share;
pub mod sheet;
mod shelf;
pub mod slots;
mod snapshot;
mod store;
mod text;
pub mod window;

pub use books::Books;
pub use entry::{Entry, Outcome, Price, scopes};
pub use journal::{Event, Journal, Restored, Unkept};
pub use memory::Memory;
pub use part::{Part, Take};
pub use snapshot::{CellState, OpenHold, Snapshot};
pub use store::{Breakers, Charges, Condition, Ledger, Pending, Query, Store, Unavailable};
pub use text::NotAState;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The largest number of units a limit, a claim or a charge can have: a store may count in doubles, which are exact
/// up to here. A limit above it is taken as it, so a claim above it never fits; a charge above it is charged as it.
pub const MOST_UNITS: u64 = (1 << 53) - 1;

/// How a cell is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// At most `limit` units held at once. Settled, or with its lease passed, a hold counts no more.
    Slots {
        /// Units.
        limit: u64,
    },
}

impl Rule {
    /// The limit, in the cell's units: at most [`MOST_UNITS`].
    #[must_use]
    pub fn limit(&self) -> u64 {
        match *self {
            Self::Window { limit, .. } | Self::Budget { limit, .. } | Self::Slots { limit } => {
                limit.min(MOST_UNITS)
            }
        }
    }
}

/// Units to hold in one cell.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// The cell's name. A cell that was never claimed is empty.
    pub cell: String,
    /// Its rule, as it is from now on.
    pub rule: Rule,
    /// Units: requests, tokens, nano-units of money, or slots.
    pub amount: u64,
}

/// Claims to hold for one exchange: to be reserved, or what an open hold is raised to.
#[derive(Clone, Copy, Debug)]
pub struct Hold<'a> {
    /// The exchange's row as it stands if nobody ever settles it: the worst case, `estimated`, and
    /// [`Outcome::Lost`]. Its `request_id` names the hold.
    pub entry: &'a Arc<Entry>,
    /// What to hold: all of it, or nothing.
    pub claims: &'a [Claim],
    /// How long the hold stays open without a sign of life, in milliseconds.
    pub lease_ms: u64,
}

/// A place in a store's log: what was written before it, and what was not. Places of one store grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// What is left of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standing {
    /// Units that could be taken now.
    pub remaining: u64,
    /// Milliseconds until all of the limit could be taken.
    pub reset_ms: u64,
}

/// The answer of [`Ledger::reserve`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reservation {
    /// Every claim is held.
    Granted {
        /// One for each claim, in their order, as they are after the grant.
        standings: Vec<Standing>,
        /// For [`Ledger::durable`]; of this store alone, so it does not travel.
        #[serde(skip)]
        position: Position,
    },
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

/// The answer of [`Ledger::raise`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Raise {
    /// At least the amount of every claim is held.
    Granted {
        /// One for each claim, in their order, as they are now.
        standings: Vec<Standing>,
        /// For [`Ledger::durable`]; of this store alone, so it does not travel.
        #[serde(skip)]
        position: Position,
    },
    /// Nothing more is held; what was held stays, and its lease as it was.
    Limited {
        /// The claim with the longest wait, from 0; one that can never be granted comes first.
        claim: usize,
        /// When that claim could be granted if nothing else happens. A budget that is spent tells the end of its
        /// period, when another exchange could be granted as much. None: never, it is larger than its limit.
        retry_after_ms: Option<u64>,
        /// One for each claim, in their order, with what the hold holds.
        standings: Vec<Standing>,
    },
    /// There is no open hold of this name on the cells of these claims, or its lease has passed. Nothing changed.
    Gone,
}

/// What a hold is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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
    /// What the claim at `index`, of which `held` units are held, is charged: at most [`MOST_UNITS`].
    #[must_use]
    pub fn amount(&self, index: usize, held: u64) -> u64 {
        match self {
            Self::Amounts(amounts) => amounts.get(index).map_or(held, |amount| (*amount).min(MOST_UNITS)),
            Self::Held => held,
            Self::Nothing => 0,
        }
    }
}

/// The same, owned.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charged {
    /// The real amounts.
    Amounts(Vec<u64>),
    /// What was held.
    Held,
    /// Nothing.
    Nothing,
}

impl Charged {
    /// To be charged.
    #[must_use]
    pub fn lend(&self) -> Charge<'_> {
        match self {
            Self::Amounts(amounts) => Charge::Amounts(amounts),
            Self::Held => Charge::Held,
            Self::Nothing => Charge::Nothing,
        }
    }
}

/// The answer of [`Ledger::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// The hold was open and is charged now.
    Done,
    /// It was closed before: settled, or lost with its lease and charged as held. Nothing changed.
    Already,
    /// It was never granted, or closed too long ago to be remembered. Nothing changed.
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
