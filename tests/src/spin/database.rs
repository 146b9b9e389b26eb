//! The database of one vector: a file, as Spin keeps it, and what it holds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tollgate_ledger::{Books, Restored, Unkept};
use tollgate_stepwise::{Database, Row, Stepwise, Value};

#[path = "../../../host/ledger/stepwise/tests/place/file.rs"]
mod file;

pub use self::file::File;
use crate::books;
use crate::outcome::Cell;

/// A database in a folder of its own.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("sqlite_db.db")
    }

    /// The ledger in it.
    pub fn ledger(&self) -> Stepwise<File> {
        Stepwise::new(File::open(&self.path()).unwrap())
    }

    /// What every cell holds that holds anything.
    pub fn cells(&self, now_ms: u64) -> BTreeMap<String, Cell> {
        let mut file = File::open(&self.path()).unwrap();
        let mut all = |statement| file.run(statement, &[]).unwrap();
        let cells = all("SELECT name, state FROM counters");
        let cells = cells.iter().map(|row| (text(row, 0).to_owned(), text(row, 1).parse().unwrap()));
        let holds = all("SELECT entry, parts, until_ms, lease_ms FROM holds");
        let holds = holds.iter().map(|row| Restored {
            entry: Arc::new(serde_json::from_str(text(row, 0)).unwrap()),
            parts: serde_json::from_str(text(row, 1)).unwrap(),
            until_ms: number(row, 2),
            lease_ms: number(row, 3),
        });
        books::shown(Books::restore(Unkept, cells, holds).snapshot(now_ms))
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

fn text(row: &Row, column: usize) -> &str {
    match &row.0[column] {
        Value::Text(text) => text,
        other => panic!("not a text: {other:?}"),
    }
}

fn number(row: &Row, column: usize) -> u64 {
    match &row.0[column] {
        Value::Integer(number) => *number as u64,
        other => panic!("not a number: {other:?}"),
    }
}
