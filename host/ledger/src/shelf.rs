//! Named entries in many small tables, so that no single operation is ever long: a table that grows moves a
//! thousandth of the entries, and dead ones are looked for one table at a time.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

/// With a million entries a table holds a thousand.
const TABLES: usize = 1024;

type Table<T> = HashMap<Arc<str>, T, Quick>;

/// A map from names to entries.
pub struct Shelf<T> {
    tables: Vec<Table<T>>,
    hasher: Quick,
    /// The table that is swept next.
    hand: usize,
}

impl<T> Shelf<T> {
    pub fn new() -> Self {
        let hasher = Quick::new();
        let tables = (0..TABLES).map(|_| HashMap::with_hasher(hasher)).collect();
        Self { tables, hasher, hand: 0 }
    }

    pub fn get(&self, name: &str) -> Option<&T> {
        self.table(name).get(name)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.table_mut(name).get_mut(name)
    }

    /// The entry's shared name and the entry, made if it is not there.
    pub fn entry(&mut self, name: &str, make: impl FnOnce() -> T) -> (Arc<str>, &mut T) {
        let table = self.table_mut(name);
        let shared =
            table.get_key_value(name).map_or_else(|| Arc::from(name), |(shared, _)| Arc::clone(shared));
        (Arc::clone(&shared), table.entry(shared).or_insert_with(make))
    }

    pub fn insert(&mut self, name: &str, entry: T) {
        self.table_mut(name).insert(Arc::from(name), entry);
    }

    pub fn remove(&mut self, name: &str) -> Option<(Arc<str>, T)> {
        self.table_mut(name).remove_entry(name)
    }

    /// Drops what is not kept from the next table.
    pub fn sweep(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let hand = self.hand;
        self.hand = hand.saturating_add(1) % TABLES;
        if let Some(table) = self.tables.get_mut(hand) {
            table.retain(|_, entry| keep(entry));
            if table.len() < table.capacity().wrapping_shr(3) {
                table.shrink_to(table.len().saturating_mul(2));
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &T)> {
        self.tables.iter().flatten()
    }

    #[expect(clippy::indexing_slicing, reason = "place is below TABLES, the number of tables")]
    fn table(&self, name: &str) -> &Table<T> {
        &self.tables[self.place(name)]
    }

    #[expect(clippy::indexing_slicing, reason = "place is below TABLES, the number of tables")]
    fn table_mut(&mut self, name: &str) -> &mut Table<T> {
        let place = self.place(name);
        &mut self.tables[place]
    }

    fn place(&self, name: &str) -> usize {
        // The low bits choose the slot inside a table, so the table is chosen by the next ones.
        let hash = self.hasher.hash_one(name).wrapping_shr(16);
        usize::try_from(hash).unwrap_or(0) % TABLES
    }
}

/// Hashes names a few times faster than the standard hasher: they are made by the server and its operator, not by
/// its clients, so they need not withstand an attack on the tables. Seeded all the same.
#[derive(Clone, Copy)]
pub struct Quick {
    state: u64,
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

    #[test]
    fn one_round_of_sweeps_visits_every_entry_once() {
        let mut shelf = Shelf::new();
        for number in 0..5_000_u32 {
            shelf.insert(&number.to_string(), 0_u32);
        }
        for _ in 0..TABLES {
            shelf.sweep(|visits| {
                *visits += 1;
                true
            });
        }
        assert!(shelf.iter().all(|(_, visits)| *visits == 1));
        for _ in 0..TABLES {
            shelf.sweep(|_| false);
        }
        assert_eq!(shelf.iter().count(), 0);
        assert!(shelf.tables.iter().all(|table| table.capacity() < 8));
    }

    #[test]
    fn names_that_differ_little_spread_over_the_tables() {
        let mut shelf = Shelf::new();
        for number in 0..100_000_u32 {
            shelf.insert(&format!("requests:key-{number}"), ());
        }
        let lengths = shelf.tables.iter().map(HashMap::len);
        assert!(lengths.clone().max() < Some(200) && lengths.min() > Some(30), "100 each on average");
    }

    #[test]
    fn entries_are_found_by_name_and_share_it() {
        let mut shelf = Shelf::new();
        let (first, _) = shelf.entry("a", || 1);
        let (again, value) = shelf.entry("a", || 2);
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(*value, 1);
        assert_eq!(shelf.get("a"), Some(&1));
        *shelf.get_mut("a").unwrap() = 3;
        assert_eq!(shelf.remove("a").map(|(_, value)| value), Some(3));
        assert_eq!(shelf.get("a"), None);
    }
}
