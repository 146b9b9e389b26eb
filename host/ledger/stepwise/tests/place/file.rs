//! A database in a file, asked statement by statement. The tests of the shell for Spin use it too.

use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};
use tollgate_stepwise::{Database, Row, Value};

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
