//! Reads back what a server left in the file: its counters, the holds that were open, and the last exchanges that
//! were not. Changes nothing.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row};
use tollgate_ledger::cell::{BUDGET_STAYS_MS, Cell};
use tollgate_ledger::{Books, Entry, Restored};

use crate::backlog::Backlog;
use crate::file::OpenError;
use crate::statements::{integer, natural};

/// How many closed exchanges are remembered, so that a reservation that comes again takes nothing.
const REMEMBERED: i64 = 16_384;

/// What a server left.
pub struct Recovered {
    /// Its counters and open holds.
    pub books: Books<Backlog>,
    /// The numbers of the holds' rows, by id.
    pub numbers: HashMap<Box<str>, i64>,
    /// The last exchanges that are closed.
    pub closed: HashSet<Box<str>>,
}

/// Reads it, without the counters that were over by then: milliseconds since the epoch.
pub fn read(connection: &Connection, path: &Path, before: u64) -> Result<Recovered, OpenError> {
    recovered(connection, before).map_err(|wrong| match wrong {
        Wrong::Row(reason) => OpenError::Unreadable { path: path.to_owned(), reason },
        Wrong::Sqlite(cause) => OpenError::Unopened { path: path.to_owned(), reason: cause.to_string() },
    })
}

fn recovered(connection: &Connection, before: u64) -> Result<Recovered, Wrong> {
    let (mut holds, mut numbers) = (Vec::new(), HashMap::new());
    let mut open = connection.prepare("SELECT number, until_ms, lease_ms, parts, entry FROM holds")?;
    let mut rows = open.query(())?;
    while let Some(row) = rows.next()? {
        let hold = hold_in(row)?;
        numbers.insert(hold.entry.request_id.as_str().into(), row.get(0)?);
        holds.push(hold);
    }
    let mut counters = connection
        .prepare("SELECT name, state FROM counters WHERE ends_at_ms > iif(kind = 'budget', ?2, ?1)")?;
    let mut wrong = None;
    // Budgets stay longer, for holds that were made in them.
    let ended = [before, before.saturating_sub(BUDGET_STAYS_MS)];
    // A start waits for this, so no counter is held twice.
    let cells = counters.query_map(ended.map(integer), |row| Ok(cell_in(row)))?.map_while(|cell| {
        let sound = cell.map_err(Wrong::from).and_then(|cell| cell);
        sound.map_err(|cause| wrong = Some(cause)).ok()
    });
    let books = Books::restore(Backlog::new(), cells, holds);
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let last = "SELECT request_id FROM charges ORDER BY at_ms DESC, request_id DESC LIMIT ?1";
    let mut last = connection.prepare(last)?;
    let closed = last.query_map([REMEMBERED], |row| Ok(row.get_ref(0)?.as_str()?.into()))?;
    let closed = closed.collect::<Result<_, _>>()?;
    let ended = connection.query_row("SELECT ended_ms FROM horizon", (), |row| row.get(0)).optional()?;
    // never over-admit: the clock may have gone back since the counters of ended budgets were deleted.
    books.close_budgets(natural(ended.unwrap_or(0)));
    Ok(Recovered { books, numbers, closed })
}

fn cell_in(row: &Row<'_>) -> Result<(String, Cell), Wrong> {
    let (name, state) = (row.get::<_, String>(0)?, row.get_ref(1)?.as_str()?);
    let cell = state.parse().map_err(|cause| Wrong::Row(format!("counters, {name}: {cause}")))?;
    Ok((name, cell))
}

fn hold_in(row: &Row<'_>) -> Result<Restored, Wrong> {
    let entry: Entry = parsed(row, 4, |text| serde_json::from_str(text))?;
    let parts = parsed(row, 3, |text| serde_json::from_str(text))?;
    Ok(Restored {
        entry: Arc::new(entry),
        until_ms: natural(row.get(1)?),
        lease_ms: natural(row.get(2)?),
        parts,
    })
}

fn parsed<T>(
    row: &Row<'_>,
    column: usize,
    read: impl FnOnce(&str) -> serde_json::Result<T>,
) -> Result<T, Wrong> {
    let number: i64 = row.get(0)?;
    let text = row.get_ref(column)?.as_str()?;
    read(text).map_err(|cause| Wrong::Row(format!("holds, number {number}: {cause}")))
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
