//! The traits of a ledger, for whoever keeps it as one of several stores. Nothing here waits.

use std::sync::Arc;

use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::{
    Breakers, Charge, Claim, Condition, Entry, Hold, Ledger, Pending, Position, Raise, Reservation, Settled,
    Standing, Unavailable,
};

use crate::Stepwise;
use crate::database::Database;

impl<D: Database> Ledger for Stepwise<D> {
    fn reserve<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Reservation> {
        ready(Self::reserve(self, hold, now))
    }

    fn durable(&self, _: Position) -> Pending<'_, ()> {
        ready(Ok(()))
    }

    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool> {
        ready(Self::renew(self, hold, lease_ms, now))
    }

    fn raise<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Raise> {
        ready(Self::raise(self, hold, now))
    }

    fn settle<'a>(&'a self, entry: &'a Arc<Entry>, charge: Charge<'a>, now: u64) -> Pending<'a, Settled> {
        ready(Self::settle(self, entry, charge, now))
    }

    fn expire(&self, now: u64) -> Pending<'_, usize> {
        ready(Self::expire(self, now))
    }

    fn standings<'a>(&'a self, claims: &'a [Claim], now: u64) -> Pending<'a, Vec<Standing>> {
        ready(Self::standings(self, claims, now))
    }

    fn flush(&self) -> Pending<'_, ()> {
        ready(Ok(()))
    }

    fn condition(&self) -> Condition {
        Condition::Sound
    }
}

impl<D: Database> Breakers for Stepwise<D> {
    fn ask<'a>(&'a self, name: &'a str, rule: BreakerRule, now: u64) -> Pending<'a, Passage> {
        ready(Self::ask(self, name, rule, now))
    }

    fn tell<'a>(
        &'a self,
        name: &'a str,
        rule: BreakerRule,
        generation: u64,
        health: Health,
        now: u64,
    ) -> Pending<'a, ()> {
        ready(Self::tell(self, name, rule, generation, health, now))
    }
}

fn ready<'a, T: Send + 'a>(answer: Result<T, Unavailable>) -> Pending<'a, T> {
    Box::pin(std::future::ready(answer))
}
