//! A file of its own for each test. The ledger asks it statement by statement; keys are kept and rows are read by
//! the tools of `tollgate-sqlite`, which share the file.

pub mod file;

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found, Kept, Key, Keys, Scope};
use tollgate_ledger::{
    Breakers, Charge, Charges, Claim, Condition, Entry, Hold, Ledger, Pending, Position, Query, Raise,
    Reservation, Settled, Standing,
};
use tollgate_sqlite::Records;
use tollgate_stepwise::{Database, Row, Stepwise, Value};

use self::file::File;

/// A file, the ledger in it, and the tools beside it.
pub struct Place {
    ledger: Stepwise<File>,
    records: Records,
    folder: TempDir,
}

impl Place {
    /// A new file.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.db");
        let ledger = Stepwise::new(File::open(&path).unwrap());
        // The ledger makes the tables, with its first step.
        ledger.standings(&[], 0).unwrap();
        let records = Records::open(&path).unwrap();
        Self { ledger, records, folder }
    }

    /// The same books on a connection of another process, which ends with its `last` statement: that one fails, and
    /// the next is on a new connection.
    #[allow(dead_code, reason = "not every file of tests has other processes")]
    pub fn another(&self, last: usize) -> Stepwise<Mortal> {
        let path = self.folder.path().join("books.db");
        Stepwise::new(Mortal { path, left: last, file: None })
    }

    /// The file, for whoever reads it.
    #[allow(dead_code, reason = "not every file of tests reads it")]
    pub fn file(&self) -> File {
        File::open(&self.folder.path().join("books.db")).unwrap()
    }
}

/// A connection that ends.
pub struct Mortal {
    path: PathBuf,
    left: usize,
    file: Option<File>,
}

impl Database for Mortal {
    fn run(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Row>, String> {
        if self.left == 0 {
            self.file = None;
            self.left = usize::MAX;
            return Err("the process is gone".into());
        }
        self.left -= 1;
        let file = self.file.get_or_insert_with(|| File::open(&self.path).unwrap());
        file.run(statement, values)
    }
}

/// Waits for a future that may need a runtime.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Ledger for Place {
    fn reserve<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Reservation> {
        Ledger::reserve(&self.ledger, hold, now)
    }

    fn durable(&self, position: Position) -> Pending<'_, ()> {
        self.ledger.durable(position)
    }

    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool> {
        Ledger::renew(&self.ledger, hold, lease_ms, now)
    }

    fn raise<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Raise> {
        Ledger::raise(&self.ledger, hold, now)
    }

    fn settle<'a>(&'a self, entry: &'a Arc<Entry>, charge: Charge<'a>, now: u64) -> Pending<'a, Settled> {
        Ledger::settle(&self.ledger, entry, charge, now)
    }

    fn expire(&self, now: u64) -> Pending<'_, usize> {
        Ledger::expire(&self.ledger, now)
    }

    fn standings<'a>(&'a self, claims: &'a [Claim], now: u64) -> Pending<'a, Vec<Standing>> {
        Ledger::standings(&self.ledger, claims, now)
    }

    fn flush(&self) -> Pending<'_, ()> {
        self.ledger.flush()
    }

    fn condition(&self) -> Condition {
        self.ledger.condition()
    }
}

impl Breakers for Place {
    fn ask<'a>(&'a self, name: &'a str, rule: BreakerRule, now: u64) -> Pending<'a, Passage> {
        Breakers::ask(&self.ledger, name, rule, now)
    }

    fn tell<'a>(
        &'a self,
        name: &'a str,
        rule: BreakerRule,
        generation: u64,
        health: Health,
        now: u64,
    ) -> Pending<'a, ()> {
        Breakers::tell(&self.ledger, name, rule, generation, health, now)
    }
}

impl Charges for Place {
    fn charges<'a>(&'a self, query: &'a Query) -> Pending<'a, Vec<Entry>> {
        self.records.charges(query)
    }
}

impl Keys for Place {
    fn find<'a>(&'a self, digest: &'a Digest) -> Pending<'a, Option<Found>> {
        Box::pin(std::future::ready(self.ledger.find(digest)))
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
