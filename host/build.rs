//! Builds the policy component for wasm32-wasip2 and compiles it ahead of time, so that the binary embeds both:
//! the image for the processor it was built on, and the component for every other.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{env, fs};

use anyhow::{Context as _, Result};

include!("src/engine_config.rs");
include!("../guest/build_guest.rs");

fn main() -> Result<()> {
    let host = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = host.parent().context("the host crate lies in the workspace")?;
    for path in [
        "guest/component",
        "guest/document",
        "guest/policy",
        "guest/build_guest.rs",
        "prices",
        "wit",
        ".cargo/config.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo::rerun-if-changed=src/engine_config.rs");

    let out = PathBuf::from(env::var("OUT_DIR")?);
    let shared = shared_target_dir(&out);
    let component =
        build_guest("wasm32-wasip2", "guest", workspace, "tollgate-component", shared, Stdio::inherit)?;
    let wasm = fs::read(&component).with_context(|| format!("read {}", component.display()))?;
    let engine = wasmtime::Engine::new(&engine_config()).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let image = engine.precompile_component(&wasm).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    fs::write(out.join("policy.wasm"), wasm)?;
    fs::write(out.join("policy.cwasm"), image)?;
    Ok(())
}

/// The target directory that holds `OUT_DIR` (`target/debug/build/tollgate-1234/out`), so that every profile
/// shares one build of the component.
fn shared_target_dir(out: &Path) -> &Path {
    out.ancestors().nth(4).unwrap_or(out)
}
