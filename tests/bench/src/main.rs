//! `cargo xtask bench`: what Tollgate costs, as ratios to a bare proxy measured in the same run.
//!
//! Every part is its own process, so that the processor time of each can be read: this one makes the load,
//! `mock` answers at once, `proxy` is the least a reverse proxy can do, and the `tollgate` binary named by
//! `TOLLGATE_BIN` runs with every check, hold and charge switched on. It never fails because a figure is bad,
//! only because something could not be measured. With `--noise` a second bare proxy stands in for Tollgate: what
//! its ratios differ from 1 is the error of the machine. The plugin is measured in the Envoy that `ENVOY` names, against the
//! same Envoy without it; `--envoy` measures nothing else.

mod edge;
mod envoy;
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

const FULL: Effort = Effort { rounds: 21, window_ms: 1000, streams: 1000 };
const QUICK: Effort = Effort { rounds: 9, window_ms: 400, streams: 200 };

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["mock"] => return runtime()?.block_on(mock::serve()),
        ["counters", kind] => return ledger::print_counters(kind),
        ["proxy", upstream] => return runtime()?.block_on(proxy::serve(upstream)),
        _ => {}
    }
    let (mut effort, mut part) = (FULL, Part::All);
    for arg in args {
        match arg {
            "--quick" => effort = QUICK,
            "--noise" => part = Part::Noise,
            "--envoy" => part = Part::Envoy,
            _ => bail!("usage: cargo xtask bench [--quick] [--noise | --envoy]"),
        }
    }
    run(effort, part)
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    /// A second bare proxy in Tollgate's place.
    Noise,
    /// Only the plugin in Envoy.
    Envoy,
}

fn run(effort: Effort, part: Part) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("the bench reads /proc, so it needs Linux");
    }
    let mut report = report::Report::default();
    let stand_in = part == Part::Noise;
    if part == Part::All {
        guest::measure(&mut report)?;
        edge::measure(&mut report)?;
        ledger::measure_alone(&mut report)?;
    }
    runtime()?.block_on(async {
        let subjects = subjects::Subjects::start(stand_in)?;
        if part != Part::Envoy {
            subjects::readiness(&subjects, effort, &mut report).await?;
            rounds::measure(&subjects, effort, &mut report).await?;
            memory::measure(&subjects, effort, &mut report).await?;
        }
        if part == Part::All {
            ledger::measure(&subjects, effort, &mut report).await?;
        }
        if !stand_in {
            envoy::measure(&subjects, effort, &mut report).await?;
        }
        anyhow::Ok(())
    })?;
    report.print();
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
