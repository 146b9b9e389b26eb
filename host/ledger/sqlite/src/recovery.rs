//! Reads back what a server left in the file: its counters, the holds that were open, and the last exchanges that
//! were not. Changes nothing.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Row};
use tollgate_ledger::cell::Cell;
use tollgate_ledger::window::Mark;
use tollgate_ledger::{Entry, Part, Restored};

use crate::file::OpenError;
use crate::statements::{integer, natural};

/// How many closed exchanges are remembered, so that a reservation that comes again takes nothing.
const REMEMBERED: i64 = 16_384;

/// What a server left.
#[derive(Default)]
pub struct Recovered {
    /// Counters by name.
    pub cells: Vec<(String, Cell)>,
    /// Open holds.
    pub holds: Vec<Restored>,
    /// The numbers of their rows, by id.
    pub numbers: HashMap<Box<str>, i64>,
    /// The last exchanges that are closed.
    pub closed: HashSet<Box<str>>,
    /// The latest end of a budget whose counter is gone: milliseconds since the epoch.
    pub horizon: u64,
}

/// Reads it, without the counters that were over by then: milliseconds since the epoch.
pub fn read(connection: &Connection, path: &Path, before: u64) -> Result<Recovered, OpenError> {
    let mut recovered = Recovered::default();
    let counters = "SELECT name, state FROM counters WHERE ends_at_ms > ?1";
    each(connection, path, counters, integer(before), |row| {
        let (name, state) = (row.get::<_, String>(0)?, row.get_ref(1)?.as_str()?);
        let cell = state.parse().map_err(|cause| Wrong::Row(format!("counters, {name}: {cause}")))?;
        recovered.cells.push((name, cell));
        Ok(())
    })?;
    let holds = "SELECT number, until_ms, lease_ms, parts, entry FROM holds WHERE number > ?1";
    each(connection, path, holds, 0, |row| {
        let number: i64 = row.get(0)?;
        let entry: Entry = parsed(row, 4, number)?;
        let parts: Vec<(String, u64, u64, u32)> = parsed(row, 3, number)?;
        let part = |(cell, amount, at_ms, moves): (String, _, _, _)| Part {
            cell: cell.into(),
            amount,
            mark: Mark { at_ms, moves },
        };
        recovered.numbers.insert(entry.request_id.as_str().into(), number);
        recovered.holds.push(Restored {
            entry: Arc::new(entry),
            until_ms: natural(row.get(1)?),
            lease_ms: natural(row.get(2)?),
            parts: parts.into_iter().map(part).collect(),
        });
        Ok(())
    })?;
    let closed = "SELECT request_id FROM charges ORDER BY at_ms DESC, request_id DESC LIMIT ?1";
    each(connection, path, closed, REMEMBERED, |row| {
        recovered.closed.insert(row.get_ref(0)?.as_str()?.into());
        Ok(())
    })?;
    each(connection, path, "SELECT ended_ms FROM horizon LIMIT ?1", 1, |row| {
        recovered.horizon = natural(row.get(0)?);
        Ok(())
    })?;
    Ok(recovered)
}

enum Wrong {
    Sqlite(rusqlite::Error),
    Row(String),
}

impl<E: Into<rusqlite::Error>> From<E> for Wrong {
    fn from(cause: E) -> Self {
        Self::Sqlite(cause.into())
    }
}

fn parsed<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize, number: i64) -> Result<T, Wrong> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|cause| Wrong::Row(format!("holds, number {number}: {cause}")))
}

fn each(
    connection: &Connection,
    path: &Path,
    sql: &str,
    parameter: i64,
    mut take: impl FnMut(&Row<'_>) -> Result<(), Wrong>,
) -> Result<(), OpenError> {
    let mut all = || -> Result<(), Wrong> {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([parameter])?;
        while let Some(row) = rows.next()? {
            take(row)?;
        }
        Ok(())
    };
    all().map_err(|wrong| match wrong {
        Wrong::Row(reason) => OpenError::Unreadable { path: path.to_owned(), reason },
        Wrong::Sqlite(cause) => OpenError::Unopened { path: path.to_owned(), reason: cause.to_string() },
    })
}
