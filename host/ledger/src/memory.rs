//! A store inside one process: nothing survives it, nothing is shared. For tests, and for who wants no file.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use crate::books::Books;
use crate::breaker::{Board, BreakerRule, Health, Passage};
use crate::keys::{Digest, Found, Kept, Key, Keys, Scope, Secret};
use crate::shelf::locked;
use crate::store::{Breakers, Charges, Condition, Ledger, Pending, Query};
use crate::{
    Charge, Claim, Entry, Event, Hold, Journal, Position, Raise, Reservation, Settled, Snapshot, Standing,
};

/// How many rows of the books are kept.
const ROWS: usize = 10_000;

/// A [`crate::Store`] in memory.
pub struct Memory {
    books: Books<Rows>,
    board: Board,
    records: Mutex<Records>,
}

/// Keys and scopes by their names.
#[derive(Default)]
struct Records {
    keys: BTreeMap<String, Key>,
    scopes: BTreeMap<String, Scope>,
    /// Whose each secret is.
    owners: HashMap<Digest, String>,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { books: Books::new(Rows::default()), board: Board::default(), records: Mutex::default() }
    }

    /// Everything in the books as `now` finds it.
    #[must_use]
    pub fn snapshot(&self, now: u64) -> Snapshot {
        self.books.snapshot(now)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// The latest rows.
#[derive(Default)]
struct Rows(Mutex<VecDeque<Arc<Entry>>>);

impl Journal for Rows {
    const KEEPS_CELLS: bool = false;

    fn note(&self, event: Event<'_>) -> Position {
        if let Event::Closed { entry, .. } = event {
            let mut rows = locked(&self.0);
            if rows.len() >= ROWS {
                rows.pop_front();
            }
            rows.push_back(Arc::clone(entry));
        }
        Position::default()
    }

    fn position(&self) -> Position {
        Position::default()
    }
}

impl Ledger for Memory {
    fn reserve<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Reservation> {
        Box::pin(async move { Ok(self.books.reserve(hold, now)) })
    }

    fn durable(&self, _: Position) -> Pending<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool> {
        Box::pin(async move { Ok(self.books.renew(hold, lease_ms, now)) })
    }

    fn raise<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Raise> {
        Box::pin(async move { Ok(self.books.raise(hold, now)) })
    }

    fn settle<'a>(&'a self, entry: &'a Arc<Entry>, charge: Charge<'a>, now: u64) -> Pending<'a, Settled> {
        Box::pin(async move { Ok(self.books.settle(entry, charge, now)) })
    }

    fn expire(&self, now: u64) -> Pending<'_, usize> {
        Box::pin(async move { Ok(self.books.expire(now)) })
    }

    fn standings<'a>(&'a self, claims: &'a [Claim], now: u64) -> Pending<'a, Vec<Standing>> {
        Box::pin(async move { Ok(self.books.standings(claims, now)) })
    }

    fn flush(&self) -> Pending<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn condition(&self) -> Condition {
        Condition::Sound
    }
}

impl Breakers for Memory {
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

impl Charges for Memory {
    fn charges<'a>(&'a self, query: &'a Query) -> Pending<'a, Vec<Entry>> {
        Box::pin(async move {
            let rows = locked(&self.books.journal().0);
            let mut found: Vec<Entry> =
                rows.iter().filter(|entry| query.matches(entry)).map(|entry| Entry::clone(entry)).collect();
            found.sort_by(|a, b| (a.at_ms, &a.request_id).cmp(&(b.at_ms, &b.request_id)));
            found.truncate(query.limit);
            Ok(found)
        })
    }
}

impl Records {
    fn find(&self, digest: &Digest) -> Option<Found> {
        let key = self.keys.get(self.owners.get(digest)?)?;
        let scopes = key.scope_names().filter_map(|name| self.scopes.get(name).cloned()).collect();
        Some(Found { key: key.clone(), scopes })
    }

    fn keep_key(&mut self, key: &Key) -> Kept {
        let kept = self.keys.get(&key.name);
        let is_taken =
            |secret: &Secret| self.owners.get(&secret.digest).is_some_and(|name| *name != key.name);
        if kept.map_or(0, |kept| kept.version) != key.version || key.secrets.iter().any(is_taken) {
            return Kept::Conflict;
        }
        for secret in kept.into_iter().flat_map(|kept| &kept.secrets) {
            self.owners.remove(&secret.digest);
        }
        self.owners.extend(key.secrets.iter().map(|secret| (secret.digest, key.name.clone())));
        self.keys.insert(key.name.clone(), Key { version: key.version.saturating_add(1), ..key.clone() });
        Kept::Done
    }

    fn keep_scope(&mut self, scope: &Scope) -> Kept {
        if self.scopes.get(&scope.name).map_or(0, |kept| kept.version) != scope.version {
            return Kept::Conflict;
        }
        let next = Scope { version: scope.version.saturating_add(1), ..scope.clone() };
        self.scopes.insert(scope.name.clone(), next);
        Kept::Done
    }
}

impl Keys for Memory {
    fn find<'a>(&'a self, digest: &'a Digest) -> Pending<'a, Option<Found>> {
        Box::pin(async move { Ok(locked(&self.records).find(digest)) })
    }

    fn key<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Key>> {
        Box::pin(async move { Ok(locked(&self.records).keys.get(name).cloned()) })
    }

    fn keys(&self) -> Pending<'_, Vec<Key>> {
        Box::pin(async move { Ok(locked(&self.records).keys.values().cloned().collect()) })
    }

    fn keep_key<'a>(&'a self, key: &'a Key) -> Pending<'a, Kept> {
        Box::pin(async move { Ok(locked(&self.records).keep_key(key)) })
    }

    fn scope<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Scope>> {
        Box::pin(async move { Ok(locked(&self.records).scopes.get(name).cloned()) })
    }

    fn scopes(&self) -> Pending<'_, Vec<Scope>> {
        Box::pin(async move { Ok(locked(&self.records).scopes.values().cloned().collect()) })
    }

    fn keep_scope<'a>(&'a self, scope: &'a Scope) -> Pending<'a, Kept> {
        Box::pin(async move { Ok(locked(&self.records).keep_scope(scope)) })
    }
}
