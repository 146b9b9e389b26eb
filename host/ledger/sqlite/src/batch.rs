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
    /// Holds that the file has and that were raised, by number, as they are.
    pub raised: BTreeMap<i64, Opened>,
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
            && self.raised.is_empty()
            && self.renewed.is_empty()
            && self.ended.is_empty()
            && self.rows.is_empty()
    }

    /// Forgets what was written, and keeps the room.
    pub fn clear(&mut self) {
        let Self { cells, opened, raised, renewed, ended, rows } = self;
        cells.clear();
        opened.clear();
        raised.clear();
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
                match self.opened.get_mut(number).or_else(|| self.raised.get_mut(number)) {
                    Some(opened) => (opened.until_ms, opened.lease_ms) = (until_ms, lease_ms),
                    None => drop(self.renewed.insert(*number, (until_ms, lease_ms))),
                }
            }
            Turn::Raised(raised) => {
                let Some(number) = numbers.by_id.get(&*raised.entry.request_id) else { return };
                match self.opened.get_mut(number) {
                    Some(opened) => *opened = raised,
                    None => {
                        self.renewed.remove(number);
                        self.raised.insert(*number, raised);
                    }
                }
            }
            Turn::Closed(entry) => {
                if let Some(number) = numbers.by_id.remove(&*entry.request_id)
                    && self.opened.remove(&number).is_none()
                {
                    self.raised.remove(&number);
                    self.renewed.remove(&number);
                    self.ended.push(number);
                }
                self.rows.push(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_contract::entry;

    use super::*;

    fn opened(id: &str) -> Change {
        let entry = Arc::new(entry(id, 7));
        let opened = Opened { entry, until_ms: 100, lease_ms: 100, parts: Vec::new() };
        Change { turn: Turn::Opened(opened), cells: cells(1) }
    }

    fn raised(id: &str, charge: u64) -> Change {
        let opened =
            Opened { entry: Arc::new(entry(id, charge)), until_ms: 500, lease_ms: 200, parts: vec![] };
        Change { turn: Turn::Raised(opened), cells: cells(3) }
    }

    fn renewed(id: &str) -> Change {
        Change { turn: Turn::Renewed { hold: id.into(), until_ms: 300, lease_ms: 200 }, cells: Vec::new() }
    }

    fn closed(id: &str) -> Change {
        Change { turn: Turn::Closed(Arc::new(entry(id, 3))), cells: cells(2) }
    }

    fn cells(used: u64) -> Vec<(Arc<str>, Cell)> {
        vec![("b".into(), format!("budget 9 {used}").parse().unwrap())]
    }

    fn folded(numbers: &mut Numbers, changes: impl IntoIterator<Item = Change>) -> Batch {
        let mut batch = Batch::default();
        changes.into_iter().for_each(|change| batch.fold(numbers, change));
        batch
    }

    #[test]
    fn a_hold_that_lives_within_a_batch_is_only_a_row() {
        let mut numbers = Numbers::default();
        let batch = folded(&mut numbers, [opened("one"), renewed("one"), closed("one")]);
        assert!(batch.opened.is_empty() && batch.renewed.is_empty() && batch.ended.is_empty());
        assert_eq!((batch.rows.len(), batch.cells.len()), (1, 1));
        assert_eq!(batch.cells["b"].to_string(), "budget 9 2", "as it was last");
        assert!(numbers.by_id.is_empty());
    }

    #[test]
    fn a_hold_that_outlives_its_batch_is_opened_renewed_and_ended_by_its_number() {
        let mut numbers = Numbers::new([("old".into(), 41)].into());
        let batch = folded(&mut numbers, [opened("one"), renewed("one"), renewed("old")]);
        assert_eq!((batch.opened[&42].until_ms, batch.opened[&42].lease_ms), (300, 200));
        assert_eq!(batch.renewed, [(41, (300, 200))].into());
        let batch = folded(&mut numbers, [renewed("one"), closed("one"), closed("old"), renewed("old")]);
        assert_eq!((batch.ended, batch.renewed.len(), batch.rows.len()), (vec![42, 41], 0, 2));
    }

    #[test]
    fn a_hold_that_is_raised_is_written_whole_and_once() {
        let mut numbers = Numbers::new([("old".into(), 41)].into());
        let changes = [opened("one"), raised("one", 8), renewed("old"), raised("old", 9), raised("none", 1)];
        let batch = folded(&mut numbers, changes);
        assert_eq!((batch.opened.len(), batch.opened[&42].entry.charge), (1, 8));
        assert_eq!((batch.raised.len(), batch.raised[&41].entry.charge), (1, 9));
        assert!(batch.renewed.is_empty() && batch.ended.is_empty());
        let batch =
            folded(&mut numbers, [raised("old", 10), renewed("old"), raised("one", 12), closed("one")]);
        assert_eq!((batch.raised.len(), batch.raised[&41].until_ms), (1, 300), "as it was last");
        assert!(batch.renewed.is_empty());
        assert_eq!((batch.ended, batch.rows.len()), (vec![42], 1));
    }

    #[test]
    fn what_was_written_is_forgotten() {
        let mut numbers = Numbers::new([("old".into(), 1)].into());
        let mut batch = folded(
            &mut numbers,
            [opened("one"), renewed("old"), raised("old", 1), opened("two"), closed("old")],
        );
        assert!(!batch.is_empty());
        batch.clear();
        assert!(batch.is_empty());
    }
}
