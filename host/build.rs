//! Builds the policy component for wasm32-wasip2 and compiles it ahead of time, so that the binary embeds both:
//! the image for the processor it was built on, and the component for every other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

include!("src/engine_config.rs");

fn main() -> Result<()> {
    let host = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = host.parent().context("the host crate lies in the workspace")?;
    for path in ["guest", "wit", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo::rerun-if-changed=src/engine_config.rs");

    let out = PathBuf::from(env::var("OUT_DIR")?);
    let component = build_component(workspace, &out)?;
    let wasm = fs::read(&component).with_context(|| format!("read {}", component.display()))?;
    let engine = wasmtime::Engine::new(&engine_config()).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let image = engine.precompile_component(&wasm).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    fs::write(out.join("policy.wasm"), wasm)?;
    fs::write(out.join("policy.cwasm"), image)?;
    Ok(())
}

/// Runs cargo for the component in a target directory of its own: the outer cargo holds the lock of this one.
fn build_component(workspace: &Path, out: &Path) -> Result<PathBuf> {
    let target_dir = shared_target_dir(out).join("guest");
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo
        .current_dir(workspace)
        .args(["build", "--package", "tollgate-component", "--profile", "guest", "--locked"])
        .args(["--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target_dir);
    // What the outer build was given for the native target is not meant for wasm.
    for (name, _) in env::vars() {
        let ours = name.starts_with("CARGO_PROFILE_") || name.ends_with("RUSTFLAGS");
        if ours
            || name == "RUSTC_WRAPPER"
            || name == "RUSTC_WORKSPACE_WRAPPER"
            || name == "CARGO_BUILD_TARGET"
        {
            cargo.env_remove(name);
        }
    }
    let status = cargo.status().context("run cargo for the policy component")?;
    if !status.success() {
        bail!(
            "the policy component did not build; if its target is missing, `rustup target add wasm32-wasip2` \
             (or any `cargo xtask` command) adds it"
        );
    }
    Ok(target_dir.join("wasm32-wasip2/guest/tollgate_component.wasm"))
}

/// The target directory that holds `OUT_DIR` (`target/debug/build/tollgate-1234/out`), so that every profile
/// shares one build of the component.
fn shared_target_dir(out: &Path) -> PathBuf {
    out.ancestors().nth(4).unwrap_or(out).to_path_buf()
}
