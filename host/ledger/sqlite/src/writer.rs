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
    match Statements::new(connection) {
        Ok(statements) => {
            let (batch, swept) = (Batch::default(), String::new());
            Writer { connection, backlog, numbers, statements, batch, swept }.run();
        }
        Err(cause) => backlog.failed(format!("the ledger's tables are not as they should be: {cause}")),
    }
}

struct Writer<'c> {
    connection: &'c Connection,
    backlog: &'c Backlog,
    numbers: Numbers,
    statements: Statements<'c>,
    batch: Batch,
    /// The counter up to which the file is swept.
    swept: String,
}

impl Writer<'_> {
    fn run(&mut self) {
        let mut queue = Queue::default();
        let mut last = Instant::now();
        let mut pause = Duration::ZERO;
        loop {
            if self.batch.is_empty() {
                self.backlog.wait();
                pause = PACE.saturating_sub(last.elapsed());
            }
            self.backlog.take(pause, &mut queue);
            queue.changes.drain(..).for_each(|change| self.batch.fold(&mut self.numbers, change));
            last = Instant::now();
            match self.write(queue.sweep) {
                Ok(()) => {
                    self.batch.clear();
                    self.backlog.written(queue.noted);
                    pause = Duration::ZERO;
                }
                Err(cause) => {
                    self.backlog.failed(format!("the ledger's file cannot be written: {cause}"));
                    pause = pause.saturating_mul(2).clamp(PAUSES.0, PAUSES.1);
                }
            }
            if queue.closing {
                return;
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
