//! What one step changes, as the books tell it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_ledger::cell::Cell;
use tollgate_ledger::{Entry, Event, Journal, Part, Position};

/// The changes of one step, in their order.
#[derive(Default)]
pub(crate) struct Notes(Mutex<Vec<Change>>);

/// What is to be written.
pub(crate) struct Change {
    /// The cells it changed, as they are after it.
    pub cells: Vec<(Arc<str>, Cell)>,
    pub hold: HoldChange,
}

/// What became of a hold.
pub(crate) enum HoldChange {
    /// Opened or raised.
    Open { entry: Arc<Entry>, until_ms: u64, lease_ms: u64, parts: Vec<Part> },
    /// Its lease was moved.
    Renewed { hold: String, until_ms: u64, lease_ms: u64 },
    /// Closed, with its row.
    Closed(Arc<Entry>),
}

impl Notes {
    /// Takes all that was noted.
    pub(crate) fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.locked())
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Change>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Notes {
    const KEEPS_CELLS: bool = true;

    fn note(&self, event: Event<'_>) -> Position {
        let change = match event {
            Event::Reserved { entry, until_ms, lease_ms, parts, cells }
            | Event::Raised { entry, until_ms, lease_ms, parts, cells } => {
                let (entry, parts) = (Arc::clone(entry), parts.to_vec());
                Change { cells, hold: HoldChange::Open { entry, until_ms, lease_ms, parts } }
            }
            Event::Renewed { hold, until_ms, lease_ms, cells } => {
                Change { cells, hold: HoldChange::Renewed { hold: hold.to_owned(), until_ms, lease_ms } }
            }
            Event::Closed { entry, cells } => Change { cells, hold: HoldChange::Closed(Arc::clone(entry)) },
        };
        self.locked().push(change);
        Position::default()
    }

    fn position(&self) -> Position {
        Position::default()
    }
}
