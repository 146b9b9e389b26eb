//! `cargo xtask edge`: the policy and the shell that needs nothing but WASI, composed into one component.

use std::fs;

use anyhow::{Context, Result};
use wac_graph::{CompositionGraph, EncodeOptions, plug, types::Package};

use crate::{step, tools};

const TARGET: &str = "wasm32-wasip2";

/// Builds both and writes `target/tollgate-edge.wasm`.
pub fn edge() -> Result<()> {
    tools::ensure_wasm_target()?;
    let folder = tools::target_dir()?;
    let built = |package: &str, profile: &str| {
        // One after the other: built together, the policy would get features of what the shell uses, and be other bytes.
        let flags = ["build", "--locked", "--profile", profile, "--target", TARGET, "--package", package];
        step::run(step::cargo(&flags))?;
        let file = folder.join(TARGET).join(profile).join(package.replace('-', "_")).with_extension("wasm");
        fs::read(&file).with_context(|| format!("read {}", file.display()))
    };
    let mut graph = CompositionGraph::new();
    let shell = Package::from_bytes("shell", None, built("tollgate-portable", "shell")?, graph.types_mut())?;
    let policy =
        Package::from_bytes("policy", None, built("tollgate-component", "guest")?, graph.types_mut())?;
    let (shell, policy) = (graph.register_package(shell)?, graph.register_package(policy)?);
    plug(&mut graph, vec![policy], shell).context("compose the shell and the policy")?;
    let composed = graph.encode(EncodeOptions::default())?;
    let file = folder.join("tollgate-edge.wasm");
    fs::write(&file, &composed).with_context(|| format!("write {}", file.display()))?;
    println!("{}: {} bytes", file.display(), composed.len());
    Ok(())
}
