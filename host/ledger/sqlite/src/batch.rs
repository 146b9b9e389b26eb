//! The changes that one commit writes, folded: a cell that changed often is written once, and a hold that was opened
//! and closed within the batch is not written at all.
//!
//! Everything in a batch says how something is, not how it changes, so a batch that may or may not have been written
//! can be written again. A batch that fails grows by what happens meanwhile. It cannot grow for ever: nothing is
//! granted while the file cannot be written, so there are as many rows to come as there were open holds, and as many
//! cells as those had claimed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tollgate_ledger::Entry;
use tollgate_ledger::cell::Cell;

use crate::backlog::{Change, Opened, Turn};

/// What is to be written next.
#[derive(Default)]
pub struct Batch {
    /// Cells by name, as they are.
    pub cells: HashMap<Arc<str>, Cell>,
    /// Holds to be inserted, by number.
    pub opened: BTreeMap<i64, Opened>,
    /// Holds whose lease moved, by number: its end and its length.
    pub renewed: HashMap<i64, (u64, u64)>,
    /// Holds to be deleted.
    pub ended: Vec<i64>,
    /// Rows of the books.
    pub rows: Vec<Arc<Entry>>,
}

/// The numbers of the holds that are open.
#[derive(Default)]
pub struct Numbers {
    by_id: HashMap<Box<str>, i64>,
    last: i64,
}

impl Numbers {
    /// Those of a file, by id.
    pub fn new(by_id: HashMap<Box<str>, i64>) -> Self {
        let last = by_id.values().copied().max().unwrap_or(0);
        Self { by_id, last }
    }

    fn next(&mut self, id: &str) -> i64 {
        self.last = self.last.saturating_add(1);
        self.by_id.insert(id.into(), self.last);
        self.last
    }
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
            && self.opened.is_empty()
            && self.renewed.is_empty()
            && self.ended.is_empty()
            && self.rows.is_empty()
    }

    /// Forgets what was written, and keeps the room.
    pub fn clear(&mut self) {
        let Self { cells, opened, renewed, ended, rows } = self;
        cells.clear();
        opened.clear();
        renewed.clear();
        ended.clear();
        rows.clear();
    }

    /// Adds a change that happened after all others.
    pub fn fold(&mut self, numbers: &mut Numbers, change: Change) {
        self.cells.extend(change.cells);
        match change.turn {
            Turn::Opened(opened) => {
                self.opened.insert(numbers.next(&opened.entry.request_id), opened);
            }
            Turn::Renewed { hold, until_ms, lease_ms } => {
                let Some(number) = numbers.by_id.get(&hold) else { return };
                match self.opened.get_mut(number) {
                    Some(opened) => (opened.until_ms, opened.lease_ms) = (until_ms, lease_ms),
                    None => drop(self.renewed.insert(*number, (until_ms, lease_ms))),
                }
            }
            Turn::Closed(entry) => {
                if let Some(number) = numbers.by_id.remove(&*entry.request_id)
                    && self.opened.remove(&number).is_none()
                {
                    self.renewed.remove(&number);
                    self.ended.push(number);
                }
                self.rows.push(entry);
            }
        }
    }
}
