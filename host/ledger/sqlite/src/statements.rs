//! The statements of the writer, prepared once, and how values stand in the tables.

use std::fmt::Write as _;
use std::sync::Arc;

use rusqlite::{Connection, Result, Statement, params};
use tollgate_ledger::Entry;
use tollgate_ledger::cell::Cell;

use crate::backlog::Opened;
use crate::batch::Batch;

/// What a batch is written with.
pub struct Statements<'c> {
    keep_cell: Statement<'c>,
    open_hold: Statement<'c>,
    renew_hold: Statement<'c>,
    end_hold: Statement<'c>,
    add_row: Statement<'c>,
    some_counters: Statement<'c>,
    drop_counter: Statement<'c>,
    move_horizon: Statement<'c>,
    /// Where a text is made.
    text: String,
}

impl<'c> Statements<'c> {
    /// Prepares all of them.
    pub fn new(connection: &'c Connection) -> Result<Self> {
        Ok(Self {
            keep_cell: connection.prepare(
                "REPLACE INTO counters (name, kind, used, ends_at_ms, state) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            open_hold: connection.prepare(
                "REPLACE INTO holds (number, request_id, until_ms, lease_ms, parts, entry) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
            renew_hold: connection.prepare("UPDATE holds SET until_ms = ?2, lease_ms = ?3 WHERE number = ?1")?,
            end_hold: connection.prepare("DELETE FROM holds WHERE number = ?1")?,
            // settle once: a row that is there stays as it is.
            add_row: connection.prepare(
                "INSERT INTO charges (at_ms, request_id, key, model, upstream, upstream_model, input_tokens, \
                 cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, estimated, \
                 charge_nano, currency, input_price, cached_input_price, cache_write_price, output_price, \
                 reasoning_price, price_since_ms, price_source, status, outcome, duration_ms, first_byte_ms) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
                 ?20, ?21, ?22, ?23, ?24, ?25) ON CONFLICT DO NOTHING",
            )?,
            some_counters: connection
                .prepare("SELECT name, ends_at_ms, kind FROM counters WHERE name > ?1 ORDER BY name LIMIT ?2")?,
            drop_counter: connection.prepare("DELETE FROM counters WHERE name = ?1")?,
            move_horizon: connection.prepare("UPDATE horizon SET ended_ms = max(ended_ms, ?1)")?,
            text: String::new(),
        })
    }

    /// Writes all of a batch. The caller has begun a transaction.
    pub fn write(&mut self, batch: &Batch) -> Result<()> {
        // Neighbours in the file are written one after the other.
        let mut cells: Vec<(&Arc<str>, &Cell)> = batch.cells.iter().collect();
        cells.sort_unstable_by_key(|(name, _)| *name);
        cells.into_iter().try_for_each(|(name, cell)| self.keep_cell(name, cell))?;
        let holds = batch.opened.iter().chain(&batch.raised);
        holds.into_iter().try_for_each(|(number, opened)| self.open_hold(*number, opened))?;
        for (number, (until_ms, lease_ms)) in &batch.renewed {
            self.renew_hold.execute(params![number, integer(*until_ms), integer(*lease_ms)])?;
        }
        for number in &batch.ended {
            self.end_hold.execute([number])?;
        }
        batch.rows.iter().try_for_each(|entry| self.add_row(entry))
    }

    fn keep_cell(&mut self, name: &str, cell: &Cell) -> Result<()> {
        self.text.clear();
        // Writing into a string does not fail.
        let _ = write!(self.text, "{cell}");
        let kind = match cell {
            Cell::Window(_) => "window",
            Cell::Budget(_) => "budget",
            Cell::Slots(_) => "slots",
        };
        // At its last change it has forgotten what had passed by then, and no more.
        let (used, ends_at_ms) = (integer(cell.used(0)), integer(cell.end_ms()));
        self.keep_cell.execute(params![name, kind, used, ends_at_ms, self.text]).map(drop)
    }

    fn open_hold(&mut self, number: i64, opened: &Opened) -> Result<()> {
        let Opened { entry, until_ms, lease_ms, parts } = opened;
        let parts = json(parts)?;
        let row = json(&**entry)?;
        let (until_ms, lease_ms) = (integer(*until_ms), integer(*lease_ms));
        self.open_hold.execute(params![number, entry.request_id, until_ms, lease_ms, parts, row]).map(drop)
    }

    fn add_row(&mut self, entry: &Entry) -> Result<()> {
        self.add_row
            .execute(params![
                integer(entry.at_ms),
                entry.request_id,
                entry.key,
                entry.model,
                entry.upstream,
                entry.upstream_model,
                integer(entry.input_tokens),
                integer(entry.cached_input_tokens),
                integer(entry.cache_write_tokens),
                integer(entry.output_tokens),
                integer(entry.reasoning_tokens),
                entry.estimated,
                integer(entry.charge),
                entry.currency,
                integer(entry.price.input),
                integer(entry.price.cached_input),
                integer(entry.price.cache_write),
                integer(entry.price.output),
                integer(entry.price.reasoning),
                entry.price.since_ms.map(integer),
                entry.price.source,
                entry.status,
                entry.outcome.as_str(),
                integer(entry.duration_ms),
                entry.first_byte_ms.map(integer),
            ])
            .map(drop)
    }

    /// Looks at `most` counters after the one of this name, and deletes those that ended before: milliseconds since
    /// the epoch. The name of the last one it looked at; none when there are no more.
    pub fn sweep(&mut self, after: &str, most: i64, before: u64) -> Result<Option<String>> {
        let mut over: Vec<String> = Vec::new();
        let (mut last, mut seen, mut horizon) = (None, 0_i64, 0);
        let mut rows = self.some_counters.query(params![after, most])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            seen = seen.saturating_add(1);
            let ended: i64 = row.get(1)?;
            if natural(ended) <= before {
                if row.get_ref(2)?.as_str()? == "budget" {
                    horizon = ended.max(horizon);
                }
                over.push(name.clone());
            }
            last = Some(name);
        }
        drop(rows);
        if horizon > 0 {
            // never over-admit: what it had counted goes with it.
            self.move_horizon.execute([horizon])?;
        }
        for name in over {
            self.drop_counter.execute([name])?;
        }
        Ok(last.filter(|_| seen >= most))
    }
}

/// A number as SQLite keeps it. Amounts are below 2^53 by contract; what is beyond SQLite's integers is kept as the
/// largest of them, for a row that says too little is better than books that stop.
pub fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The reverse of [`integer`].
pub fn natural(number: i64) -> u64 {
    if number == i64::MAX { u64::MAX } else { u64::try_from(number).unwrap_or(0) }
}

/// A value as JSON.
pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|cause| rusqlite::Error::ToSqlConversionFailure(cause.into()))
}
