//! A directory with a ledger's file in it, and the store in that file.

#![allow(dead_code, reason = "every file of tests uses a part of it")]

use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;
use tollgate_contract::NOW;
use tollgate_sqlite::Sqlite;

/// The directory; gone when it is dropped.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn file(&self) -> PathBuf {
        self.0.path().join("ledger.db")
    }

    pub fn open(&self, now: u64) -> Sqlite {
        Sqlite::open(self.file(), now).unwrap()
    }

    /// What a person with the sqlite3 shell reads: each row as its columns, joined by `|`.
    pub fn shell(&self, sql: &str) -> Vec<String> {
        let connection = Connection::open(self.file()).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let text = |row: &rusqlite::Row<'_>, column| match row.get_ref(column).unwrap() {
            rusqlite::types::ValueRef::Null => String::new(),
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            value => value.as_str().unwrap().to_owned(),
        };
        let line = |row: &rusqlite::Row<'_>| {
            Ok((0..columns).map(|column| text(row, column)).collect::<Vec<_>>().join("|"))
        };
        statement.query_map((), line).unwrap().collect::<Result<_, _>>().unwrap()
    }
}

/// A store in a directory of its own.
pub struct Alone {
    store: Sqlite,
    _place: Place,
}

impl Alone {
    pub fn new() -> Self {
        let place = Place::new();
        Self { store: place.open(NOW), _place: place }
    }
}

impl Deref for Alone {
    type Target = Sqlite;

    fn deref(&self) -> &Sqlite {
        &self.store
    }
}

/// The answer of a future.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}
