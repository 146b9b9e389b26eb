//! `cargo xtask bench`: the gateway, the module for Envoy and the bench built for release, and the bench run.

use std::process::Command;

use anyhow::Result;

use crate::{edge, python, step, tools};

const MODULE: &str = "tollgate-envoy";
const MODULE_TARGET: &str = "wasm32-wasip1";

/// Runs the bench with these arguments.
pub fn bench(args: &[String]) -> Result<()> {
    tools::ensure_wasm_target()?;
    tools::ensure_programs(&["redis-server", "wasm-opt"])?;
    let gateway = tools::build("tollgate", "release")?;
    let bench = tools::build("tollgate-bench", "release")?;
    let module = ["build", "--locked", "--profile", "module", "--target", MODULE_TARGET, "--package", MODULE];
    step::run(step::cargo(&module))?;
    let module = tools::target_dir()?.join(MODULE_TARGET).join("module/tollgate_envoy.wasm");
    edge::shrink(&module)?;
    // Two sockets for each of the 1,000 streams are more than many systems allow unless asked.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""]);
    command.arg(bench).args(args);
    command.env("TOLLGATE_BIN", gateway).env("TOLLGATE_ENVOY_MODULE", module).env("ENVOY", python::envoy()?);
    step::run(command)
}
