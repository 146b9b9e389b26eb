//! A ledger that is reached by messages keeps the contract of every store, and says what `protocol.md` says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tollgate_contract::operations::{Operations, apply};
use tollgate_contract::{all_rows, contract};
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found, Kept, Key, Keys, Scope};
use tollgate_ledger::{
    Breakers, Charge, Charges, Claim, Condition, Entry, Hold, Ledger, Memory, Pending, Position, Query,
    Raise, Reservation, Settled, Standing,
};
use tollgate_remote::{Call, answer};

/// A ledger in memory behind messages. What no shell may ask for goes to it directly.
struct Remote(Memory);

impl Remote {
    fn send<'a, T: serde::de::DeserializeOwned + Send + 'static>(&'a self, call: Call<T>) -> Pending<'a, T> {
        Box::pin(async move {
            let answer = answer(&self.0, call.path, &call.body).await;
            call.read(answer.status, &answer.body)
        })
    }
}

impl Ledger for Remote {
    fn reserve<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Reservation> {
        self.send(Call::reserve(hold, now))
    }

    fn durable(&self, position: Position) -> Pending<'_, ()> {
        self.0.durable(position)
    }

    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool> {
        self.send(Call::renew(hold, lease_ms, now))
    }

    fn raise<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Raise> {
        self.send(Call::raise(hold, now))
    }

    fn settle<'a>(&'a self, entry: &'a Arc<Entry>, charge: Charge<'a>, now: u64) -> Pending<'a, Settled> {
        self.send(Call::settle(entry, charge, now))
    }

    fn expire(&self, now: u64) -> Pending<'_, usize> {
        self.0.expire(now)
    }

    fn standings<'a>(&'a self, claims: &'a [Claim], now: u64) -> Pending<'a, Vec<Standing>> {
        self.0.standings(claims, now)
    }

    fn flush(&self) -> Pending<'_, ()> {
        self.0.flush()
    }

    fn condition(&self) -> Condition {
        self.0.condition()
    }
}

impl Breakers for Remote {
    fn ask<'a>(&'a self, name: &'a str, rule: BreakerRule, now: u64) -> Pending<'a, Passage> {
        self.send(Call::ask(name, rule, now))
    }

    fn tell<'a>(
        &'a self,
        name: &'a str,
        rule: BreakerRule,
        generation: u64,
        health: Health,
        now: u64,
    ) -> Pending<'a, ()> {
        self.send(Call::tell(name, rule, generation, health, now))
    }
}

impl Charges for Remote {
    fn charges<'a>(&'a self, query: &'a Query) -> Pending<'a, Vec<Entry>> {
        self.0.charges(query)
    }
}

impl Keys for Remote {
    fn find<'a>(&'a self, digest: &'a Digest) -> Pending<'a, Option<Found>> {
        self.send(Call::find(digest))
    }

    fn key<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Key>> {
        self.0.key(name)
    }

    fn keys(&self) -> Pending<'_, Vec<Key>> {
        self.0.keys()
    }

    fn keep_key<'a>(&'a self, key: &'a Key) -> Pending<'a, Kept> {
        self.0.keep_key(key)
    }

    fn scope<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Scope>> {
        self.0.scope(name)
    }

    fn scopes(&self) -> Pending<'_, Vec<Scope>> {
        self.0.scopes()
    }

    fn keep_scope<'a>(&'a self, scope: &'a Scope) -> Pending<'a, Kept> {
        self.0.keep_scope(scope)
    }
}

/// The answer of a ledger that never makes anyone wait.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the ledger in memory waits for nothing"),
    }
}

contract!(Box::new(Remote(Memory::new())), wait);

#[test]
fn every_answer_is_the_one_of_the_store_itself() {
    let (remote, memory) = (Remote(Memory::new()), Memory::new());
    for (step, operation) in Operations::new(3).take(20_000).enumerate() {
        let answers = (wait(apply(&remote, &operation)), wait(apply(&memory, &operation)));
        assert_eq!(answers.0, answers.1, "step {step}: {operation:?}");
    }
    assert_eq!(wait(all_rows(&remote)), wait(all_rows(&memory)));
}

/// Every request of `protocol.md`, and the answer that follows it.
#[test]
fn what_is_documented_is_what_is_said() {
    let text = include_str!("../protocol.md");
    let memory = Memory::new();
    let blocks: Vec<&str> = text.split("```").skip(1).step_by(2).collect();
    assert!(blocks.len() >= 14, "{}", blocks.len());
    for pair in blocks.chunks(2) {
        let (path, body) = pair[0].strip_prefix("http\nPOST ").unwrap().split_once('\n').unwrap();
        let (status, expected) = pair[1].strip_prefix("json\n").unwrap().split_once('\n').unwrap();
        let answer = wait(answer(&memory, path, body.trim().as_bytes()));
        assert_eq!(format!("// {}", answer.status), status, "{path}");
        let [said, expected] = [answer.body.as_slice(), expected.trim().as_bytes()]
            .map(|text| serde_json::from_slice::<serde_json::Value>(text).unwrap());
        assert_eq!(said, expected, "{path} {body}");
    }
}

#[test]
fn what_cannot_be_read_changes_nothing_and_says_why() {
    let memory = Memory::new();
    for (path, body, status, why) in [
        ("/ledger/v1/reserve", "", 400, "EOF"),
        ("/ledger/v1/reserve", "{}", 400, "missing field `entry`"),
        ("/ledger/v1/find", r#"{"digest":"abc"}"#, 400, "`digest` is none of SHA-256"),
        ("/ledger/v1/settle", r#"{"entry":5}"#, 400, "invalid type"),
        ("/ledger/v2/settle", "{}", 404, "version 1"),
        ("/", "", 404, "version 1"),
    ] {
        let answer = wait(answer(&memory, path, body.as_bytes()));
        let text = String::from_utf8(answer.body.clone()).unwrap();
        assert!(answer.status == status && text.contains(why), "{path} {body}: {} {text}", answer.status);
        let unavailable = Call::renew("a", 1, 1).read(answer.status, &answer.body).unwrap_err();
        assert!(unavailable.to_string().contains(why), "{unavailable}");
    }
    let unreadable = Call::renew("a", 1, 1).read(200, b"maybe").unwrap_err();
    assert!(unreadable.to_string().contains("cannot be read"), "{unreadable}");
    assert!(Call::renew("a", 1, 1).read(502, b"<html>").unwrap_err().to_string().contains("status 502"));
}
