//! The plugin in a real Envoy against the same Envoy without it: throughput, the module's size, and memory.
//!
//! For throughput one process has a listener for each, so that both have the same workers. Memory of a worker is not told by
//! Envoy: it is what a process with some more of them has more, after as many requests, than what so many workers take
//! without the plugin. What the plugin takes once for a process, most of it V8's compiled code, is printed beside it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::task::JoinSet;

use crate::Effort;
use crate::load;
use crate::process::Process;
use crate::report::{Report, Target, median};
use crate::subjects::{PLAIN, Subjects, free_address};
use crate::wire::Connection;

const WORKERS: u32 = 2;
/// With which two are compared.
const MORE_WORKERS: u32 = 6;
const CONNECTIONS: usize = 64;
/// Requests before memory is read first, and before it is read last.
const EARLY: usize = 20_000;
const LATE: usize = 100_000;
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What Envoy is told: a listener without the plugin and one with it, or only the first.
const WITH_BOTH: &str = include_str!("../envoy.yaml");
const WITHOUT: &str = include_str!("../bare.yaml");

/// A running Envoy.
struct Envoy {
    process: Process,
    /// Where it serves without the plugin.
    bare: String,
    /// Where it serves with it.
    door: String,
}

/// Measures all of it.
pub async fn measure(subjects: &Subjects, effort: Effort, report: &mut Report) -> Result<()> {
    let module = named("TOLLGATE_ENVOY_MODULE")?;
    let bytes = fs::metadata(&module).with_context(|| format!("{}", module.display()))?.len();
    report.figure("Envoy: the module's size", bytes as f64 / 1e6, "MB", Target::AtMost(1.0));
    throughput(subjects, effort, report).await?;
    memory(subjects, report).await
}

async fn throughput(subjects: &Subjects, effort: Effort, report: &mut Report) -> Result<()> {
    let envoy = Envoy::start(subjects, WITH_BOTH, WORKERS).await?;
    let request = subjects.request_for(PLAIN);
    let mut ratios = Vec::new();
    for round in 0..effort.rounds {
        let at = async |address: &str| {
            load::run(&envoy.process, address, &request, CONNECTIONS, effort.window_ms).await
        };
        let (bare, door) = load::in_turn(round, at(&envoy.bare), at(&envoy.door)).await?;
        println!(
            "Envoy, round {}: without {:.0} requests/s, {:.0} µs of processor time each; with the plugin {:.0}, {:.0} µs",
            round + 1,
            bare.rate,
            bare.cpu_us,
            door.rate,
            door.cpu_us
        );
        ratios.push(door.rate / bare.rate);
    }
    report.figure(
        format!("Envoy: requests per second at {CONNECTIONS} connections, of those without the plugin"),
        median(ratios),
        "",
        Target::AtLeast(0.50),
    );
    Ok(())
}

async fn memory(subjects: &Subjects, report: &mut Report) -> Result<()> {
    let without = resident(subjects, WITHOUT, WORKERS).await?;
    let with = resident(subjects, WITH_BOTH, WORKERS).await?;
    let more_without = resident(subjects, WITHOUT, MORE_WORKERS).await?;
    let more_with = resident(subjects, WITH_BOTH, MORE_WORKERS).await?;
    let worker = ((more_with.late - with.late) - (more_without.late - without.late))
        / f64::from(MORE_WORKERS - WORKERS);
    println!("Envoy: the plugin takes {:.1} MB once", (with.late - without.late) / 1e6 - worker / 1e6 * 2.0);
    let what = format!("Envoy: memory that the plugin takes for each worker, after {LATE} requests");
    report.figure(what, worker / 1e6, "MB", Target::AtMost(16.0));
    report.figure(
        format!("Envoy: how much more of it there is than after {EARLY}, in all"),
        ((with.late - with.early) - (without.late - without.early)) / 1e6,
        "MB",
        Target::AtMost(1.0),
    );
    Ok(())
}

/// The resident memory of a process, in bytes, when it has served.
struct Resident {
    early: f64,
    late: f64,
}

async fn resident(subjects: &Subjects, config: &str, workers: u32) -> Result<Resident> {
    let envoy = Envoy::start(subjects, config, workers).await?;
    let address = if config == WITHOUT { &envoy.bare } else { &envoy.door };
    let request = subjects.request_for(PLAIN);
    send(address, &request, EARLY).await?;
    let early = envoy.process.resident()?;
    send(address, &request, LATE - EARLY).await?;
    let late = envoy.process.resident()?;
    println!(
        "Envoy, {} workers, {}: {:.1} MB after {EARLY} requests, {:.1} MB after {LATE}",
        workers,
        if config == WITHOUT { "without the plugin" } else { "with it" },
        early / 1e6,
        late / 1e6
    );
    Ok(Resident { early, late })
}

/// Sends so many requests over all connections, and reads their answers.
async fn send(address: &str, request: &Arc<[u8]>, count: usize) -> Result<()> {
    let mut clients = JoinSet::new();
    for client in 0..CONNECTIONS {
        let mut connection = Connection::open(address).await?;
        let request = Arc::clone(request);
        let mine = count / CONNECTIONS + usize::from(client < count % CONNECTIONS);
        clients.spawn(async move {
            for _ in 0..mine {
                connection.exchange(&request).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

impl Envoy {
    async fn start(subjects: &Subjects, config: &str, workers: u32) -> Result<Self> {
        let (bare, door) = (free_address()?, free_address()?);
        let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
        let (host, mock_port) =
            subjects.mock_address.rsplit_once(':').ok_or_else(|| anyhow!("the mock has no port"))?;
        let mut addresses = vec![bare.clone()];
        if config == WITH_BOTH {
            addresses.push(door.clone());
        }
        let config = config
            .replace("@BARE@", &port(&bare))
            .replace("@DOOR@", &port(&door))
            .replace("@MOCK_HOST@", host)
            .replace("@MOCK_PORT@", mock_port)
            .replace("@DIGEST@", subjects.digest()?)
            .replace("@MODULE@", &named("TOLLGATE_ENVOY_MODULE")?.to_string_lossy());
        let file = subjects.folder()?.join(format!("envoy-{}.yaml", port(&door)));
        fs::write(&file, config)?;
        let log = file.with_extension("log");
        let mut command = Command::new(named("ENVOY")?);
        command.arg("--config-path").arg(&file).arg("--log-path").arg(&log);
        command.args(["--use-dynamic-base-id", "--concurrency", &workers.to_string()]);
        // As it runs everywhere: each exchange leaves its row in the log.
        command.args(["--log-level", "warning", "--component-log-level", "wasm:info"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut envoy = Self { process: Process::start(command)?, bare, door };
        let begin = Instant::now();
        while !is_ready(subjects, &addresses).await {
            envoy.process.alive().with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
            if begin.elapsed() > READY_WITHIN {
                bail!("Envoy was not ready within {READY_WITHIN:?}:\n{}", fs::read_to_string(&log)?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(envoy)
    }
}

async fn is_ready(subjects: &Subjects, addresses: &[String]) -> bool {
    let request = subjects.request_for(PLAIN);
    for address in addresses {
        let Ok(mut connection) = Connection::open(address).await else { return false };
        if connection.exchange(&request).await.is_err() {
            return false;
        }
    }
    true
}

/// The file that a variable names.
fn named(variable: &str) -> Result<PathBuf> {
    let file = std::env::var_os(variable).map(PathBuf::from);
    file.ok_or_else(|| anyhow!("{variable} must name a file: use `cargo xtask bench`"))
}
