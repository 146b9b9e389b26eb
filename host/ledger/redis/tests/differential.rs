//! Redis does what the pure rules do: on long random histories every answer is that of the store in memory, and every
//! cell and breaker is, to the byte, the line that the rules write.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod model;
mod server;
mod wild;

use std::sync::Arc;

use model::{Model, key_of};
use server::Server;
use tollgate_contract::all_rows;
use tollgate_contract::operations::{Operation, Operations, apply};
use tollgate_ledger::Memory;
use tollgate_redis::Redis;
use wild::Wild;

/// Four histories of each of three kinds: 100,800 operations.
const STEPS: usize = 8_400;

/// One history, in a namespace of its own. The store in memory drops cells that are over, which a clock that goes
/// back can tell: it is asked too if time goes forward.
async fn follow(
    server: Arc<Server>,
    namespace: String,
    memory: Option<Memory>,
    history: impl Iterator<Item = Operation>,
) {
    let options = server.options().obey_callers().namespace(&namespace);
    let redis = Redis::open(options).await.unwrap();
    let mut reader = server.connection().await;
    let mut model = Model::default();
    for (step, operation) in history.enumerate() {
        let context = || format!("{namespace}, step {step}: {operation:?}");
        let answer = apply(&redis, &operation).await;
        if let Some(memory) = &memory {
            assert_eq!(answer, apply(memory, &operation).await, "{}", context());
        }
        assert_eq!(answer, model.apply(&operation), "{}", context());
        let lines = model.take_changed();
        if lines.is_empty() {
            continue;
        }
        let key = |(kind, name, _): &(&str, String, _)| format!("{{{namespace}}}{}", key_of(kind, name));
        let mut read = redis::cmd("MGET");
        read.arg(lines.iter().map(key).collect::<Vec<_>>());
        let kept: Vec<Option<String>> = read.query_async(&mut reader).await.unwrap();
        let line = |(_, name, line): &(_, String, Option<String>)| {
            line.as_ref().map(|line| format!("{line}\n{name}"))
        };
        let ours: Vec<_> = lines.iter().map(line).collect();
        assert_eq!(kept, ours, "{}", context());
    }
    if let Some(memory) = &memory {
        assert_eq!(all_rows(&redis).await, all_rows(memory).await, "{namespace}");
    }
}

#[tokio::test]
async fn every_history_is_that_of_the_pure_rules() {
    let server = Arc::new(Server::start());
    let mut histories = Vec::new();
    for seed in 1..=4 {
        let follow = |kind: &str, memory, history: Box<dyn Iterator<Item = Operation> + Send>| {
            follow(Arc::clone(&server), format!("{kind}-{seed}"), memory, history.take(STEPS))
        };
        let memory = Some(Memory::new());
        histories.push(tokio::spawn(follow("steady", memory, Box::new(Operations::steady(seed)))));
        histories.push(tokio::spawn(follow("usual", None, Box::new(Operations::new(seed)))));
        histories.push(tokio::spawn(follow("wild", None, Box::new(Wild::new(seed)))));
    }
    for history in histories {
        history.await.unwrap();
    }
}
