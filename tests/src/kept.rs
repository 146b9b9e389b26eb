//! The ledger of a server under test: in memory, out of order when a test wants it, and with a memory of what was raised.

use std::sync::{Arc, Mutex};

use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found, Kept, Key, Keys, Scope};
use tollgate_ledger::{
    Breakers, Charge, Charges, Claim, Condition, Entry, Hold, Ledger, Memory, Pending, Position, Query,
    Raise, Reservation, Settled, Standing, Unavailable,
};

use crate::vector::Unavailable as When;

/// Books in memory.
pub struct Books {
    memory: Memory,
    unavailable: Option<When>,
    raises: Mutex<Vec<Vec<u64>>>,
}

impl Books {
    /// These books, and when they cannot be asked.
    pub fn new(memory: Memory, unavailable: Option<When>) -> Self {
        Self { memory, unavailable, raises: Mutex::default() }
    }

    /// What they hold.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What was to be held in all, each time that more was asked for.
    pub fn raises(&self) -> Vec<Vec<u64>> {
        self.raises.lock().unwrap().clone()
    }

    fn when_up<'a, T: Send + 'static>(
        &'a self,
        ask: impl FnOnce(&'a Memory) -> Pending<'a, T>,
    ) -> Pending<'a, T> {
        if self.unavailable == Some(When::Always) { Self::down() } else { ask(&self.memory) }
    }

    fn down<T: Send + 'static>() -> Pending<'static, T> {
        Box::pin(async { Err(Unavailable::new("down for a test")) })
    }
}

impl Ledger for Books {
    fn reserve<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Reservation> {
        self.when_up(|memory| memory.reserve(hold, now))
    }

    fn durable(&self, position: Position) -> Pending<'_, ()> {
        self.when_up(|memory| memory.durable(position))
    }

    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool> {
        self.when_up(|memory| memory.renew(hold, lease_ms, now))
    }

    fn raise<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Raise> {
        self.raises.lock().unwrap().push(hold.claims.iter().map(|claim| claim.amount).collect());
        if self.unavailable.is_some() { Self::down() } else { self.memory.raise(hold, now) }
    }

    fn settle<'a>(&'a self, entry: &'a Arc<Entry>, charge: Charge<'a>, now: u64) -> Pending<'a, Settled> {
        self.when_up(|memory| memory.settle(entry, charge, now))
    }

    fn expire(&self, now: u64) -> Pending<'_, usize> {
        self.when_up(|memory| memory.expire(now))
    }

    fn standings<'a>(&'a self, claims: &'a [Claim], now: u64) -> Pending<'a, Vec<Standing>> {
        self.when_up(|memory| memory.standings(claims, now))
    }

    fn flush(&self) -> Pending<'_, ()> {
        self.when_up(Memory::flush)
    }

    fn condition(&self) -> Condition {
        if self.unavailable == Some(When::Always) {
            Condition::Down("down for a test".into())
        } else {
            self.memory.condition()
        }
    }
}

impl Breakers for Books {
    fn ask<'a>(&'a self, name: &'a str, rule: BreakerRule, now: u64) -> Pending<'a, Passage> {
        self.when_up(|memory| memory.ask(name, rule, now))
    }

    fn tell<'a>(
        &'a self,
        name: &'a str,
        rule: BreakerRule,
        generation: u64,
        health: Health,
        now: u64,
    ) -> Pending<'a, ()> {
        self.when_up(|memory| memory.tell(name, rule, generation, health, now))
    }
}

impl Charges for Books {
    fn charges<'a>(&'a self, query: &'a Query) -> Pending<'a, Vec<Entry>> {
        self.when_up(|memory| memory.charges(query))
    }
}

impl Keys for Books {
    fn find<'a>(&'a self, digest: &'a Digest) -> Pending<'a, Option<Found>> {
        self.when_up(|memory| memory.find(digest))
    }

    fn key<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Key>> {
        self.when_up(|memory| memory.key(name))
    }

    fn keys(&self) -> Pending<'_, Vec<Key>> {
        self.when_up(Memory::keys)
    }

    fn keep_key<'a>(&'a self, key: &'a Key) -> Pending<'a, Kept> {
        self.when_up(|memory| memory.keep_key(key))
    }

    fn scope<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Scope>> {
        self.when_up(|memory| memory.scope(name))
    }

    fn scopes(&self) -> Pending<'_, Vec<Scope>> {
        self.when_up(Memory::scopes)
    }

    fn keep_scope<'a>(&'a self, scope: &'a Scope) -> Pending<'a, Kept> {
        self.when_up(|memory| memory.keep_scope(scope))
    }
}
