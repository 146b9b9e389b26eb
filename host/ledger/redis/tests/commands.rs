//! The ledger for a platform that only executes commands keeps the contract of every store, and is one ledger with a
//! server's. The platform is like Spin: it flattens every answer, and its failures are texts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod server;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use redis::Value;
use redis::aio::MultiplexedConnection;
use server::Server;
use tokio::runtime::Runtime;
use tollgate_contract::operations::{Operations, apply};
use tollgate_contract::{all_rows, contract};
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found, Kept, Key, Keys, Scope};
use tollgate_ledger::{
    Breakers, Charge, Charges, Claim, Condition, Entry, Hold, Ledger, Memory, Pending, Position, Query,
    Raise, Reservation, Settled, Standing, Unavailable,
};
use tollgate_redis::Redis;
use tollgate_scripts::{Commands, Shared, Word};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static SERVER: LazyLock<Server> = LazyLock::new(|| Server::of_the_process(&["--save", ""]));

/// The connection of such a platform.
struct Platform(MultiplexedConnection);

impl Commands for Platform {
    async fn execute(&self, command: &str, arguments: Vec<String>) -> Result<Vec<Word>, String> {
        let mut on = self.0.clone();
        let mut command = redis::cmd(command);
        command.arg(arguments);
        let answer =
            command.query_async(&mut on).await.map_err(|error: redis::RedisError| error.to_string())?;
        let mut words = Vec::new();
        flatten(answer, &mut words);
        Ok(words)
    }
}

fn flatten(value: Value, words: &mut Vec<Word>) {
    match value {
        Value::Int(number) => words.push(Word::Integer(number)),
        Value::BulkString(text) => words.push(Word::Text(String::from_utf8(text).unwrap())),
        Value::Array(values) => values.into_iter().for_each(|value| flatten(value, words)),
        other => panic!("no script answers so: {other:?}"),
    }
}

/// Its ledger, and a server's on the same books, by which keys are made and rows are read.
struct Place {
    ledger: Shared<Platform>,
    server: Redis,
}

impl Place {
    fn on(server: &Server) -> Self {
        let name = server.new_name();
        RUNTIME.block_on(async {
            let options = server.options().namespace(&name).obey_callers();
            let ledger = Shared::new(Platform(server.connection().await), &name, 1_000_000).obey_callers();
            let server = Redis::open(options).await.unwrap();
            Self { ledger, server }
        })
    }
}

/// Done at once: everything here is ready when it is asked for.
fn done<'a, T: Send + 'a>(asked: impl Future<Output = Result<T, Unavailable>>) -> Pending<'a, T> {
    Box::pin(std::future::ready(RUNTIME.block_on(asked)))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it was waited for before"),
    }
}

impl Ledger for Place {
    fn reserve<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Reservation> {
        done(self.ledger.reserve(hold, now))
    }

    fn durable(&self, position: Position) -> Pending<'_, ()> {
        done(self.server.durable(position))
    }

    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool> {
        done(self.ledger.renew(hold, lease_ms, now))
    }

    fn raise<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Raise> {
        done(self.ledger.raise(hold, now))
    }

    fn settle<'a>(&'a self, entry: &'a Arc<Entry>, charge: Charge<'a>, now: u64) -> Pending<'a, Settled> {
        done(self.ledger.settle(entry, charge, now))
    }

    fn expire(&self, now: u64) -> Pending<'_, usize> {
        done(self.ledger.expire(now))
    }

    fn standings<'a>(&'a self, claims: &'a [Claim], now: u64) -> Pending<'a, Vec<Standing>> {
        done(self.ledger.standings(claims, now))
    }

    fn flush(&self) -> Pending<'_, ()> {
        done(self.server.flush())
    }

    fn condition(&self) -> Condition {
        self.server.condition()
    }
}

impl Breakers for Place {
    fn ask<'a>(&'a self, name: &'a str, rule: BreakerRule, now: u64) -> Pending<'a, Passage> {
        done(self.ledger.ask(name, rule, now))
    }

    fn tell<'a>(
        &'a self,
        name: &'a str,
        rule: BreakerRule,
        generation: u64,
        health: Health,
        now: u64,
    ) -> Pending<'a, ()> {
        done(self.ledger.tell((name, rule), (generation, health), now))
    }
}

impl Charges for Place {
    fn charges<'a>(&'a self, query: &'a Query) -> Pending<'a, Vec<Entry>> {
        done(self.server.charges(query))
    }
}

impl Keys for Place {
    fn find<'a>(&'a self, digest: &'a Digest) -> Pending<'a, Option<Found>> {
        done(self.ledger.find(digest))
    }

    fn key<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Key>> {
        done(self.server.key(name))
    }

    fn keys(&self) -> Pending<'_, Vec<Key>> {
        done(self.server.keys())
    }

    fn keep_key<'a>(&'a self, key: &'a Key) -> Pending<'a, Kept> {
        done(self.server.keep_key(key))
    }

    fn scope<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Scope>> {
        done(self.server.scope(name))
    }

    fn scopes(&self) -> Pending<'_, Vec<Scope>> {
        done(self.server.scopes())
    }

    fn keep_scope<'a>(&'a self, scope: &'a Scope) -> Pending<'a, Kept> {
        done(self.server.keep_scope(scope))
    }
}

contract!(Box::new(Place::on(&SERVER)), wait);

#[test]
fn every_answer_is_the_one_of_the_store_in_memory() {
    let (place, memory) = (Place::on(&SERVER), Memory::new());
    for (step, operation) in Operations::steady(5).take(5_000).enumerate() {
        let answers = (wait(apply(&place, &operation)), wait(apply(&memory, &operation)));
        assert_eq!(answers.0, answers.1, "step {step}: {operation:?}");
    }
    assert_eq!(wait(all_rows(&place)), wait(all_rows(&memory)));
}

/// A server that has forgotten its scripts is told them again.
#[test]
fn scripts_that_the_server_does_not_know_are_loaded() {
    let server = Server::start();
    let place = Place::on(&server);
    let flush = || {
        RUNTIME.block_on(async {
            let mut flush = redis::cmd("SCRIPT");
            let () = flush.arg("FLUSH").query_async(&mut server.connection().await).await.unwrap();
        });
    };
    for _ in 0..2 {
        flush();
        assert_eq!(wait(place.standings(&[], 1)).unwrap(), []);
        assert_eq!(wait(place.find(&[7; 32])).unwrap(), None);
    }
}

#[test]
fn without_a_server_nothing_is_granted() {
    let mut server = Server::start();
    let connection = RUNTIME.block_on(server.connection());
    let ledger = Shared::new(Platform(connection), "gone", 1_000);
    server.kill();
    let found = RUNTIME.block_on(ledger.find(&[7; 32]));
    assert!(found.unwrap_err().to_string().contains("redis: "));
}
