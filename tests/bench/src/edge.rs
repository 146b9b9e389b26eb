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

/// Requests of one kind, and those before them that count for nothing.
const REQUESTS: usize = 400;
const WARM_UP: usize = 50;

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
    let [stranger, spent] = [STRANGER, SPENT].map(|client| bench.median_ms(Instances::Shared, client));
    let (stranger, spent) = (stranger?, spent?);
    let [fresh, fresh_spent] = [STRANGER, SPENT].map(|client| bench.median_ms(Instances::Fresh, client));
    let (fresh, fresh_spent) = (fresh?, fresh_spent?);
    println!(
        "a request refused on the edge: {stranger:.2} ms with 401 and {spent:.2} ms with 429 by an instance that runs, \
         {fresh:.2} ms and {fresh_spent:.2} ms by one that begins with it"
    );
    report.figure("a request refused on the edge, 401", stranger, "ms", Target::AtMost(1.0));
    report.figure("a request refused on the edge, 429", spent, "ms", Target::AtMost(1.0));
    report.figure("a fresh instance takes longer by, 401", fresh - stranger, "ms", Target::AtMost(1.0));
    report.figure("a fresh instance takes longer by, 429", fresh_spent - spent, "ms", Target::AtMost(1.0));
    for (what, bytes) in sizes() {
        report.figure(format!("policy and {what}"), bytes as f64 / 1e6, "MB", Target::AtMost(1.5));
    }
    Ok(())
}

struct Bench {
    runtime: Runtime,
    engine: Engine,
}

impl Bench {
    /// The median of how long a client waits on one connection, in milliseconds.
    fn median_ms(&self, instances: Instances, (key, status): (&str, u16)) -> Result<f64> {
        let place = Place::new();
        let variables = BTreeMap::from([("config".to_owned(), CONFIG.to_owned())]);
        let now_ms = u64::try_from(UNIX_EPOCH.elapsed()?.as_millis())?;
        let world = World { variables, database: place.path(), now_ms, is_awake: true, ..World::default() };
        let server = Server::start(&self.runtime, &self.engine, instances, Arc::new(world));
        let took = waits(server.address, key, status);
        server.stop(&self.runtime);
        Ok(median(took?.split_off(WARM_UP)))
    }
}

/// How long each answer takes, in milliseconds.
fn waits(address: SocketAddr, key: &str, status: u16) -> Result<Vec<f64>> {
    const BODY: &str = r#"{"model":"bench","max_tokens":256,"messages":[{"role":"user","content":"Hello"}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut wire = Wire::new(TcpStream::connect(address)?);
    let mut took = Vec::new();
    for _ in 0..WARM_UP + REQUESTS {
        let begin = Instant::now();
        wire.stream().write_all(request.as_bytes())?;
        let answer = wire.response().context("the connection ended")?;
        took.push(begin.elapsed().as_secs_f64() * 1e3);
        if answer.status() != status {
            bail!("answered with {} instead of {status}: {}", answer.status(), answer.text());
        }
    }
    Ok(took)
}
