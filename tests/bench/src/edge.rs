//! What the shell for edge platforms costs with the policy in it: refused requests as a client on the loopback sees them,
//! from an instance that runs and from one that begins with the request, and how large the components are.
//!
//! wasmtime serves them as the tests have it, with Spin's SQLite as the ledger.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::runtime::Runtime;
use tollgate_tests::spin::database::Place;
use tollgate_tests::spin::platform::{Engine, World, sizes};
use tollgate_tests::spin::server::{Instances, Server};
use tollgate_tests::wire::Wire;

use crate::report::{Report, Target, median};

/// Rounds of requests to either kind of instances in turn, and those before them that count for nothing: a shared machine
/// is fast and slow by turns of seconds.
const ROUNDS: usize = 20;
const WARM_UP: usize = 2;
/// Requests of a round to each.
const REQUESTS: usize = 20;

const CONFIG: &str = r#"
[upstreams.mock]
base_url = "http://127.0.0.1:9/v1"

[[models]]
name = "bench"
targets = [{ upstream = "mock" }]
price = { currency = "JPY", input = 2.5, output = 10 }

[[keys]]
name = "spent"
digest = "sha256:f430b00f7d4abf77e3f73c8285cce6b5c1e89254612705e3bfac7837de6dc329"
requests = "100/1m"
tokens = "200000/1m"
budget = "0.000001 JPY/month"
"#;

/// Who asks, and what the answer is: somebody without a key of ours, and one whose budget is spent.
const STRANGER: (&str, u16) = ("sk-another", 401);
const SPENT: (&str, u16) = ("tg_bench", 429);

/// Measures both kinds of instances.
pub fn measure(report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let engine = Engine::gateway().map_err(|error| anyhow!("{error:#}"))?;
    let bench = Bench { runtime, engine };
    let (stranger, spent) = (bench.waits(STRANGER)?, bench.waits(SPENT)?);
    for (status, waits) in [(STRANGER.1, &stranger), (SPENT.1, &spent)] {
        let shared = median(waits.iter().map(|wait| wait.shared_ms));
        let fresh = median(waits.iter().map(|wait| wait.fresh_ms));
        println!(
            "a request refused on the edge with {status}: {shared:.2} ms by an instance that runs, {fresh:.2} ms by one \
             that begins with it"
        );
        report.figure(format!("a request refused on the edge, {status}"), shared, "ms", Target::AtMost(1.0));
    }
    for (status, waits) in [(STRANGER.1, &stranger), (SPENT.1, &spent)] {
        let longer = median(waits.iter().map(|wait| wait.fresh_ms - wait.shared_ms));
        let what = format!("a fresh instance takes longer by, {status}");
        report.figure(what, longer, "ms", Target::AtMost(1.0));
    }
    for (what, bytes) in sizes() {
        report.figure(format!("policy and {what}"), bytes as f64 / 1e6, "MB", Target::AtMost(1.5));
    }
    Ok(())
}

struct Bench {
    runtime: Runtime,
    engine: Engine,
}

/// How long a client waits in one round, at the median.
struct Waits {
    /// For an instance that runs.
    shared_ms: f64,
    /// For one that begins with the request.
    fresh_ms: f64,
}

impl Bench {
    /// Asks both kinds of instances in turn.
    fn waits(&self, client: (&str, u16)) -> Result<Vec<Waits>> {
        let (places, [shared, fresh]) = ([Place::new(), Place::new()], [Instances::Shared, Instances::Fresh]);
        let [of_shared, of_fresh] = &places;
        let (shared, fresh) = (self.serve(shared, of_shared)?, self.serve(fresh, of_fresh)?);
        let waits = (|| {
            let (mut to_shared, mut to_fresh) =
                (Client::to(shared.address, client)?, Client::to(fresh.address, client)?);
            let round =
                |_| anyhow::Ok(Waits { shared_ms: to_shared.median_ms()?, fresh_ms: to_fresh.median_ms()? });
            let mut waits = (0..WARM_UP + ROUNDS).map(round).collect::<Result<Vec<Waits>>>()?;
            Ok(waits.split_off(WARM_UP))
        })();
        shared.stop(&self.runtime);
        fresh.stop(&self.runtime);
        waits
    }

    fn serve(&self, instances: Instances, place: &Place) -> Result<Server> {
        let variables = BTreeMap::from([("config".to_owned(), CONFIG.to_owned())]);
        let now_ms = u64::try_from(UNIX_EPOCH.elapsed()?.as_millis())?;
        let world = World { variables, database: place.path(), now_ms, is_awake: true, ..World::default() };
        Ok(Server::start(&self.runtime, &self.engine, instances, Arc::new(world)))
    }
}

/// A connection on which one request is sent again and again.
struct Client {
    wire: Wire,
    request: String,
    /// What it is answered with.
    status: u16,
}

impl Client {
    fn to(address: SocketAddr, (key, status): (&str, u16)) -> Result<Self> {
        const BODY: &str =
            r#"{"model":"bench","max_tokens":256,"messages":[{"role":"user","content":"Hello"}]}"#;
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        Ok(Self { wire: Wire::new(TcpStream::connect(address)?), request, status })
    }

    /// How long the answers of a round take, in milliseconds.
    fn median_ms(&mut self) -> Result<f64> {
        let mut took = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            let begin = Instant::now();
            self.wire.stream().write_all(self.request.as_bytes())?;
            let answer = self.wire.response().context("the connection ended")?;
            took.push(begin.elapsed().as_secs_f64() * 1e3);
            if answer.status() != self.status {
                bail!("answered with {} instead of {}: {}", answer.status(), self.status, answer.text());
            }
        }
        Ok(median(took))
    }
}
