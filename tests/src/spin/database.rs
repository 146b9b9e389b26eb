//! The database of one vector: a file, as Spin keeps it, and what it holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};
use tempfile::TempDir;
use tollgate_ledger::{Books, Restored, Unkept};
use tollgate_stepwise::{Database, Row, Stepwise, Value};

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

/// A connection to a database in a file.
pub struct File(Connection);

impl File {
    /// Opens the file, and makes it if there is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let connection = Connection::open(path).map_err(|cause| cause.to_string())?;
        // Nobody pulls the plug in a test.
        connection.execute_batch("PRAGMA synchronous = OFF").map_err(|cause| cause.to_string())?;
        Ok(Self(connection))
    }
}

impl Database for File {
    fn run(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Row>, String> {
        let run = || {
            let mut statement = self.0.prepare_cached(statement)?;
            let columns = statement.column_count();
            let mut rows = statement.query(rusqlite::params_from_iter(values.iter().map(Given)))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let value = |column| row.get_ref(column).map(taken);
                found.push(Row((0..columns).map(value).collect::<rusqlite::Result<_>>()?));
            }
            Ok(found)
        };
        run().map_err(|cause: rusqlite::Error| cause.to_string())
    }
}

struct Given<'v>(&'v Value);

impl ToSql for Given<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Null => ValueRef::Null,
        }))
    }
}

fn taken(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Null => Value::Null,
        other => Value::Text(other.as_str().unwrap().to_owned()),
    }
}
