//! The thread that writes: takes what has happened, folds it into a batch, and commits the batch in one transaction.
//!
//! Commits come a few milliseconds apart however much there is to write, so their number, and with it most of their
//! cost, does not grow with the load; the first change after a quiet moment is written at once. When a commit fails
//! the batch stays and is tried again, with what came meanwhile, until the file can be written.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Result, Transaction, TransactionBehavior};
use tollgate_ledger::Books;

use crate::backlog::{Backlog, Queue};
use crate::batch::{Batch, Numbers};
use crate::statements::Statements;

/// From one commit to the next, at least.
const PACE: Duration = Duration::from_millis(3);

/// After a commit that failed: the first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How many counters one sweep looks at.
const SWEPT: i64 = 1_000;

/// Starts the thread. It ends when the backlog is closed.
pub fn start(
    connection: Connection,
    books: &Arc<Books<Backlog>>,
    numbers: Numbers,
) -> std::io::Result<JoinHandle<()>> {
    let books = Arc::clone(books);
    let write = move || run(&connection, books.journal(), numbers);
    Builder::new().name("ledger".into()).spawn(write)
}

fn run(connection: &Connection, backlog: &Backlog, numbers: Numbers) {
    match Writer::new(connection, backlog, numbers) {
        Ok(mut writer) => writer.run(),
        Err(cause) => backlog.failed(format!("the ledger's tables are not as they should be: {cause}")),
    }
}

struct Writer<'c> {
    connection: &'c Connection,
    backlog: &'c Backlog,
    numbers: Numbers,
    statements: Statements<'c>,
    /// What is to be written, also what could not be until now.
    batch: Batch,
    queue: Queue,
    /// The counter up to which the file is swept.
    swept: String,
    /// When the last commit began.
    last: Instant,
    /// How long to wait before the next one.
    pause: Duration,
}

impl<'c> Writer<'c> {
    fn new(connection: &'c Connection, backlog: &'c Backlog, numbers: Numbers) -> Result<Self> {
        Ok(Self {
            connection,
            backlog,
            numbers,
            statements: Statements::new(connection)?,
            batch: Batch::default(),
            queue: Queue::default(),
            swept: String::new(),
            last: Instant::now(),
            pause: Duration::ZERO,
        })
    }

    fn run(&mut self) {
        while !self.queue.closing {
            if self.batch.is_empty() {
                self.backlog.wait();
                self.pause = PACE.saturating_sub(self.last.elapsed());
            }
            self.commit();
        }
    }

    /// Takes what there is and tries to write it, together with what could not be written before.
    fn commit(&mut self) {
        self.backlog.take(self.pause, &mut self.queue);
        self.queue.changes.drain(..).for_each(|change| self.batch.fold(&mut self.numbers, change));
        self.last = Instant::now();
        match self.write(self.queue.sweep) {
            Ok(()) => {
                self.batch.clear();
                self.backlog.written(self.queue.noted);
                self.pause = Duration::ZERO;
            }
            Err(cause) => {
                self.backlog.failed(format!("the ledger's file cannot be written: {cause}"));
                self.pause = self.pause.saturating_mul(2).clamp(PAUSES.0, PAUSES.1);
            }
        }
    }

    fn write(&mut self, sweep: Option<u64>) -> Result<()> {
        if self.batch.is_empty() && sweep.is_none() {
            return Ok(());
        }
        let transaction = Transaction::new_unchecked(self.connection, TransactionBehavior::Immediate)?;
        self.statements.write(&self.batch)?;
        if let Some(before) = sweep {
            self.swept = self.statements.sweep(&self.swept, SWEPT, before)?.unwrap_or_default();
        }
        transaction.commit()
    }
}

#[cfg(test)]
mod tests {
    use tollgate_contract::{LEASE, NOW, budget, entry};
    use tollgate_ledger::{Charge, Hold, Journal as _, Settled};

    use super::*;
    use crate::file;

    fn number(connection: &Connection, sql: &str) -> i64 {
        connection.query_row(sql, (), |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_batch_that_fails_again_and_again_is_kept_with_what_comes_meanwhile() {
        let place = tempfile::TempDir::new().unwrap();
        let connection = file::connect(&place.path().join("ledger.db"), Duration::ZERO).unwrap();
        let books = Books::new(Backlog::new());
        let mut writer = Writer::new(&connection, books.journal(), Numbers::default()).unwrap();
        let rows = ["one", "two", "three"].map(|id| Arc::new(entry(id, 5)));
        let mut pauses = Vec::new();
        connection.execute_batch("PRAGMA query_only = ON").unwrap();
        for row in &rows {
            let claims = [budget("b", 100, 5)];
            books.reserve(Hold { entry: row, claims: &claims, lease_ms: LEASE }, NOW);
            writer.commit();
            assert_eq!(books.settle(row, Charge::Amounts(&[2]), NOW), Settled::Done);
            writer.commit();
            assert!(books.journal().fault().unwrap().contains("cannot be written"));
            pauses.push(writer.pause);
        }
        assert!(pauses.is_sorted() && pauses.iter().all(|pause| *pause <= PAUSES.1), "{pauses:?}");
        connection.execute_batch("PRAGMA query_only = OFF").unwrap();
        writer.commit();
        assert_eq!(books.journal().fault(), None);
        assert!(writer.batch.is_empty() && writer.pause.is_zero());
        assert_eq!(number(&connection, "SELECT count(*) FROM charges"), 3);
        assert_eq!(number(&connection, "SELECT count(*) FROM holds"), 0);
        assert_eq!(number(&connection, "SELECT used FROM counters WHERE name = 'b'"), 6);
        assert_eq!(books.journal().position().0, 6);
    }
}
