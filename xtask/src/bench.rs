//! `cargo xtask bench`: the gateway and the bench built for release, and the bench run.

use std::process::Command;

use anyhow::Result;

use crate::{step, tools};

/// Runs the bench with these arguments.
pub fn bench(args: &[String]) -> Result<()> {
    tools::ensure_wasm_target()?;
    let gateway = tools::build("tollgate", "release")?;
    let bench = tools::build("tollgate-bench", "release")?;
    // Two sockets for each of the 1,000 streams are more than many systems allow unless asked.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""]);
    command.arg(bench).args(args);
    command.env("TOLLGATE_BIN", gateway);
    step::run(command)
}
