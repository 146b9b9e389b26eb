//! Holds by their ids: those that are open, and for a while those that were closed, so that a repeated call finds
//! them. Decides nothing: the books do.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::part::Part;
use crate::shelf::{Quick, locked};
use crate::{Claim, Entry, Settled};

/// Tables, each with a lock of its own.
const TABLES: usize = 64;

/// How many closed holds each table remembers.
const REMEMBERED: usize = 256;

/// Every hold.
pub struct Holds {
    tables: Box<[Mutex<Table>]>,
    hasher: Quick,
}

/// Some of the holds.
#[derive(Default)]
pub struct Table {
    /// None: it is closed.
    holds: HashMap<Arc<str>, Option<Held>, Quick>,
    /// The oldest first.
    closed: VecDeque<Arc<str>>,
}

/// A hold that is open.
pub struct Held {
    pub id: Arc<str>,
    pub until_ms: u64,
    pub lease_ms: u64,
    pub entry: Arc<Entry>,
    pub parts: Vec<Part>,
}

impl Held {
    /// Whether these claims are on the cells of the hold, in their order.
    pub fn is_of(&self, claims: &[Claim]) -> bool {
        self.parts.iter().map(|part| &*part.cell).eq(claims.iter().map(|claim| &*claim.cell))
    }
}

impl Holds {
    pub fn new() -> Self {
        Self::with_tables(TABLES)
    }

    /// Holds in so many tables, at least one.
    pub fn with_tables(tables: usize) -> Self {
        let tables = (0..tables.max(1)).map(|_| Mutex::default()).collect();
        Self { tables, hasher: Quick::new() }
    }

    /// The table of an id, locked.
    #[expect(clippy::indexing_slicing, reason = "the remainder is below the number of tables")]
    pub fn of(&self, id: &str) -> MutexGuard<'_, Table> {
        let hash = usize::try_from(self.hasher.hash_one(id).wrapping_shr(16) & 0xffff_ffff).unwrap_or(0);
        locked(&self.tables[hash.checked_rem(self.tables.len()).unwrap_or(0)])
    }

    /// Every table, one locked at a time.
    pub fn tables(&self) -> impl Iterator<Item = MutexGuard<'_, Table>> {
        self.tables.iter().map(locked)
    }

    pub fn for_each_open(&self, mut visit: impl FnMut(&Held)) {
        self.tables().for_each(|table| table.holds.values().flatten().for_each(&mut visit));
    }
}

impl Table {
    /// Whether the hold is open, or was closed lately.
    pub fn knows(&self, id: &str) -> bool {
        self.holds.contains_key(id)
    }

    pub fn add(&mut self, held: Held) {
        self.holds.insert(Arc::clone(&held.id), Some(held));
    }

    pub fn open(&mut self, id: &str) -> Option<&mut Held> {
        self.holds.get_mut(id)?.as_mut()
    }

    pub fn all_open(&mut self) -> impl Iterator<Item = &mut Held> {
        self.holds.values_mut().flatten()
    }

    /// Closes an open hold, and says what it was; or what a settlement answers if it is not open.
    pub fn close(&mut self, id: &str) -> Result<Held, Settled> {
        let hold = self.holds.get_mut(id).ok_or(Settled::Unknown)?;
        let held = hold.take().ok_or(Settled::Already)?;
        self.remember(&held);
        Ok(held)
    }

    /// Closes every hold whose lease has passed, and says what they were.
    pub fn close_lost(&mut self, now: u64) -> Vec<Held> {
        let over = |hold: &mut Option<Held>| hold.take_if(|held| held.until_ms <= now);
        let lost: Vec<Held> = self.holds.values_mut().filter_map(over).collect();
        lost.iter().for_each(|held| self.remember(held));
        lost
    }

    fn remember(&mut self, held: &Held) {
        if self.closed.len() >= REMEMBERED
            && let Some(oldest) = self.closed.pop_front()
        {
            self.holds.remove(&oldest);
        }
        self.closed.push_back(Arc::clone(&held.id));
    }
}
