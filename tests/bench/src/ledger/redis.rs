//! A Redis server of the bench's own, and what it says it was asked.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::Process;

const READY_WITHIN: Duration = Duration::from_secs(10);

/// A running server.
pub struct Server {
    port: u16,
    folder: PathBuf,
    _process: Process,
}

impl Server {
    /// Starts it on a free port of loopback.
    pub fn start() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = std::env::temp_dir().join(format!("tollgate-bench-redis-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.current_dir(&folder).stdout(Stdio::null());
        let process =
            Process::start(command).context("the bench needs redis-server: apt install redis-server")?;
        let server = Self { port, folder, _process: process };
        let begin = Instant::now();
        while server.info("server").is_err() {
            if begin.elapsed() > READY_WITHIN {
                bail!("redis-server was not ready within {READY_WITHIN:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// How many scripts it ran so far.
    pub fn scripts(&self) -> Result<f64> {
        let text = self.info("commandstats")?;
        let calls = |command: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(command)?.strip_prefix(":calls="));
            line.and_then(|rest| rest.split(',').next()?.parse::<f64>().ok()).unwrap_or(0.0)
        };
        Ok(calls("cmdstat_evalsha") + calls("cmdstat_eval"))
    }

    fn info(&self, section: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(format!("INFO {section}\r\nQUIT\r\n").as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing in it is worth keeping.
        let _removed = fs::remove_dir_all(&self.folder);
    }
}
