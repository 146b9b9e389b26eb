//! The driver for Spin: the component that Spin would run, its policy composed in, between a real client and the
//! scripted provider. What Spin gives it is a small host of our own: see [`platform`].
//!
//! Time, randomness and waits are the host's, so the component needs nothing for tests. Each vector gets a database
//! and an instance of its own.

pub mod database;
mod interfaces;
pub mod ledger;
pub mod platform;
pub mod portable;
mod redis;
pub mod server;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tollgate_ledger::{Charges as _, Query};
use tollgate_sqlite::Records;

use self::database::Place;
use self::platform::{Engine, World};
use self::server::{Instances, Server};
use crate::driver::Driver;
use crate::live::leaves_after;
use crate::outcome::{Outcome, Received, problem_line};
use crate::provider::Provider;
use crate::vector::{Request, Runtime as Kind, Vector};
use crate::{books, client, setup};

/// Vectors that this shell cannot agree with, and why.
pub const EXCEPTIONS: [(&str, &str); 1] = [(
    "streams/a-client-that-leaves-before-the-answer-is-charged-for-its-input",
    "wasi:http 0.3 does not tell a component that nobody waits for its response any more",
)];

/// Runs vectors against an instance of their own.
pub struct Spin {
    runtime: tokio::runtime::Runtime,
    engine: Engine,
}

impl Spin {
    /// A driver. The component is compiled once.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self { runtime: runtime.unwrap(), engine: Engine::gateway().unwrap() }
    }
}

impl Default for Spin {
    fn default() -> Self {
        Self::new()
    }
}

impl Driver for Spin {
    fn runtime(&self) -> Kind {
        Kind::Spin
    }

    fn run(&self, vector: &Vector) -> Outcome {
        let provider = Provider::start(&setup::upstreams(&vector.config.text()), &vector.provider);
        let now = vector.now.ms;
        let place = Place::new();
        books::fill(&place.ledger(), &vector.ledger, &vector.tripped, now);
        let records = Records::open(place.path()).unwrap();
        vector.stored.iter().for_each(|stored| stored.keep(&records));
        let mut variables = BTreeMap::from([("config".to_owned(), text(vector, &provider))]);
        if let Some(catalogue) = &vector.catalogue {
            variables.insert("prices".to_owned(), catalogue.to_string());
        }
        let world = Arc::new(World {
            variables,
            database: place.path().to_owned(),
            unavailable: vector.ledger_unavailable,
            now_ms: now,
            random: Some(vector.random),
            ..World::default()
        });

        let server = Server::start(&self.runtime, &self.engine, Instances::Fresh, Arc::clone(&world));
        let client = send(&server, vector, &provider);
        server.stop(&self.runtime);
        let log = Log::of(&world.log());
        if !log.problems.is_empty() {
            return Outcome { problems: log.problems, ..Outcome::default() };
        }
        if vector.request.is_none() {
            return Outcome { notes: log.notes, ..Outcome::default() };
        }
        let mut rows = books::wait(records.charges(&Query::default()));
        rows.retain(|row| row.request_id.starts_with("req_"));
        assert!(rows.len() <= 1, "an exchange is settled once: {rows:?}");
        let row = rows.pop();
        Outcome {
            problems: Vec::new(),
            notes: log.notes,
            client,
            upstream: provider.finish(),
            ledger: place.cells(now),
            ending: row.as_ref().map(|row| row.outcome.as_str().replace('_', "-")),
            usage: row.map(books::usage),
            waits: world.waits_of(vector),
            raises: log.raises,
        }
    }
}

/// Sends a vector's request. Where it has none, asking for the shell's health loads the configuration, which is all that
/// it is about.
fn send(server: &Server, vector: &Vector, provider: &Provider) -> Option<Received> {
    match &vector.request {
        Some(request) => {
            client::send(server.address, request, leaves_after(vector), || provider.wait_for_request())
        }
        None => {
            let ask: Request = serde_json::from_str(r#"{"method": "GET", "path": "/healthz"}"#).unwrap();
            client::ask(server.address, &ask);
            None
        }
    }
}

/// The text of a vector's configuration. An empty variable stands for a file; a comment is as good as an empty file.
fn text(vector: &Vector, provider: &Provider) -> String {
    let config = vector.config.text();
    if config.trim().is_empty() { "#".to_owned() } else { provider.place(&config) }
}

/// What the component wrote.
#[derive(Default)]
struct Log {
    problems: Vec<String>,
    notes: Vec<String>,
    raises: Vec<Vec<u64>>,
}

impl Log {
    fn of(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines() {
            let line: Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("not a line of a log: {line}"));
            match line["message"].as_str().unwrap() {
                "configuration" => {
                    let problem = tollgate_policy::message::Problem {
                        at: line["at"].as_str().unwrap().to_owned(),
                        line: line["line"].as_u64().map(|line| line as u32),
                        message: line["problem"].as_str().unwrap().to_owned(),
                    };
                    let list = if line["level"] == "error" { &mut log.problems } else { &mut log.notes };
                    list.push(problem_line(&problem));
                }
                "more is held for a stream" => {
                    let amounts = line["amounts"].as_array().unwrap();
                    log.raises.push(amounts.iter().map(|amount| amount.as_u64().unwrap()).collect());
                }
                _ => {}
            }
        }
        log
    }
}
