//! A running Envoy: the real one, whose stage is changed by its two watched files and whose log is read.
//!
//! Its clock is set by the test, and stands still: the plugin asks its host for the time, the host asks the system, and
//! `clock/clock.rs` answers for it. Timeouts go by the other clock, which runs on.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time;
use std::{fs, thread};

use serde_json::Value;
use tempfile::TempDir;

use super::config::{self, Stage};
use crate::instant::Instant;
use crate::programs::{folder, get, until};
use crate::wire::PATIENCE;

/// The plugin as this build of the tests made it.
pub const PLUGIN: &str = concat!(env!("OUT_DIR"), "/tollgate_envoy.wasm");
/// A module that ends by a trap when it is asked to `DELETE` something.
pub const DESK: &str = concat!(env!("OUT_DIR"), "/tollgate_desk.wasm");

const CLOCK: &str = concat!(env!("OUT_DIR"), "/clock.so");

/// The credential of shells that every Envoy under test has.
pub const TOKEN: &str = "shells-secret-0123456789";

/// A running Envoy.
pub struct Process {
    child: Child,
    /// Where it is asked about itself.
    admin: SocketAddr,
    /// Where its shared data is read and written.
    pub desk: SocketAddr,
    log: mpsc::Receiver<String>,
    /// What the log said since the stage was changed, as far as it was read.
    told: Vec<String>,
    folder: TempDir,
    version: usize,
}

/// The watched files, and what is in each.
const FILES: [(&str, &str); 2] =
    [("cds.json", "envoy.config.cluster.v3.Cluster"), ("lds.json", "envoy.config.listener.v3.Listener")];

/// How a stage began.
pub enum Begun {
    /// Clients find it here.
    At(SocketAddr),
    /// Its configuration was refused.
    Refused,
}

/// Where Envoy is: in `ENVOY`, or where `cargo xtask test` installs it.
pub fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("ENVOY") {
        return program.into();
    }
    let venv = venv();
    found(&format!("{}/lib/python3*/site-packages/envoy/_bin/envoy", venv.display())).unwrap_or_else(|| {
        panic!("no Envoy in {}: `cargo xtask test` installs it, or name one in ENVOY", venv.display())
    })
}

/// The Python beside it, with the `openai` package.
pub fn python() -> PathBuf {
    venv().join("bin/python")
}

fn venv() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.ancestors().nth(3).unwrap().join("venv")
}

/// The file that a shell finds by this pattern.
fn found(pattern: &str) -> Option<PathBuf> {
    let found = Command::new("sh").args(["-c", &format!("ls -d {pattern}")]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    found.lines().next().map(PathBuf::from)
}

/// Where the listener of this name is, if the Envoy with this admin interface has one.
pub fn listener(admin: SocketAddr, name: &str) -> Option<SocketAddr> {
    let listeners: Value = serde_json::from_str(&get(admin, "/listeners?format=json", "").text()).ok()?;
    let all = listeners["listener_statuses"].as_array()?;
    let socket = &all.iter().find(|listener| listener["name"] == name)?["local_address"]["socket_address"];
    format!("{}:{}", socket["address"].as_str()?, socket["port_value"]).parse().ok()
}

impl Process {
    /// Starts it with so many worker threads, and nothing on its stage. With `frozen` its clock stands still, at a time
    /// that is set later.
    pub fn start(workers: usize, frozen: bool) -> Self {
        let folder = folder();
        let bootstrap = config::bootstrap(folder.path(), Path::new(DESK));
        fs::write(folder.path().join("envoy.json"), bootstrap.to_string()).unwrap();
        for (file, kind) in FILES {
            let none = config::resources(0, kind, Vec::new());
            fs::write(folder.path().join(file), none.to_string()).unwrap();
        }
        let clock = folder.path().join("clock");
        fs::write(&clock, nanoseconds(Instant::default().ms)).unwrap();
        let mut command = Command::new(program());
        command.env_clear().stdin(Stdio::null()).stderr(Stdio::piped()).current_dir(folder.path());
        command.env(config::TOKEN_VARIABLE, TOKEN);
        if frozen {
            command.env("LD_PRELOAD", CLOCK).env("TOLLGATE_TEST_CLOCK", &clock);
        }
        command.args(["-c", "envoy.json", "--use-dynamic-base-id", "--admin-address-path", "admin"]);
        command.args(["-l", "warning", "--component-log-level", "wasm:debug"]);
        command.args(["--drain-time-s", "1", "--drain-strategy", "immediate"]);
        command.args(["--concurrency", &workers.to_string()]);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process =
            Self { child, admin: nowhere, desk: nowhere, log, told: Vec::new(), folder, version: 0 };
        let path = process.folder.path().join("admin");
        process.admin = until("Envoy's admin address", || {
            process.assert_alive();
            fs::read_to_string(&path).ok()?.trim().parse().ok()
        });
        process.desk = until("Envoy's desk", || process.listener("desk"));
        process
    }

    /// Sets the clock: milliseconds since the epoch.
    pub fn set_time(&self, now_ms: u64) {
        // In place: Envoy has mapped this very file.
        let mut clock = fs::OpenOptions::new().write(true).open(self.folder.path().join("clock")).unwrap();
        clock.write_all(&nanoseconds(now_ms)).unwrap();
    }

    /// Puts this on the stage, and nothing else.
    pub fn show(&mut self, stage: &Stage<'_>) -> Begun {
        self.show_with(stage, Path::new(PLUGIN))
    }

    /// The same with another module in the plugin's place.
    pub fn show_with(&mut self, stage: &Stage<'_>, plugin: &Path) -> Begun {
        self.version += 1;
        self.log.try_iter().for_each(drop);
        let contents = [config::clusters(stage, plugin), config::listeners(stage, plugin)];
        for ((file, kind), resources) in FILES.into_iter().zip(contents) {
            self.replace(file, &config::resources(self.version, kind, resources).to_string());
        }
        let door = format!("door_{}", stage.name);
        self.told.clear();
        until(&format!("{door} on Envoy's stage"), || {
            self.assert_alive();
            self.told.extend(self.log.try_iter());
            if self.told.iter().any(|line| line.contains("rejected") && line.contains(&door)) {
                return Some(Begun::Refused);
            }
            self.listener(&door).filter(|address| address.port() > 0).map(Begun::At)
        })
    }

    /// What the plugin of this stage has said since, each line as it is behind Envoy's own words; the first answer of
    /// `look` at them.
    pub fn wait_for<T>(&mut self, stage: &str, mut look: impl FnMut(&[String]) -> Option<T>) -> T {
        let mark = format!("wasm log {stage} ");
        let end = time::Instant::now() + PATIENCE;
        loop {
            self.told.extend(self.log.try_iter());
            let mine = self.told.iter().filter(|line| line.contains(&mark));
            let said: Vec<String> = mine.filter_map(|line| said(line, &mark)).collect();
            if let Some(found) = look(&said) {
                return found;
            }
            assert!(time::Instant::now() < end, "it never came; Envoy said:\n{}", self.told.join("\n"));
            match self.log.recv_timeout(time::Duration::from_millis(50)) {
                Ok(line) => self.told.push(line),
                Err(_) => self.assert_alive(),
            }
        }
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        self.assert_alive();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What Envoy answers about itself.
    pub fn ask(&self, path: &str) -> String {
        get(self.admin, path, "").text()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn listener(&self, name: &str) -> Option<SocketAddr> {
        listener(self.admin, name)
    }

    fn replace(&self, file: &str, content: &str) {
        let written = self.folder.path().join(format!("{file}.new"));
        fs::write(&written, content).unwrap();
        fs::rename(written, self.folder.path().join(file)).unwrap();
    }

    fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            self.told.extend(self.log.try_iter());
            panic!("Envoy has ended ({status}):\n{}", self.told.join("\n"));
        }
    }
}

/// A time as the clock reads it.
fn nanoseconds(ms: u64) -> [u8; 8] {
    i64::try_from(ms * 1_000_000).unwrap().to_ne_bytes()
}

/// `... wasm log <name> <root id> <vm id>: <what was said>`.
fn said(line: &str, mark: &str) -> Option<String> {
    let (_, rest) = line.split_once(mark)?;
    rest.split_once(": ").map(|(_, said)| said.to_owned())
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
