//! `cargo xtask bench`: what Tollgate costs, as ratios to a bare proxy measured in the same run.
//!
//! Every part is its own process, so that the processor time of each can be read: this one makes the load,
//! `mock` answers at once, `proxy` is the least a reverse proxy can do, and the `tollgate` binary named by
//! `TOLLGATE_BIN` runs with every check, hold and charge switched on. It never fails because a figure is bad,
//! only because something could not be measured. With `--noise` a second bare proxy stands in for Tollgate: what
//! its ratios differ from 1 is the error of the machine.

mod edge;
mod guest;
mod ledger;
mod load;
mod memory;
mod mock;
mod process;
mod proxy;
mod report;
mod rounds;
mod subjects;
mod wire;

use anyhow::{Result, bail};

/// How long and how often to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Interleaved rounds; the median counts.
    pub rounds: usize,
    /// Milliseconds of load for each measurement.
    pub window_ms: u64,
    /// Streams held open at once.
    pub streams: usize,
}

const FULL: Effort = Effort { rounds: 7, window_ms: 3000, streams: 1000 };
const QUICK: Effort = Effort { rounds: 3, window_ms: 1000, streams: 200 };

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["mock"] => return runtime()?.block_on(mock::serve()),
        ["counters", kind] => return ledger::print_counters(kind),
        ["proxy", upstream] => return runtime()?.block_on(proxy::serve(upstream)),
        _ => {}
    }
    let (mut effort, mut stand_in) = (FULL, false);
    for arg in args {
        match arg {
            "--quick" => effort = QUICK,
            "--noise" => stand_in = true,
            _ => bail!("usage: cargo xtask bench [--quick] [--noise]"),
        }
    }
    run(effort, stand_in)
}

fn run(effort: Effort, stand_in: bool) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("the bench reads /proc, so it needs Linux");
    }
    let mut report = report::Report::default();
    if !stand_in {
        guest::measure(&mut report)?;
        edge::measure(&mut report)?;
        ledger::measure_alone(&mut report)?;
    }
    runtime()?.block_on(async {
        let subjects = subjects::Subjects::start(stand_in)?;
        subjects::readiness(&subjects, effort, &mut report).await?;
        rounds::measure(&subjects, effort, &mut report).await?;
        memory::measure(&subjects, effort, &mut report).await?;
        if !stand_in {
            ledger::measure(&subjects, effort, &mut report).await?;
        }
        anyhow::Ok(())
    })?;
    report.print();
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
