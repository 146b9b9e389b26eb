//! What a durable store hears of the books, and what it gives back after a crash.
//!
//! A [`Journal`] hears of every change in the order in which it happened. Questions and refusals change nothing, so
//! it hears nothing of them. [`Restored`] holds and cells are what it read back: the books go on from there.

use std::sync::Arc;

use crate::cell::Cell;
use crate::part::Part;
use crate::{Entry, Position};

/// Hears of every change, in order.
pub trait Journal: Send + Sync + 'static {
    /// Whether it wants the cells. One that does not spares their copies.
    const KEEPS_CELLS: bool;

    /// Takes note of a change, and says where. Called under the locks of everything the change names: it must not
    /// wait for anything.
    fn note(&self, event: Event<'_>) -> Position;

    /// The place of the latest change.
    fn position(&self) -> Position;
}

/// A change of the books. `cells` are the cells it changed, as they are after it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A hold was opened.
    Reserved {
        /// The hold's row, if nobody ever settles it.
        entry: &'a Arc<Entry>,
        /// When its lease ends: milliseconds since the epoch.
        until_ms: u64,
        /// How long its lease is, in milliseconds.
        lease_ms: u64,
        /// What it holds.
        parts: &'a [Part],
        /// See above.
        cells: Vec<(Arc<str>, Cell)>,
    },
    /// A hold's lease was moved.
    Renewed {
        /// The hold.
        hold: &'a str,
        /// When its lease ends: milliseconds since the epoch.
        until_ms: u64,
        /// How long its lease is, in milliseconds.
        lease_ms: u64,
        /// See above.
        cells: Vec<(Arc<str>, Cell)>,
    },
    /// A hold was raised: it holds more, or its lease was moved.
    Raised {
        /// The hold's row, if nobody ever settles it.
        entry: &'a Arc<Entry>,
        /// When its lease ends: milliseconds since the epoch.
        until_ms: u64,
        /// How long its lease is, in milliseconds.
        lease_ms: u64,
        /// All that it holds now.
        parts: &'a [Part],
        /// See above.
        cells: Vec<(Arc<str>, Cell)>,
    },
    /// A hold was closed: settled, or lost with its lease.
    Closed {
        /// The row of the exchange.
        entry: &'a Arc<Entry>,
        /// See above.
        cells: Vec<(Arc<str>, Cell)>,
    },
}

/// An open hold that survived the process that made it.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Its row, if nobody ever settles it.
    pub entry: Arc<Entry>,
    /// When its lease ends: milliseconds since the epoch.
    pub until_ms: u64,
    /// How long its lease is, in milliseconds.
    pub lease_ms: u64,
    /// What it holds.
    pub parts: Vec<Part>,
}

/// A journal that keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unkept;

impl Journal for Unkept {
    const KEEPS_CELLS: bool = false;

    fn note(&self, _: Event<'_>) -> Position {
        Position::default()
    }

    fn position(&self) -> Position {
        Position::default()
    }
}
