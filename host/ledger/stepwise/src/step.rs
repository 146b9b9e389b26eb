//! One step: the cells and the hold it is about are read, the books apply their rules, and what changed is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_ledger::cell::Cell;
use tollgate_ledger::{
    Books, Charge, Claim, Entry, Hold, Part, Raise, Reservation, Restored, Settled, Standing, Unavailable,
};

use crate::database::{Database, Row, Value, unreadable};
use crate::notes::{Change, HoldChange, Notes};
use crate::row;

/// A lease that ends so much later than it can is one whose clock went back since, in milliseconds.
const GRACE_MS: u64 = 60_000;

/// How many holds one expiry closes.
const EXPIRED_AT_ONCE: u64 = 100;

const HOLD: &str = "SELECT entry, until_ms, lease_ms, parts FROM holds WHERE request_id = ?1";
/// The same, if it is open, and whether its exchange has its row.
const STAND: &str = "SELECT entry, until_ms, lease_ms, parts, \
                     EXISTS (SELECT 1 FROM charges WHERE request_id = ?1) \
                     FROM (SELECT ?1 AS id) LEFT JOIN holds ON request_id = id";
const DUE: &str = "SELECT entry, until_ms, lease_ms, parts FROM holds \
                   WHERE until_ms <= ?1 OR until_ms > ?1 + lease_ms + ?2 LIMIT ?3";
const KEEP_CELL: &str =
    "REPLACE INTO counters (name, kind, used, ends_at_ms, state) VALUES (?1, ?2, ?3, ?4, ?5)";
const KEEP_HOLD: &str = "INSERT INTO holds (request_id, until_ms, lease_ms, parts, entry) \
                         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (request_id) DO UPDATE \
                         SET until_ms = ?2, lease_ms = ?3, parts = ?4, entry = ?5";
const RENEW_HOLD: &str = "UPDATE holds SET until_ms = ?2, lease_ms = ?3 WHERE request_id = ?1";
const END_HOLD: &str = "DELETE FROM holds WHERE request_id = ?1";

/// A database within a step.
pub(crate) struct Step<'d, D> {
    pub database: &'d mut D,
}

/// The books as far as a step needs them.
struct Page {
    books: Books<Notes>,
    /// The cells as they were read.
    cells: BTreeMap<String, Cell>,
    /// Whether the exchange that was asked about has its row.
    is_closed: bool,
}

impl Page {
    /// The cells that are not any more as they were read.
    fn moved(&self) -> impl Iterator<Item = (&str, Cell)> {
        self.cells.iter().filter_map(|(name, before)| {
            self.books.cell(name).filter(|cell| cell != before).map(|cell| (&**name, cell))
        })
    }
}

impl<D: Database> Step<'_, D> {
    pub(crate) fn run(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Row>, Unavailable> {
        let done = self.database.run(statement, values);
        done.map_err(|cause| Unavailable::new(format!("the database did not answer: {cause}")))
    }

    pub(crate) fn first(&mut self, statement: &str, values: &[Value]) -> Result<Option<Row>, Unavailable> {
        Ok(self.run(statement, values)?.into_iter().next())
    }

    /// The answer to a reservation that is refused, for that changes nothing. None to one that is to be granted.
    pub(crate) fn refusal(&mut self, hold: Hold<'_>, now: u64) -> Result<Option<Reservation>, Unavailable> {
        let page = self.page_of(hold)?;
        if page.is_closed {
            return Ok(None);
        }
        let answer = page.books.reserve(hold, now);
        let is_final = matches!(answer, Reservation::Limited { .. }) && page.moved().next().is_none();
        Ok(is_final.then_some(answer))
    }

    pub(crate) fn reserve(&mut self, hold: Hold<'_>, now: u64) -> Result<Reservation, Unavailable> {
        let page = self.page_of(hold)?;
        if page.is_closed {
            // settle once: a reservation that comes after its end takes nothing more.
            let standings = page.books.standings(hold.claims, now);
            self.write(&page)?;
            return Ok(Reservation::Granted { standings, position: Default::default() });
        }
        let answer = page.books.reserve(hold, now);
        self.write(&page)?;
        Ok(answer)
    }

    pub(crate) fn raise(&mut self, hold: Hold<'_>, now: u64) -> Result<Raise, Unavailable> {
        let Some(open) = self.hold(&hold.entry.request_id)? else { return Ok(Raise::Gone) };
        let page = self.page(names(hold.claims), Some(open))?;
        let answer = page.books.raise(hold, now);
        self.write(&page)?;
        Ok(answer)
    }

    pub(crate) fn renew(&mut self, hold: &str, lease_ms: u64, now: u64) -> Result<bool, Unavailable> {
        let Some(open) = self.hold(hold)? else { return Ok(false) };
        let page = self.page(cells_of(&open.parts), Some(open))?;
        let renewed = page.books.renew(hold, lease_ms, now);
        self.write(&page)?;
        Ok(renewed)
    }

    pub(crate) fn settle(
        &mut self,
        entry: &Arc<Entry>,
        charge: Charge<'_>,
        now: u64,
    ) -> Result<Settled, Unavailable> {
        let (open, is_closed) = self.stand(&entry.request_id)?;
        let Some(open) = open else {
            return Ok(if is_closed { Settled::Already } else { Settled::Unknown });
        };
        let page = self.page(cells_of(&open.parts), Some(open))?;
        let settled = page.books.settle(entry, charge, now);
        self.write(&page)?;
        Ok(settled)
    }

    pub(crate) fn standings(&mut self, claims: &[Claim], now: u64) -> Result<Vec<Standing>, Unavailable> {
        let page = self.page(names(claims), None)?;
        let standings = page.books.standings(claims, now);
        self.write(&page)?;
        Ok(standings)
    }

    /// Whether there is a hold to close or a cell to drop.
    pub(crate) fn is_due(&mut self, now: u64, before: u64) -> Result<bool, Unavailable> {
        let due = self.first(DUE, &[now.into(), GRACE_MS.into(), 1_u64.into()])?;
        let over = "SELECT 1 FROM counters WHERE ends_at_ms <= ?1 LIMIT 1";
        Ok(due.is_some() || self.first(over, &[before.into()])?.is_some())
    }

    pub(crate) fn expire(&mut self, now: u64) -> Result<usize, Unavailable> {
        let rows = self.run(DUE, &[now.into(), GRACE_MS.into(), EXPIRED_AT_ONCE.into()])?;
        let due: Vec<Restored> = rows.iter().map(restored).collect::<Result<_, _>>()?;
        let cells = due.iter().flat_map(|hold| cells_of(&hold.parts)).collect();
        let page = self.page(cells, due)?;
        let lost = page.books.expire(now);
        // Only what the books tell: the cells they dropped are swept by their own rule.
        self.keep(page.books.journal().take())?;
        Ok(lost)
    }

    /// Drops the cells that were over before, and remembers which budgets must not begin anew.
    pub(crate) fn sweep(&mut self, before: u64) -> Result<(), Unavailable> {
        // never over-admit: what it had counted goes with it.
        let horizon = "UPDATE horizon SET ended_ms = max(ended_ms, coalesce((SELECT max(ends_at_ms) \
                       FROM counters WHERE kind = 'budget' AND ends_at_ms <= ?1), 0))";
        self.run(horizon, &[before.into()])?;
        self.run("DELETE FROM counters WHERE ends_at_ms <= ?1", &[before.into()]).map(drop)
    }

    fn hold(&mut self, id: &str) -> Result<Option<Restored>, Unavailable> {
        self.first(HOLD, &[id.into()])?.as_ref().map(restored).transpose()
    }

    /// The hold, if it is open, and whether it is closed.
    fn stand(&mut self, id: &str) -> Result<(Option<Restored>, bool), Unavailable> {
        let Some(row) = self.first(STAND, &[id.into()])? else { return Ok((None, false)) };
        let is_open = row.maybe_text(0)?.is_some();
        let is_closed = !is_open && row.number(4)? != 0;
        Ok((is_open.then(|| restored(&row)).transpose()?, is_closed))
    }

    /// The books with these cells and holds.
    fn page(
        &mut self,
        names: Vec<String>,
        holds: impl IntoIterator<Item = Restored>,
    ) -> Result<Page, Unavailable> {
        self.read(names, None, holds.into_iter().collect())
    }

    /// The books with what concerns a reservation, all of one moment.
    fn page_of(&mut self, hold: Hold<'_>) -> Result<Page, Unavailable> {
        self.read(names(hold.claims), Some(&hold.entry.request_id), Vec::new())
    }

    /// Reads the cells of these names and, if one is asked about, how an exchange stands. One statement, for each has
    /// its price.
    fn read(
        &mut self,
        names: Vec<String>,
        exchange: Option<&str>,
        mut holds: Vec<Restored>,
    ) -> Result<Page, Unavailable> {
        // Each once: they are few.
        let mut each: Vec<String> = Vec::with_capacity(names.len());
        for name in names {
            if !each.contains(&name) {
                each.push(name);
            }
        }
        let places: Vec<String> = (1..=each.len()).map(|place| format!("?{place}")).collect();
        let mut all = format!(
            "SELECT name, state, NULL, NULL, 'cell' FROM counters WHERE name IN ({}) \
             UNION ALL SELECT NULL, ended_ms, NULL, NULL, 'horizon' FROM horizon",
            places.join(", ")
        );
        let mut values: Vec<Value> = each.into_iter().map(Value::from).collect();
        if let Some(id) = exchange {
            values.push(id.into());
            let id = values.len();
            all.push_str(&format!(
                " UNION ALL SELECT entry, until_ms, lease_ms, parts, 'hold' FROM holds WHERE request_id = ?{id} \
                 UNION ALL SELECT NULL, NULL, NULL, NULL, 'row' FROM charges WHERE request_id = ?{id}"
            ));
        }
        let (mut cells, mut ended_ms, mut is_closed) = (BTreeMap::new(), 0, false);
        for row in self.run(&all, &values)? {
            match row.text(4)? {
                "cell" => {
                    let cell = row.parsed(1, |state| state.parse().ok())?;
                    cells.insert(row.text(0)?.to_owned(), cell);
                }
                "horizon" => ended_ms = row.number(1)?,
                "hold" => holds.push(restored(&row)?),
                "row" => is_closed = true,
                _ => return Err(unreadable()),
            }
        }
        let books = Books::small(Notes::default(), cells.clone(), holds);
        books.close_budgets(ended_ms);
        Ok(Page { books, cells, is_closed })
    }

    /// Writes what a step changed. A question changes a cell too, very seldom: when it believes a clock that went back.
    fn write(&mut self, page: &Page) -> Result<(), Unavailable> {
        let changes = page.books.journal().take();
        if changes.is_empty() {
            page.moved().try_for_each(|(name, cell)| self.keep_cell(name, &cell))?;
        }
        self.keep(changes)
    }

    fn keep(&mut self, changes: Vec<Change>) -> Result<(), Unavailable> {
        for Change { cells, hold } in changes {
            for (name, cell) in cells {
                self.keep_cell(&name, &cell)?;
            }
            match hold {
                HoldChange::Open { entry, until_ms, lease_ms, parts } => {
                    let values = [
                        entry.request_id.as_str().into(),
                        until_ms.into(),
                        lease_ms.into(),
                        row::json(&parts)?.into(),
                        row::json(&*entry)?.into(),
                    ];
                    self.run(KEEP_HOLD, &values)?;
                }
                HoldChange::Renewed { hold, until_ms, lease_ms } => {
                    self.run(RENEW_HOLD, &[hold.into(), until_ms.into(), lease_ms.into()])?;
                }
                HoldChange::Closed(entry) => {
                    self.run(END_HOLD, &[entry.request_id.as_str().into()])?;
                    self.run(row::ADD, &row::values(&entry))?;
                }
            }
        }
        Ok(())
    }

    fn keep_cell(&mut self, name: &str, cell: &Cell) -> Result<(), Unavailable> {
        let kind = match cell {
            Cell::Window(_) => "window",
            Cell::Budget(_) => "budget",
            Cell::Slots(_) => "slots",
        };
        // At its last change it has forgotten what had passed by then, and no more.
        let (used, ends_at_ms) = (cell.used(0), cell.end_ms());
        let values = [name.into(), kind.into(), used.into(), ends_at_ms.into(), cell.to_string().into()];
        self.run(KEEP_CELL, &values).map(drop)
    }
}

fn names(claims: &[Claim]) -> Vec<String> {
    claims.iter().map(|claim| claim.cell.clone()).collect()
}

fn cells_of(parts: &[Part]) -> Vec<String> {
    parts.iter().map(|part| part.cell.to_string()).collect()
}

fn restored(row: &Row) -> Result<Restored, Unavailable> {
    Ok(Restored {
        entry: Arc::new(row.parsed(0, |text| serde_json::from_str(text).ok())?),
        until_ms: row.number(1)?,
        lease_ms: row.number(2)?,
        parts: row.parsed(3, |text| serde_json::from_str(text).ok())?,
    })
}
