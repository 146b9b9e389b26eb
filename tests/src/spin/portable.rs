//! The driver for the component that needs nothing but WASI: its books are the test's, asked over HTTP as it would ask a
//! server's.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tollgate_ledger::{Charges as _, Query};

use super::ledger::{Ledger, TOKEN};
use super::platform::{Engine, World};
use super::server::{Instances, Server};
use super::{Log, send, text};
use crate::driver::Driver;
use crate::kept::Books;
use crate::outcome::Outcome;
use crate::provider::Provider;
use crate::vector::{Runtime as Kind, Vector};
use crate::{books, setup};

/// How long the shell waits for the ledger, in milliseconds: for as long as it takes.
const TIMEOUT_MS: u64 = 86_399_999;

/// How long it waits where nobody waits for it.
const PATIENCE_MS: u64 = 5_000;

/// Vectors that this driver cannot run, besides those of [`super::EXCEPTIONS`], and why.
pub const EXCEPTIONS: [(&str, &str); 1] = [(
    "failure/who-asked-for-time-is-given-it-after-the-others",
    "its wait is as long as the shell's patience with a ledger, and the driver tells waits apart by their length",
)];

/// Runs vectors against an instance of their own.
pub struct Portable {
    runtime: Runtime,
    engine: Engine,
}

impl Portable {
    /// A driver. The component is compiled once.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self { runtime: runtime.unwrap(), engine: Engine::portable().unwrap() }
    }
}

impl Default for Portable {
    fn default() -> Self {
        Self::new()
    }
}

impl Driver for Portable {
    /// It is the exchange of the shell for Spin, on another platform.
    fn runtime(&self) -> Kind {
        Kind::Spin
    }

    fn run(&self, vector: &Vector) -> Outcome {
        let provider = Provider::start(&setup::upstreams(&vector.config.text()), &vector.provider);
        let now = vector.now.ms;
        let memory = books::before(&vector.ledger, &vector.tripped, now);
        vector.stored.iter().for_each(|stored| stored.keep(&memory));
        let kept = Arc::new(Books::new(memory, vector.ledger_unavailable));
        let ledger = Ledger::start(&self.runtime, &kept);
        let tables = format!(
            "\n[ledger]\nstore = \"remote\"\nurl = \"http://{}\"\ntoken = {{ env = \"LEDGER_TOKEN\" }}\n\
             timeout = \"{TIMEOUT_MS}ms\"\n",
            ledger.address
        );
        let mut environment = vec![
            ("TOLLGATE_CONFIG".to_owned(), text(vector, &provider) + &tables),
            ("LEDGER_TOKEN".to_owned(), TOKEN.to_owned()),
        ];
        if let Some(catalogue) = &vector.catalogue {
            environment.push(("TOLLGATE_PRICES".to_owned(), catalogue.to_string()));
        }
        let world = Arc::new(World {
            environment,
            now_ms: now,
            random: Some(vector.random),
            unending: vec![TIMEOUT_MS, PATIENCE_MS],
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
        let mut rows = books::wait(kept.memory().charges(&Query::default()));
        rows.retain(|row| row.request_id.starts_with("req_"));
        assert!(rows.len() <= 1, "an exchange is settled once: {rows:?}");
        let (asked, noted) = (kept.raises(), &log.raises);
        // Who leaves may be gone before the last of it has come to the ledger.
        let left = vector.request.as_ref().is_some_and(|request| request.leaves);
        let agree = if left { noted.starts_with(&asked) } else { *noted == asked };
        assert!(agree, "what was asked for is what was noted: {asked:?}, {noted:?}");
        let row = rows.pop();
        let waits = world.waits_of(vector);
        Outcome {
            problems: Vec::new(),
            notes: log.notes,
            client,
            upstream: provider.finish(),
            ledger: books::cells(kept.memory(), now),
            ending: row.as_ref().map(|row| row.outcome.as_str().replace('_', "-")),
            usage: row.map(books::usage),
            waits,
            raises: log.raises,
        }
    }
}
