//! `cargo xtask edge`: the policy and the shell that needs nothing but WASI, composed into one component. And
//! `cargo xtask shrink`, which makes what is deployed smaller.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tollgate_shrink::smaller;
use wac_graph::{CompositionGraph, EncodeOptions, plug, types::Package};

use crate::{step, tools};

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "module";

/// Builds both and writes `target/tollgate-edge.wasm`.
pub fn edge() -> Result<()> {
    tools::ensure_wasm_target()?;
    tools::ensure_programs(&["wasm-opt"])?;
    let folder = tools::target_dir()?;
    let built = |package: &str| {
        // One after the other: built together, the policy would get features of what the shell uses, and be other bytes.
        let flags = ["build", "--locked", "--profile", PROFILE, "--target", TARGET, "--package", package];
        step::run(step::cargo(&flags))?;
        let file = folder.join(TARGET).join(PROFILE).join(package.replace('-', "_")).with_extension("wasm");
        smaller(&file)
    };
    let mut graph = CompositionGraph::new();
    let shell = Package::from_bytes("shell", None, built("tollgate-portable")?, graph.types_mut())?;
    let policy = Package::from_bytes("policy", None, built("tollgate-component")?, graph.types_mut())?;
    let (shell, policy) = (graph.register_package(shell)?, graph.register_package(policy)?);
    plug(&mut graph, vec![policy], shell).context("compose the shell and the policy")?;
    let composed = graph.encode(EncodeOptions::default())?;
    let file = folder.join("tollgate-edge.wasm");
    fs::write(&file, &composed).with_context(|| format!("write {}", file.display()))?;
    println!("{}: {} bytes", file.display(), composed.len());
    Ok(())
}

/// Makes modules and components smaller, in their places.
pub fn shrink_all(files: &[String]) -> Result<()> {
    tools::ensure_programs(&["wasm-opt"])?;
    files.iter().try_for_each(|file| shrink(Path::new(file)))
}

/// Makes a module or a component smaller, in its place.
pub fn shrink(file: &Path) -> Result<()> {
    let bytes = smaller(file)?;
    // Cargo has linked the file: what it goes on to link must stay as it is.
    let written = file.with_extension("smaller");
    fs::write(&written, &bytes).with_context(|| format!("write {}", written.display()))?;
    fs::rename(&written, file)?;
    println!("{}: {} bytes", file.display(), bytes.len());
    Ok(())
}
