//! The processes that are compared: the mock behind all of them, the bare proxy, and Tollgate with every check,
//! hold and charge switched on (key, request window, token window, budget, metering, structured logs).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Effort;
use crate::process::Process;
use crate::report::{Report, Target, median};

/// Longest a server may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Everything that runs while the bench does.
pub struct Subjects {
    /// The provider.
    pub mock: Process,
    /// Where it listens.
    pub mock_address: String,
    /// None: a second bare proxy stands in for Tollgate.
    tollgate: Option<Tollgate>,
}

/// One server under load.
pub struct Server {
    /// It.
    pub process: Process,
    /// Where it listens.
    pub address: String,
    /// Whether it chooses the mock's path itself, by the model's name.
    routes: bool,
}

/// Where Tollgate keeps its books.
pub enum Ledger {
    /// Nowhere.
    Memory,
    /// In a file of its own.
    Sqlite,
    /// In the Redis at this URL.
    Redis(String),
}

/// The variable that holds the URL of Redis.
const LEDGER_URL: &str = "TOLLGATE_BENCH_REDIS";

/// How to start Tollgate, and the key it will know.
struct Tollgate {
    binary: PathBuf,
    folder: PathBuf,
    key: String,
    digest: String,
}

impl Subjects {
    /// Starts the mock, and makes a key unless a bare proxy stands in for Tollgate.
    pub fn start(stand_in: bool) -> Result<Self> {
        let (mock, mock_address) = Process::start_self(&["mock"])?;
        let tollgate = if stand_in { None } else { Some(Tollgate::find()?) };
        Ok(Self { mock, mock_address, tollgate })
    }

    /// Starts a bare proxy.
    pub fn proxy(&self) -> Result<Server> {
        let (process, address) = Process::start_self(&["proxy", &self.mock_address])?;
        Ok(Server { process, address, routes: false })
    }

    /// Starts Tollgate with its books there, and says how long it took until `/readyz` was 200.
    pub async fn tollgate(&self, ledger: &Ledger) -> Result<(Server, Duration)> {
        let begin = Instant::now();
        match &self.tollgate {
            Some(tollgate) => tollgate.start(&self.mock_address, ledger).await,
            None => Ok((self.proxy()?, begin.elapsed())),
        }
    }

    /// The request for `model` that is sent to `server`, or straight to the mock: 1 KiB of body and 12 headers.
    pub fn request(&self, server: Option<&Server>, model: &str, stream: bool) -> Arc<[u8]> {
        let prefix =
            if server.is_some_and(|server| server.routes) { String::new() } else { format!("/{model}") };
        self.request_at(&prefix, model, stream)
    }

    /// The same for a server that chooses the mock's path itself.
    pub fn request_for(&self, model: &str) -> Arc<[u8]> {
        self.request_at("", model, false)
    }

    fn request_at(&self, prefix: &str, model: &str, stream: bool) -> Arc<[u8]> {
        let start = format!(
            "{{\"model\":\"{model}\",\"stream\":{stream},\"messages\":[{{\"role\":\"user\",\"content\":\""
        );
        let end = "\"}],\"temperature\":0.2,\"max_tokens\":256}";
        let body = format!("{start}{:.<1$}{end}", "", 1024_usize.saturating_sub(start.len() + end.len()));
        let head = format!(
            "POST {prefix}/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\
             accept-encoding: identity\r\ncontent-type: application/json\r\nuser-agent: OpenAI/Python 3.54.0\r\n\
             x-stainless-lang: python\r\nx-stainless-os: Linux\r\nx-stainless-arch: x64\r\n\
             x-stainless-runtime: CPython\r\nx-stainless-retry-count: 0\r\nauthorization: Bearer {}\r\n\
             content-length: {}\r\n\r\n",
            self.tollgate.as_ref().map_or("none", |tollgate| &tollgate.key),
            body.len(),
        );
        [head.as_bytes(), body.as_bytes()].concat().into()
    }
}

impl Subjects {
    /// The digest of the key that requests have.
    pub fn digest(&self) -> Result<&str> {
        self.tollgate.as_ref().map(|tollgate| &*tollgate.digest).ok_or_else(|| anyhow!("there is no key"))
    }

    /// Where files of this run are.
    pub fn folder(&self) -> Result<&Path> {
        self.tollgate.as_ref().map(|tollgate| &*tollgate.folder).ok_or_else(|| anyhow!("there is no folder"))
    }
}

impl Tollgate {
    fn find() -> Result<Self> {
        let binary = std::env::var_os("TOLLGATE_BIN").map(PathBuf::from);
        let binary =
            binary.ok_or_else(|| anyhow!("TOLLGATE_BIN must name the binary: use `cargo xtask bench`"))?;
        let (key, digest) = new_key(&binary)?;
        let folder = std::env::temp_dir().join(format!("tollgate-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self { binary, folder, key, digest })
    }

    async fn start(&self, mock: &str, ledger: &Ledger) -> Result<(Server, Duration)> {
        let address = free_address()?;
        let config = self.folder.join(format!("{}.toml", address.replace(':', "-")));
        fs::write(&config, self.config(&address, mock, ledger))?;
        let log = config.with_extension("log");
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--config").arg(&config);
        if let Ledger::Redis(url) = ledger {
            command.env(LEDGER_URL, url);
        }
        command.stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let begin = Instant::now();
        let mut process = Process::start(command)?;
        while !ready(&address).await {
            process.alive().with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
            if begin.elapsed() > READY_WITHIN {
                bail!("tollgate was not ready within {READY_WITHIN:?}");
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        Ok((Server { process, address, routes: true }, begin.elapsed()))
    }

    fn config(&self, address: &str, mock: &str, ledger: &Ledger) -> String {
        let models = MODELS.map(|model| {
            format!(
                "[upstreams.{model}]\nbase_url = \"http://{mock}/{model}/v1\"\n\n[[models]]\nname = \"{model}\"\n\
                 targets = [{{ upstream = \"{model}\" }}]\n\
                 price = {{ currency = \"JPY\", input = 0.0001, output = 0.0004 }}\n\n"
            )
        });
        let own = self.folder.join(address.replace(':', "-"));
        let ledger = match ledger {
            Ledger::Memory => "store = \"memory\"".to_owned(),
            Ledger::Sqlite => format!("file = \"{}.db\"", own.display()),
            Ledger::Redis(_) => format!(
                "store = \"redis\"\nurl = {{ env = \"{LEDGER_URL}\" }}\njournal = \"{}.journal\"",
                own.display()
            ),
        };
        format!(
            "[server]\nlisten = \"{address}\"\n\n[ledger]\n{ledger}\n\n{}[[keys]]\nname = \"bench\"\ndigest = \"{}\"\n\
             requests = \"1000000000/1m\"\ntokens = \"1000000000000/1m\"\nbudget = \"9000000 JPY/month\"\n",
            models.concat(),
            self.digest
        )
    }
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        // Configurations and logs of a run that ended well help nobody.
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

/// The models of the configuration; each is also the first part of the mock's path that answers for it.
pub const MODELS: [&str; 4] = [PLAIN, WAITING, HELD, PACED];
/// One JSON document.
pub const PLAIN: &str = "plain";
/// One JSON document after 20 ms.
pub const WAITING: &str = "wait-20";
/// A stream that says little for long.
pub const HELD: &str = "stream-240-500";
/// A stream of an event each 20 ms.
pub const PACED: &str = "stream-200-20";

/// Start-to-ready time and idle memory of fresh processes.
pub async fn readiness(subjects: &Subjects, effort: Effort, report: &mut Report) -> Result<()> {
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let (server, time) = subjects.tollgate(&Ledger::Memory).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        times.push(time.as_secs_f64() * 1000.0);
        memory.push(server.process.resident()? / 1e6);
    }
    println!("start to ready: {times:.0?} ms");
    report.figure("start to ready", median(times), "ms", Target::AtMost(150.0));
    report.figure("resident memory, idle", median(memory), "MB", Target::AtMost(40.0));
    Ok(())
}

async fn ready(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut status = [0; 12];
    stream.write_all(request).await.is_ok()
        && stream.read_exact(&mut status).await.is_ok()
        && &status == b"HTTP/1.1 200"
}

/// An address on loopback where nobody listens.
pub fn free_address() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A key and its digest, as `tollgate keys new` prints them.
fn new_key(binary: &PathBuf) -> Result<(String, String)> {
    let output = Command::new(binary).args(["keys", "new"]).output()?;
    let text = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
    let word = |prefix: &str| {
        text.split(|c: char| c.is_whitespace() || c == '"')
            .find(|word| word.starts_with(prefix))
            .map(str::to_owned)
            .ok_or_else(|| anyhow!("`tollgate keys new` printed no {prefix}.."))
    };
    Ok((word("tg_")?, word("sha256:")?))
}
