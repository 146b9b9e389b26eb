//! A Redis of the test's own: a process on a free port of the loopback, with its files in a folder that goes away.

#![allow(dead_code, reason = "each test file uses what it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tollgate_redis::{Options, Redis};

pub struct Server {
    pub port: u16,
    pub folder: TempDir,
    options: Vec<String>,
    child: Child,
}

impl Server {
    /// Nothing is kept on disk.
    pub fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"])
    }

    /// Nothing that was answered is lost by a crash.
    pub fn durable() -> Self {
        Self::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
    }

    pub fn with(options: &[&str]) -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let child = run(Command::new("redis-server"), port, &folder, &options);
        Self { port, folder, options, child }
    }

    /// TLS alone.
    pub fn with_tls(certificate: &str, key: &str) -> Self {
        let port = free_port();
        let tls = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"];
        let mut server =
            Self::with(&[&["--save", "", "--port", "0", "--tls-port", &port.to_string()], &tls[..]].concat());
        server.port = port;
        server
    }

    /// One for all tests of the process, which nobody drops: it ends when the process does.
    pub fn of_the_process(options: &[&str]) -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let mut shell = Command::new("sh");
        // The end of its input, which is this process's to keep open, ends the server and its folder.
        let script = "folder=$0; redis-server \"$@\" & server=$!; read _; kill -9 $server; rm -r \"$folder\"";
        shell.args(["-c", script]).arg(folder.path()).stdin(Stdio::piped());
        let child = run(shell, port, &folder, &options);
        Self { port, folder, options, child }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A namespace and a journal that nobody else has.
    pub fn options(&self) -> Options {
        let name = self.new_name();
        self.patient(Options::new(self.url(), self.journal(&name)).namespace(name))
    }

    /// A busy machine is no outage.
    pub fn patient(&self, options: Options) -> Options {
        options.answers_within(Duration::from_secs(60))
    }

    pub fn new_name(&self) -> String {
        format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    pub fn journal(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("journal-{name}"))
    }

    /// A store that goes by the test's clock.
    pub async fn store(&self) -> Redis {
        Redis::open(self.options().obey_callers()).await.unwrap()
    }

    pub async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Makes it a whole cluster.
    pub async fn owns_all_slots(&self) {
        let mut on = self.connection().await;
        let () =
            redis::cmd("CLUSTER").arg(&["ADDSLOTSRANGE", "0", "16383"]).query_async(&mut on).await.unwrap();
        self.is_in_order().await;
    }

    /// Waits until it knows a node for every slot.
    pub async fn is_in_order(&self) {
        let mut on = self.connection().await;
        loop {
            let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut on).await.unwrap();
            if info.contains("cluster_state:ok") {
                return;
            }
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = run(Command::new("redis-server"), self.port, &self.folder, &self.options);
    }

    /// It hangs: connections stay, nothing is answered.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed before.
        let _: Result<_, _> = self.child.kill();
        let _: Result<_, _> = self.child.wait();
    }
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(mut command: Command, port: u16, folder: &TempDir, options: &[String]) -> Child {
    command.arg("--port").arg(port.to_string()).args(["--bind", "127.0.0.1"]).arg("--dir").arg(folder.path());
    let child = command.args(options).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| {
        panic!("redis-server cannot be started ({error}); install it with: apt-get install redis-server")
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    loop {
        let line =
            lines.next().unwrap_or_else(|| panic!("redis-server has ended:\n{}", told.join("\n"))).unwrap();
        if line.contains("Ready to accept connections") {
            break;
        }
        told.push(line);
    }
    // What it says later is read too, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    child
}
