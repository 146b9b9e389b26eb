//! The Envoy driver: the real Envoy with the plugin in it, between a real client and the scripted provider.
//!
//! One Envoy runs all vectors; each changes its stage (listeners, clusters, the plugin's configuration), sets its clock
//! and lays out its ledger. Nothing in the plugin knows that it is tested: time comes from the system, the ledger is
//! written where it lies, rows are read from the log.

mod config;
mod desk;
mod process;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use self::config::{LEDGER, Stage, TOKEN_VARIABLE};
pub use self::desk::Desk;
pub use self::process::{Begun, DESK, PLUGIN, Process, TOKEN, listener, program, python};
use crate::driver::Driver;
use crate::live::leaves_after;
use crate::outcome::Outcome;
use crate::provider::Provider;
use crate::records;
use crate::vector::{Ending, Runtime, Vector};
use crate::{client, setup};

/// Runs vectors with one Envoy.
pub struct Envoy {
    process: RefCell<Process>,
    desk: RefCell<Desk>,
    shown: RefCell<usize>,
}

impl Envoy {
    /// Starts it.
    pub fn new() -> Self {
        let process = Process::start(1, true);
        let desk = Desk::at(process.desk);
        Self { process: RefCell::new(process), desk: RefCell::new(desk), shown: RefCell::default() }
    }
}

impl Default for Envoy {
    fn default() -> Self {
        Self::new()
    }
}

impl Driver for Envoy {
    fn runtime(&self) -> Runtime {
        Runtime::Envoy
    }

    fn run(&self, vector: &Vector) -> Outcome {
        let text = vector.config.text();
        let names = setup::upstreams(&text);
        let provider = Provider::start_in_steps(&names, &vector.provider);
        let config = provider.place(&text);
        let prices = vector.catalogue.as_ref().map(Value::to_string);
        let upstreams: Vec<_> = names
            .iter()
            .map(|name| (name.clone(), provider.address(name), setup::timeout(&text, name)))
            .collect();
        let name = format!("v{}", self.shown.replace_with(|shown| *shown + 1));
        let stage = Stage {
            name: &name,
            config: &config,
            prices: prices.as_deref(),
            upstreams: &upstreams,
            ledger: None,
        };
        let mut process = self.process.borrow_mut();
        let address = match process.show(&stage) {
            Begun::At(address) => address,
            Begun::Refused => {
                let problems = process.wait_for(&name, |said| Some(lines_with("problem: ", said)));
                return Outcome { problems, ..Outcome::default() };
            }
        };
        let notes = process.wait_for(&name, |said| Some(lines_with("note: ", said)));
        let Some(request) = &vector.request else { return Outcome { notes, ..Outcome::default() } };

        let mut desk = self.desk.borrow_mut();
        process.set_time(vector.now.ms);
        desk.lay_out(vector, &organisations(&text), &names);
        let client = client::send(address, request, leaves_after(vector), || provider.wait_for_request());
        let (record, said) = process.wait_for(&name, |said| Some((record(said)?, said.to_vec())));
        let granted = record.usage.is_some();
        Outcome {
            problems: Vec::new(),
            notes,
            client,
            upstream: provider.finish(),
            ledger: desk.cells(vector.now.ms),
            usage: record.usage,
            ending: granted.then_some(record.ending),
            waits: told("waits ", &said),
            raises: told("raises ", &said),
        }
    }

    fn has(&self, vector: &Vector) -> bool {
        lacks(vector).is_none()
    }

    /// What Envoy does otherwise than the walk says, all of it. What is not here must be equal, to the byte.
    fn normalise(&self, expected: &mut Outcome, found: &mut Outcome) {
        // The random part of a wait, up to a quarter of it, is the system's.
        let alike = |(one, other): (&u64, &u64)| one.abs_diff(*other) <= one.max(other) / 5;
        if expected.waits.len() == found.waits.len() && expected.waits.iter().zip(&found.waits).all(alike) {
            found.waits.clone_from(&expected.waits);
        }
        let (Some(expected_client), Some(client)) = (&mut expected.client, &mut found.client) else { return };
        if expected.ending.as_deref() == Some("upstream-broke") && client.cut {
            // Envoy cuts a stream whose upstream breaks and lets no filter add to it: the client sees the cut, where
            // other shells end with an event that tells of the error.
            assert!(expected_client.body.starts_with(&client.body), "what came before the cut is the same");
            client.clone_from(expected_client);
        }
        let done = expected_client.body.ends_with(b"data: [DONE]\n\n");
        if expected.ending.as_deref() == Some("completed") && done && client.body == expected_client.body {
            // No filter can end a stream either: after the end that the policy made, the client has its last event,
            // but the end of the message comes with the upstream's own, or is cut when that never comes.
            client.cut = expected_client.cut;
        }
    }
}

/// What a vector is about and there is not in Envoy, all of it.
pub fn lacks(vector: &Vector) -> Option<&'static str> {
    if !vector.stored.is_empty() {
        return Some("a store of keys: those that are made at run time are nowhere");
    }
    if vector.ledger_unavailable.is_some() {
        return Some("a ledger that cannot be asked: shared data always can");
    }
    if vector.request.is_some() && vector.config.text().contains("weight =") {
        // Other random bits only show in waits, which are compared all the same.
        return Some("random bits that a test chooses: the plugin takes the system's");
    }
    let mut first = vector.provider.values().filter_map(|answers| answers.first());
    if first.any(|answer| matches!(answer.ending, Ending::Garbage)) {
        return Some(
            "a word for what is no HTTP: a first try that Envoy gave up ended early, it does not say how",
        );
    }
    None
}

/// The row of the exchange, once it is written. There must be only one.
fn record(said: &[String]) -> Option<records::Record> {
    let rows: Vec<BTreeMap<String, Value>> =
        said.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(rows.len() < 2, "an exchange is settled once: {rows:?}");
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let row = rows.into_iter().next()?.into_iter().map(|(name, value)| (name, text(value))).collect();
    Some(records::record(&row))
}

/// What follows this word in the lines that begin with it, each once: every thread reads the configuration.
fn lines_with(word: &str, said: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let lines = said.iter().filter_map(|line| line.strip_prefix(word));
    lines.filter(|line| seen.insert(*line)).map(str::to_owned).collect()
}

/// What follows this word in lines about the exchange: JSON.
fn told<T: serde::de::DeserializeOwned>(word: &str, said: &[String]) -> Vec<T> {
    let lines = said.iter().filter_map(|line| line.split_once(": ")?.1.strip_prefix(word));
    lines.map(|value| serde_json::from_str(value).unwrap()).collect()
}

/// The organisations of a configuration's keys.
fn organisations(config: &str) -> Vec<String> {
    let file: toml::Table = config.parse().unwrap();
    let keys = file.get("keys").and_then(toml::Value::as_array).into_iter().flatten();
    let names = keys.filter_map(|key| key.get("name")?.as_str()?.split('/').next().map(str::to_owned));
    names.collect::<BTreeSet<_>>().into_iter().collect()
}
