//! The store of a server: the rules in memory, the writer behind them, the records beside them.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tollgate_ledger::breaker::{Board, BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found, Kept, Key, Keys, Scope};
use tollgate_ledger::{
    Books, Breakers, Charge, Charges, Claim, Condition, Entry, Hold, Journal as _, Ledger, Pending, Position,
    Query, Raise, Reservation, Settled, Snapshot, Standing, Unavailable,
};

use crate::backlog::Backlog;
use crate::batch::Numbers;
use crate::file::{self, OpenError};
use crate::records::Records;
use crate::recovery::{self, Recovered};
use crate::statements::Statements;
use crate::writer;

/// How long the writer waits for another process that writes: a tool that changes a key.
const PATIENCE: Duration = Duration::from_secs(2);

/// As long as the books keep a cell that is over.
const GRACE_MS: u64 = 60_000;

/// How long the file keeps a counter that is over: a clock that was set back while no server ran finds it again. Of a
/// budget that is gone the file keeps the end.
const KEPT_MS: u64 = 86_400_000;

/// A [`tollgate_ledger::Store`] in a file, for one server at a time.
///
/// `reserve`, `raise`, `settle`, `renew` and `expire` answer when the books in memory have changed; the file follows within
/// milliseconds. While it cannot be written the store is [`Condition::Down`]: nothing is granted, `durable` and
/// `flush` answer [`Unavailable`], and settlements wait in memory. When it can be written again they all are. The same
/// holds while 50,000 changes are on their way to a disk that is too slow.
///
/// Dropped, it writes what there is and lets go of the file; what cannot be written then is lost as in a crash.
pub struct Sqlite {
    books: Arc<Books<Backlog>>,
    board: Board,
    /// The last exchanges that were closed before the file was opened.
    closed: HashSet<Box<str>>,
    /// How many holds had lost their lease by then.
    lost: AtomicUsize,
    writer: Option<JoinHandle<()>>,
    // Dropped in this order: the file is free when its last connection is closed.
    records: Records,
    _lock: File,
}

impl Sqlite {
    /// Opens the file, makes it if there is none, and takes up the books where they were left. `now` is milliseconds
    /// since the epoch. Holds whose lease has passed by then are closed as [`tollgate_ledger::Outcome::Lost`].
    ///
    /// # Errors
    ///
    /// What is wrong with the file, and what can be done about it.
    pub fn open(path: impl AsRef<Path>, now: u64) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let lock = file::lock(path)?;
        let connection = file::connect(path, PATIENCE)?;
        let unopened = |reason: String| OpenError::Unopened { path: path.to_owned(), reason };
        drop(Statements::new(&connection).map_err(|cause| unopened(cause.to_string()))?);
        let Recovered { books, numbers, closed } =
            recovery::read(&connection, path, now.saturating_sub(GRACE_MS))?;
        let books = Arc::new(books);
        // never over-admit: this also closes the budgets whose counters were over and are not read back.
        let lost = AtomicUsize::new(books.expire(now));
        let records = Records::open(path)?;
        let writer = writer::start(connection, &books, Numbers::new(numbers));
        let writer = Some(writer.map_err(|cause| unopened(cause.to_string()))?);
        Ok(Self { books, board: Board::default(), closed, lost, writer, records, _lock: lock })
    }

    /// Everything in the books as `now` finds it.
    #[must_use]
    pub fn snapshot(&self, now: u64) -> Snapshot {
        self.books.snapshot(now)
    }

    fn reserve_now(&self, hold: Hold<'_>, now: u64) -> Result<Reservation, Unavailable> {
        // Budgets fail closed: what cannot be kept is not granted.
        if let Some(reason) = self.books.journal().fault() {
            return Err(Unavailable { reason });
        }
        if self.closed.contains(&*hold.entry.request_id) {
            let standings = self.books.standings(hold.claims, now);
            return Ok(Reservation::Granted { standings, position: Position::default() });
        }
        Ok(self.books.reserve(hold, now))
    }

    fn raise_now(&self, hold: Hold<'_>, now: u64) -> Result<Raise, Unavailable> {
        match self.books.journal().fault() {
            Some(reason) => Err(Unavailable { reason }),
            None => Ok(self.books.raise(hold, now)),
        }
    }

    fn settle_now(&self, entry: &Arc<Entry>, charge: Charge<'_>, now: u64) -> Result<Settled, Unavailable> {
        match self.books.settle(entry, charge, now) {
            // settle once: it may have been closed by a server before this one, or long ago.
            Settled::Unknown if self.records.has_row(&entry.request_id)? => Ok(Settled::Already),
            settled => Ok(settled),
        }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.books.journal().close();
        if let Some(writer) = self.writer.take() {
            // It does not panic, and there is nobody to tell if it did.
            let _ = writer.join();
        }
    }
}

impl Ledger for Sqlite {
    fn reserve<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Reservation> {
        Box::pin(async move { self.reserve_now(hold, now) })
    }

    fn durable(&self, position: Position) -> Pending<'_, ()> {
        Box::pin(self.books.journal().durable(position))
    }

    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool> {
        Box::pin(async move { Ok(self.books.renew(hold, lease_ms, now)) })
    }

    fn raise<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Raise> {
        Box::pin(async move { self.raise_now(hold, now) })
    }

    fn settle<'a>(&'a self, entry: &'a Arc<Entry>, charge: Charge<'a>, now: u64) -> Pending<'a, Settled> {
        Box::pin(async move { self.settle_now(entry, charge, now) })
    }

    fn expire(&self, now: u64) -> Pending<'_, usize> {
        Box::pin(async move {
            let lost = self.books.expire(now);
            self.books.journal().sweep(now.saturating_sub(KEPT_MS));
            Ok(lost.saturating_add(self.lost.swap(0, Ordering::Relaxed)))
        })
    }

    fn standings<'a>(&'a self, claims: &'a [Claim], now: u64) -> Pending<'a, Vec<Standing>> {
        Box::pin(async move { Ok(self.books.standings(claims, now)) })
    }

    fn flush(&self) -> Pending<'_, ()> {
        let backlog = self.books.journal();
        Box::pin(backlog.durable(backlog.position()))
    }

    fn condition(&self) -> Condition {
        self.books.journal().fault().map_or(Condition::Sound, Condition::Down)
    }
}

impl Breakers for Sqlite {
    fn ask<'a>(&'a self, name: &'a str, rule: BreakerRule, now: u64) -> Pending<'a, Passage> {
        Box::pin(async move { Ok(self.board.ask(name, rule, now)) })
    }

    fn tell<'a>(
        &'a self,
        name: &'a str,
        rule: BreakerRule,
        generation: u64,
        health: Health,
        now: u64,
    ) -> Pending<'a, ()> {
        Box::pin(async move {
            self.board.tell(name, rule, generation, health, now);
            Ok(())
        })
    }
}

impl Charges for Sqlite {
    fn charges<'a>(&'a self, query: &'a Query) -> Pending<'a, Vec<Entry>> {
        self.records.charges(query)
    }
}

impl Keys for Sqlite {
    fn find<'a>(&'a self, digest: &'a Digest) -> Pending<'a, Option<Found>> {
        self.records.find(digest)
    }

    fn key<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Key>> {
        self.records.key(name)
    }

    fn keys(&self) -> Pending<'_, Vec<Key>> {
        self.records.keys()
    }

    fn keep_key<'a>(&'a self, key: &'a Key) -> Pending<'a, Kept> {
        self.records.keep_key(key)
    }

    fn scope<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Scope>> {
        self.records.scope(name)
    }

    fn scopes(&self) -> Pending<'_, Vec<Scope>> {
        self.records.scopes()
    }

    fn keep_scope<'a>(&'a self, scope: &'a Scope) -> Pending<'a, Kept> {
        self.records.keep_scope(scope)
    }
}
