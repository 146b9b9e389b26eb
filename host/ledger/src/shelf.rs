//! Named entries in many small tables, each with a lock of its own, so that no single operation is ever long: a
//! table that grows moves a thousandth of the entries, and dead ones are looked for one table at a time.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// With a million entries a table holds a thousand.
const TABLES: usize = 1024;

type Table<T> = HashMap<Arc<str>, T, Quick>;

/// A map from names to entries.
pub struct Shelf<T> {
    tables: Box<[Mutex<Table<T>>]>,
    hasher: Quick,
}

/// The tables of some names, locked together.
pub struct Locked<'s, T> {
    hasher: Quick,
    /// By the table's place, ascending.
    tables: Vec<(usize, MutexGuard<'s, Table<T>>)>,
}

impl<T> Shelf<T> {
    pub fn new() -> Self {
        let hasher = Quick::new();
        let tables = (0..TABLES).map(|_| Mutex::new(HashMap::with_hasher(hasher))).collect();
        Self { tables, hasher }
    }

    /// Locks the tables of these names, always in the same order, so that two who lock several never wait for each
    /// other.
    pub fn lock<'n>(&self, names: impl Iterator<Item = &'n str>) -> Locked<'_, T> {
        let mut places: Vec<usize> = names.map(|name| self.hasher.place(name)).collect();
        places.sort_unstable();
        places.dedup();
        let tables = places.into_iter().filter_map(|place| Some((place, locked(self.tables.get(place)?))));
        Locked { hasher: self.hasher, tables: tables.collect() }
    }

    /// Drops what is not kept from one of the tables: the next round looks at the next one.
    pub fn sweep(&self, round: usize, mut keep: impl FnMut(&mut T) -> bool) {
        if let Some(table) = self.tables.get(round % TABLES) {
            let mut table = locked(table);
            table.retain(|_, entry| keep(entry));
            if table.len() < table.capacity().wrapping_shr(3) {
                let room = table.len().saturating_mul(2);
                table.shrink_to(room);
            }
        }
    }

    /// Visits every entry, table by table: what changes meanwhile is seen before or after its change.
    pub fn for_each(&self, mut visit: impl FnMut(&Arc<str>, &T)) {
        for table in &self.tables {
            locked(table).iter().for_each(|(name, entry)| visit(name, entry));
        }
    }
}

impl<T> Locked<'_, T> {
    /// An entry by one of the names that were locked.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.table(name)?.get_mut(name)
    }

    /// The entry's shared name and the entry, made if it is not there. None: the name was not locked.
    pub fn entry(&mut self, name: &str, make: impl FnOnce() -> T) -> Option<(Arc<str>, &mut T)> {
        let table = self.table(name)?;
        let shared =
            table.get_key_value(name).map_or_else(|| Arc::from(name), |(shared, _)| Arc::clone(shared));
        Some((Arc::clone(&shared), table.entry(shared).or_insert_with(make)))
    }

    fn table(&mut self, name: &str) -> Option<&mut Table<T>> {
        let wanted = self.hasher.place(name);
        let mut tables = self.tables.iter_mut();
        tables.find_map(|(place, table)| (*place == wanted).then_some(&mut **table))
    }
}

/// The lock of a table. Nothing under it panics; a poisoned one would still hold sound entries.
pub fn locked<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hashes names a few times faster than the standard hasher: they are made by the server and its operator, not by
/// its clients, so they need not withstand an attack on the tables. Seeded all the same.
#[derive(Clone, Copy)]
pub struct Quick {
    state: u64,
}

impl Default for Quick {
    fn default() -> Self {
        Self::new()
    }
}

impl Quick {
    pub fn new() -> Self {
        Self { state: RandomState::new().hash_one(TABLES) }
    }

    /// The table of a name.
    fn place(&self, name: &str) -> usize {
        // The low bits choose the slot inside a table, so the table is chosen by the next ones.
        let hash = self.hash_one(name).wrapping_shr(16);
        usize::try_from(hash).unwrap_or(0) % TABLES
    }

    fn mix(&mut self, word: u64) {
        // The multiplier is 2^64 divided by the golden ratio.
        self.state = (self.state.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl BuildHasher for Quick {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        self.mix(u64::try_from(bytes.len()).unwrap_or(0));
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        match bytes.last_chunk::<8>() {
            Some(last) => self.mix(u64::from_le_bytes(*last)),
            None => rest.iter().for_each(|byte| self.mix(u64::from(*byte))),
        }
    }

    fn write_u8(&mut self, _: u8) {
        // The end of a string: `write` has told its length.
    }

    fn finish(&self) -> u64 {
        // The high bits of a product are the good ones, a table looks at the low ones.
        self.state.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert<T>(shelf: &Shelf<T>, name: &str, entry: T) {
        shelf.lock([name].into_iter()).entry(name, || entry);
    }

    #[test]
    fn one_round_of_sweeps_visits_every_entry_once() {
        let shelf = Shelf::new();
        for number in 0..5_000_u32 {
            insert(&shelf, &number.to_string(), 0_u32);
        }
        for round in 0..TABLES {
            shelf.sweep(round, |visits| {
                *visits += 1;
                true
            });
        }
        shelf.for_each(|_, visits| assert_eq!(*visits, 1));
        for round in 0..TABLES {
            shelf.sweep(round, |_| false);
        }
        shelf.for_each(|name, _| panic!("{name} is kept"));
        assert!(shelf.tables.iter().all(|table| locked(table).capacity() < 8));
    }

    #[test]
    fn names_that_differ_little_spread_over_the_tables() {
        let shelf = Shelf::new();
        for number in 0..100_000_u32 {
            insert(&shelf, &format!("requests:key-{number}"), ());
        }
        let lengths = shelf.tables.iter().map(|table| locked(table).len());
        assert!(lengths.clone().max() < Some(200) && lengths.min() > Some(30), "100 each on average");
    }

    #[test]
    fn entries_are_found_by_name_and_share_it() {
        let shelf = Shelf::new();
        let mut locked = shelf.lock(["a", "b", "a"].into_iter());
        let (first, _) = locked.entry("a", || 1).unwrap();
        let (again, value) = locked.entry("a", || 2).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(*value, 1);
        *locked.get_mut("a").unwrap() = 3;
        assert_eq!(locked.get_mut("a"), Some(&mut 3));
        assert_eq!(locked.get_mut("b"), None);
    }
}
