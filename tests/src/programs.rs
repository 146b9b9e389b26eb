//! The programs as an operator runs them: `tollgate`, and a `redis-server` beside it.
//!
//! Each is a process of its own on a free port of the loopback, with its files in a folder that goes away. It can be
//! asked as clients and operators ask it, killed, and started again on what it left. A program that is missing fails
//! the test and says how to get it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tollgate_ledger::Entry;

use crate::wire::{Message, PATIENCE, Wire};

/// Rows of one page.
const PAGE: usize = 10_000;

/// Waits for what must come by itself; `what` says what did not come.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it never came: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A folder of the test's own, below the build's.
pub fn folder() -> TempDir {
    let exe = std::env::current_exe().unwrap();
    let all = exe.ancestors().nth(3).unwrap().join("tmp");
    std::fs::create_dir_all(&all).unwrap();
    tempfile::Builder::new().prefix("test-").tempdir_in(all).unwrap()
}

/// Where the program is. `cargo test --workspace` builds it, because the host has integration tests; another build of
/// it from here would have other features, and take minutes.
pub fn program() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let program = exe.ancestors().nth(2).unwrap().join("tollgate");
    assert!(program.exists(), "{} is missing: run `cargo build --workspace`", program.display());
    program
}

/// The program, in this folder.
pub fn tollgate(folder: &Path) -> Command {
    in_folder(Command::new(program()), folder)
}

/// The program in this folder, under limits that a shell sets first, such as `ulimit -f 100`.
pub fn tollgate_after(limits: &str, folder: &Path) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("{limits}; exec \"$0\" \"$@\"")).arg(program());
    in_folder(shell, folder)
}

fn in_folder(mut command: Command, folder: &Path) -> Command {
    command.env_clear().stdin(Stdio::null()).current_dir(folder);
    command
}

/// Lets this process, and those it starts, open some thousand files.
pub fn allow_many_files() {
    let own = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &own, "--nofile=8192:"]).status();
    let raised = raised.unwrap_or_else(|error| panic!("prlimit ({error}): apt install util-linux"));
    assert!(raised.success(), "the machine allows fewer than 8192 open files");
}

/// A running `tollgate serve` and the lines of its log.
pub struct Serving {
    child: Child,
    /// Where clients find it.
    pub address: SocketAddr,
    /// Where operators find it, if its configuration says so.
    pub admin: Option<SocketAddr>,
    /// Where other shells find it, if its configuration says so.
    pub shells: Option<SocketAddr>,
    log: mpsc::Receiver<String>,
    /// Kept for as long as it runs.
    folder: Option<TempDir>,
}

impl Serving {
    /// Starts it in a folder of its own.
    pub fn start(config: &Path) -> Self {
        let folder = folder();
        let mut serving = Self::run(tollgate(folder.path()), config);
        serving.folder = Some(folder);
        serving
    }

    /// Starts it as this command: [`tollgate`] with what the test adds.
    pub fn run(mut command: Command, config: &Path) -> Self {
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(config);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut serving = Self { child, address, admin: None, shells: None, log, folder: None };
        loop {
            let line = serving.wait_for("\"message\":\"listening");
            let line: Value = serde_json::from_str(&line).unwrap();
            let address = line["address"].as_str().unwrap().parse().unwrap();
            match line["message"].as_str() {
                Some("listening for operators") => serving.admin = Some(address),
                Some("listening for shells") => serving.shells = Some(address),
                _ => {
                    serving.address = address;
                    return serving;
                }
            }
        }
    }

    /// The next line of the log with this text in it.
    pub fn wait_for(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut told = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.log.recv_timeout(left);
            let line =
                line.unwrap_or_else(|_| panic!("the log never said {text:?}, but:\n{}", told.join("\n")));
            if line.contains(text) {
                return line;
            }
            told.push(line);
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "it was gone before it was killed");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop, and waits until it is gone.
    pub fn stop(self) {
        self.signal("TERM");
        assert_eq!(self.exit_code(), Some(0));
    }

    /// Waits until it is gone.
    pub fn exit_code(mut self) -> Option<i32> {
        until("the program's end", || self.child.try_wait().unwrap()).code()
    }

    /// What it answers here to a request without a key.
    pub fn get(&self, path: &str) -> Message {
        self.asked(self.address, path)
    }

    /// What it answers here to operators.
    pub fn admin(&self, path: &str) -> Message {
        self.asked(self.admin.expect("the configuration has [admin]"), path)
    }

    /// A server that cannot be reached has said why, or was ended by somebody else.
    fn asked(&self, address: SocketAddr, path: &str) -> Message {
        if let Err(error) = TcpStream::connect(address) {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
            let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or("it is gone");
            let told: Vec<String> = self.log.try_iter().collect();
            let last = told.len().saturating_sub(5);
            panic!("{path}: {error}; {state}; it said last:\n{}", told[last..].join("\n"));
        }
        get(address, path, "")
    }

    /// What it answers here to operators, who must succeed.
    pub fn admin_json(&self, path: &str) -> Value {
        let message = self.admin(path);
        assert_eq!(message.status(), 200, "{path}: {}", message.text());
        serde_json::from_slice(&message.body).unwrap()
    }

    /// All rows of the books.
    pub fn rows(&self) -> Vec<Entry> {
        let mut rows: Vec<Entry> = Vec::new();
        loop {
            let after = rows
                .last()
                .map_or_else(String::new, |row| format!("&after={},{}", row.at_ms, row.request_id));
            let page = self.admin_json(&format!("/admin/v1/charges?limit={PAGE}{after}"));
            let page: Vec<Entry> = serde_json::from_value(page["data"].clone()).unwrap();
            let last = page.len() < PAGE;
            rows.extend(page);
            if last {
                return rows;
            }
        }
    }

    /// Nano-units of money that this key's budget counts.
    pub fn spent(&self, key: &str) -> u64 {
        let limits = self.admin_json(&format!("/admin/v1/keys/{key}/limits"));
        let limits = limits["data"].as_array().unwrap();
        let budget = limits.iter().find(|limit| limit["limit"].as_str().unwrap().contains('/'));
        budget.unwrap_or_else(|| panic!("{key} has no budget: {limits:?}"))["used"].as_u64().unwrap()
    }

    /// How its ledger is: `sound`, `degraded` or `down`. The metrics must say the same.
    pub fn condition(&self) -> String {
        let told = self.admin_json("/admin/v1/ledger")["condition"].as_str().unwrap().to_owned();
        let metrics = self.admin("/metrics").text();
        // It may have changed between the two questions.
        let again = self.admin_json("/admin/v1/ledger")["condition"].as_str().unwrap().to_owned();
        if told == again {
            let line = format!("tollgate_ledger_condition{{condition=\"{told}\"}} 1\n");
            assert!(metrics.contains(&line), "{told}: {metrics}");
        }
        again
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks one thing over a connection of its own. `headers` end with a line break each.
pub fn get(address: SocketAddr, path: &str, headers: &str) -> Message {
    let mut wire = Wire::new(TcpStream::connect(address).unwrap());
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}connection: close\r\n\r\n");
    wire.stream().write_all(head.as_bytes()).unwrap();
    wire.response().unwrap()
}

/// A running Redis that loses nothing it has answered.
pub struct RedisServer {
    port: u16,
    folder: TempDir,
    child: Child,
}

impl RedisServer {
    /// Starts it.
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = folder();
        let child = redis(port, folder.path());
        Self { port, folder, child }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, where it was and on what it left.
    pub fn start_again(&mut self) {
        self.child = redis(self.port, self.folder.path());
    }

    /// The answer to a command that is answered by a whole number.
    pub fn number(&self, command: &str) -> i64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        let number = line.strip_prefix(':').and_then(|number| number.trim().parse().ok());
        number.unwrap_or_else(|| panic!("{command}: {line}"))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn redis(port: u16, folder: &Path) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder);
    command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("redis-server ({error}): apt install redis-server"));
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
    thread::spawn(move || lines.for_each(drop));
    child
}
