//! The host driver: a live server on loopback between a real client and the scripted provider.
//!
//! The clock, the request ids and the ledger are given, everything else is what `tollgate serve` runs. One vector
//! at a time: the rows of the books are read from the log, where they carry the id of the exchange.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tollgate::{Gateway, NotLoaded, PolicySource, Server};
use tollgate_ledger::Store;

use crate::driver::Driver;
use crate::kept::Books;
use crate::outcome::{Outcome, Received, problem_line};
use crate::provider::Provider;
use crate::records::Records;
use crate::vector::{Ending, Runtime as Kind, Vector};
use crate::walk::REQUEST_ID;
use crate::{books, client, setup};

/// Runs vectors against a server of their own.
pub struct Host {
    runtime: Runtime,
    records: &'static Records,
}

impl Host {
    /// A driver. There is one in a process, because a process has one log.
    pub fn new() -> Self {
        Self { runtime: Runtime::new().unwrap(), records: Records::of_this_process() }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Driver for Host {
    fn runtime(&self) -> Kind {
        Kind::Host
    }

    fn run(&self, vector: &Vector) -> Outcome {
        let config = vector.config.text();
        let provider = Provider::start(&setup::upstreams(&config), &vector.provider);
        let now = vector.now.ms;
        let memory = books::before(&vector.ledger, &vector.tripped, now);
        vector.stored.iter().for_each(|stored| stored.keep(&memory));
        let kept = Arc::new(Books::new(memory, vector.ledger_unavailable));
        let store: Arc<dyn Store> = Arc::<Books>::clone(&kept);
        let random = vector.random;
        let waits = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&waits);
        let catalogue = vector.catalogue.as_ref().map(serde_json::Value::to_string);
        let gateway = Gateway::builder(provider.place(&config))
            .policy(PolicySource::Embedded)
            .store(store)
            .files(move |file| {
                catalogue.clone().ok_or_else(|| std::io::Error::other(format!("no {}", file.display())))
            })
            .clock(move || now)
            .request_ids(|| REQUEST_ID.to_owned())
            .random(move || random)
            .pause(move |span| {
                noted.lock().unwrap().push(span.as_millis() as u64);
                std::future::ready(())
            })
            .build();
        let gateway = match gateway {
            Ok(gateway) => gateway,
            Err(NotLoaded::Problems(problems)) => {
                return Outcome {
                    problems: problems.iter().map(problem_line).collect(),
                    ..Outcome::default()
                };
            }
            Err(error) => panic!("{error}"),
        };
        let notes: Vec<String> = gateway.notes().iter().map(problem_line).collect();
        let Some(request) = &vector.request else { return Outcome { notes, ..Outcome::default() } };

        self.records.forget();
        let running = Running::start(&self.runtime, gateway);
        let client =
            client::send(running.address, request, leaves_after(vector), || provider.wait_for_request());
        let record = self.records.wait_for(REQUEST_ID);
        running.stop(&self.runtime);
        let granted = record.usage.is_some();
        Outcome {
            problems: Vec::new(),
            notes,
            client,
            upstream: provider.finish(),
            ledger: books::cells(kept.memory(), now),
            usage: record.usage,
            ending: granted.then_some(record.ending),
            waits: std::mem::take(&mut *waits.lock().unwrap()),
            raises: kept.raises(),
        }
    }
}

/// How much of the body a client that leaves waits for: all that the vector says it gets.
pub fn leaves_after(vector: &Vector) -> Option<usize> {
    let in_the_stream = vector.provider.values().flatten().any(|answer| answer.ending == Ending::Hang);
    let expected = vector.expect.clone()?.resolve(vector).client;
    expected.filter(|_| in_the_stream).map(|Received { body, .. }| body.len())
}

/// A server that is running.
pub struct Running {
    /// Where.
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Starts a server for this gateway on a port of its own.
    pub fn start(runtime: &Runtime, gateway: Gateway) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = runtime.block_on(Server::bind(gateway, Some(loopback))).unwrap();
        let address = server.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = runtime.spawn(server.serve(async move { drop(stopped.await) }));
        Self { address, stop, task }
    }

    /// Stops it and waits until it is gone.
    pub fn stop(self, runtime: &Runtime) {
        let _ = self.stop.send(());
        runtime.block_on(self.task).unwrap();
    }
}
