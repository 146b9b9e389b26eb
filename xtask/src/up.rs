//! `cargo xtask up`: from a fresh clone to a gateway that answers.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::tools;

/// Builds the gateway and becomes `tollgate serve --demo` with these arguments, so that signals and the exit code
/// are the gateway's own.
pub fn up(args: &[String]) -> Result<()> {
    tools::ensure_wasm_target()?;
    let gateway = tools::build("tollgate", "dev")?;
    let mut command = Command::new(&gateway);
    command.args(["serve", "--demo"]).args(args);
    Err(command.exec()).with_context(|| format!("could not start {}", gateway.display()))
}
