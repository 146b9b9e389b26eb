//! Named entries in many small tables, each with a lock of its own, so that no single operation is ever long: a
//! table that grows moves a thousandth of the entries, and dead ones are looked for one table at a time.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use smallvec::SmallVec;

/// With a million entries a table holds a thousand.
const TABLES: usize = 1024;

/// Names that are locked together without an allocation.
const FEW: usize = 8;

/// In a box, because a table is up to half empty.
type Table<T> = HashTable<Box<Named<T>>>;

struct Named<T> {
    name: Arc<str>,
    entry: T,
}

/// A map from names to entries.
pub struct Shelf<T> {
    tables: Box<[Mutex<Table<T>>]>,
    hasher: Quick,
}

/// Some names, and their tables locked together. An entry is asked for by the place of its name among them.
pub struct Locked<'s, 'n, T> {
    hasher: Quick,
    names: SmallVec<[Name<'n>; FEW]>,
    /// By the table's place, ascending.
    tables: SmallVec<[(usize, MutexGuard<'s, Table<T>>); FEW]>,
}

#[derive(Clone, Copy)]
struct Name<'n> {
    name: &'n str,
    hash: u64,
    /// Of its table.
    place: usize,
}

impl<T> Shelf<T> {
    pub fn new() -> Self {
        Self::with_tables(TABLES)
    }

    /// A shelf of so many tables, at least one.
    pub fn with_tables(tables: usize) -> Self {
        let tables = (0..tables.max(1)).map(|_| Mutex::new(HashTable::new())).collect();
        Self { tables, hasher: Quick::new() }
    }

    /// Locks the tables of these names, always in the same order, so that two who lock several never wait for each
    /// other.
    pub fn lock<'n>(&self, names: impl Iterator<Item = &'n str>) -> Locked<'_, 'n, T> {
        let named = |name| {
            let hash = self.hasher.hash_one(name);
            Name { name, hash, place: place(hash, self.tables.len()) }
        };
        let names: SmallVec<[Name<'n>; FEW]> = names.map(named).collect();
        // In order while they grow, for they are few.
        let mut places: SmallVec<[usize; FEW]> = SmallVec::new();
        for name in &names {
            if let Err(at) = places.binary_search(&name.place) {
                places.insert(at, name.place);
            }
        }
        let tables = places.into_iter().filter_map(|place| Some((place, locked(self.tables.get(place)?))));
        Locked { hasher: self.hasher, names, tables: tables.collect() }
    }

    /// Drops what is not kept from one of the tables: the next round looks at the next one.
    pub fn sweep(&self, round: usize, mut keep: impl FnMut(&mut T) -> bool) {
        if let Some(table) = round.checked_rem(self.tables.len()).and_then(|place| self.tables.get(place)) {
            let mut table = locked(table);
            table.retain(|named| keep(&mut named.entry));
            if table.len() < table.capacity().wrapping_shr(3) {
                let room = table.len().saturating_mul(2);
                table.shrink_to(room, |named| self.hasher.hash_one(&*named.name));
            }
        }
    }

    /// Visits every entry, table by table: what changes meanwhile is seen before or after its change.
    pub fn for_each(&self, mut visit: impl FnMut(&Arc<str>, &T)) {
        for table in &self.tables {
            locked(table).iter().for_each(|named| visit(&named.name, &named.entry));
        }
    }
}

impl<T> Locked<'_, '_, T> {
    /// The entry of the name at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<&T> {
        let Name { name, hash, place } = *self.names.get(index)?;
        let (_, table) = self.tables.iter().find(|(at, _)| *at == place)?;
        table.find(hash, |named| *named.name == *name).map(|named| &named.entry)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let Name { name, hash, place } = *self.names.get(index)?;
        let (_, table) = self.tables.iter_mut().find(|(at, _)| *at == place)?;
        table.find_mut(hash, |named| *named.name == *name).map(|named| &mut named.entry)
    }

    /// The shared name at `index` and its entry, made if it is not there. None: there is no such name.
    pub fn entry(&mut self, index: usize, make: impl FnOnce() -> T) -> Option<(Arc<str>, &mut T)> {
        let Name { name, hash, place } = *self.names.get(index)?;
        let (_, table) = self.tables.iter_mut().find(|(at, _)| *at == place)?;
        let hasher = self.hasher;
        let found = table.entry(hash, |named| *named.name == *name, |named| hasher.hash_one(&*named.name));
        let named =
            found.or_insert_with(|| Box::new(Named { name: Arc::from(name), entry: make() })).into_mut();
        Some((Arc::clone(&named.name), &mut named.entry))
    }
}

/// The lock of a table. Nothing under it panics; a poisoned one would still hold sound entries.
pub fn locked<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The table of a name with this hash, among so many.
fn place(hash: u64, tables: usize) -> usize {
    // The low bits choose the slot inside a table, so the table is chosen by the next ones.
    let bits = usize::try_from(hash.wrapping_shr(16) & 0xffff_ffff).unwrap_or(0);
    bits.checked_rem(tables).unwrap_or(0)
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
        shelf.lock([name].into_iter()).entry(0, || entry);
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
        let (first, _) = locked.entry(0, || 1).unwrap();
        let (again, value) = locked.entry(2, || 2).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(*value, 1);
        *locked.get_mut(2).unwrap() = 3;
        assert_eq!(locked.get(0), Some(&3));
        assert_eq!((locked.get(1), locked.get(3)), (None, None));
    }
}
