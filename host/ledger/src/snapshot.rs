//! Everything in the books at one moment, sorted by name: for tests and for people.

use std::collections::HashMap;
use std::sync::Arc;

use crate::Journal;
use crate::books::Books;
use crate::window::Mark;

/// What [`Books`] hold, sorted by name: for tests and for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every cell that is kept.
    pub cells: Vec<CellState>,
    /// Every hold that is open.
    pub holds: Vec<OpenHold>,
}

/// One cell of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellState {
    /// Its name.
    pub name: String,
    /// Units settled and held.
    pub used: u64,
    /// The part of `used` that open holds hold.
    pub held: u64,
}

/// One hold of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHold {
    /// Its id.
    pub id: String,
    /// When its lease passes, in milliseconds since the epoch.
    pub until_ms: u64,
    /// What it holds: cell and units, in the order of its claims.
    pub amounts: Vec<(String, u64)>,
}

impl<J: Journal> Books<J> {
    /// Everything in the books as `now` finds it.
    pub fn snapshot(&self, now: u64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let mut held: HashMap<Arc<str>, Vec<(Mark, u64)>> = HashMap::new();
        self.holds().for_each_open(|hold| {
            if hold.until_ms <= now {
                return;
            }
            let amounts = hold.parts.iter().map(|part| (part.cell.to_string(), part.amount())).collect();
            snapshot.holds.push(OpenHold { id: hold.id.to_string(), until_ms: hold.until_ms, amounts });
            for part in &hold.parts {
                let mine = part.takes().iter().map(|take| (take.mark, take.amount));
                held.entry(Arc::clone(&part.cell)).or_default().extend(mine);
            }
        });
        self.cells().for_each(|name, cell| {
            let mine = held.get(name).into_iter().flatten().filter(|(mark, _)| cell.counts(*mark, now));
            let held = mine.fold(0_u64, |sum, (_, amount)| sum.saturating_add(*amount));
            snapshot.cells.push(CellState { name: name.to_string(), used: cell.used(now), held });
        });
        snapshot.cells.sort_by(|a, b| a.name.cmp(&b.name));
        snapshot.holds.sort_by(|a, b| a.id.cmp(&b.id));
        snapshot
    }
}
