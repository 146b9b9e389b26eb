//! A process under measurement: started, read through /proc, and killed when it is dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

/// Linux reports processor time in units of 1/100 s (USER_HZ) on every platform Tollgate is built for.
const TICK_US: f64 = 10_000.0;

/// A child of the bench.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a command.
    pub fn start(mut command: Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child })
    }

    /// Starts this very program as `args`, and reads the address it prints first.
    pub fn start_self(args: &[&str]) -> Result<(Self, String)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).stdout(Stdio::piped());
        let mut process = Self::start(command)?;
        let stdout = process.child.stdout.take().ok_or_else(|| anyhow!("no stdout"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim().is_empty() {
            bail!("`{args:?}` ended before it listened");
        }
        Ok((process, line.trim().to_owned()))
    }

    /// An error if the process is gone.
    pub fn alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the process ended early: {status}"),
            None => Ok(()),
        }
    }

    /// Processor time used so far, user and system, in microseconds.
    pub fn cpu_us(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is the command's name in parentheses; what follows the last one has no surprises.
        let (_, rest) = stat.rsplit_once(')').ok_or_else(|| anyhow!("/proc stat is not understood"))?;
        let mut fields = rest.split_whitespace().skip(11);
        let user: u32 = fields.next().unwrap_or_default().parse()?;
        let system: u32 = fields.next().unwrap_or_default().parse()?;
        Ok((f64::from(user) + f64::from(system)) * TICK_US)
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> Result<f64> {
        resident(&self.child.id().to_string())
    }
}

/// Resident memory of this very process, in bytes.
pub fn resident_here() -> Result<f64> {
    resident("self")
}

fn resident(process: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or_else(|| anyhow!("no VmRSS"))?;
    Ok(f64::from(kib.parse::<u32>()?) * 1024.0)
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already; there is nobody left to tell.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
