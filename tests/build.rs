//! Builds the hostile policy component and the shell for Spin, as the host's build script builds the policy.

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context as _, Result};

include!("../guest/build_guest.rs");

fn main() -> Result<()> {
    let tests = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    for path in [
        "hostile/src",
        "hostile/Cargo.toml",
        "../wit",
        "../guest/build_guest.rs",
        "../guest/edge",
        "../guest/settings",
        "../guest/spin",
        "../host/ledger/src",
        "../host/ledger/stepwise/src",
    ] {
        println!("cargo::rerun-if-changed={}", tests.join(path).display());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target = out.ancestors().nth(4).context("the target directory holds OUT_DIR")?;
    // Not the directory of the real one: both would wait for each other.
    let component = build_guest(&tests, "tollgate-hostile", &target.join("hostile"))?;
    fs::copy(&component, out.join("hostile.wasm"))
        .with_context(|| format!("copy {}", component.display()))?;
    let shell = build_guest(&tests, "tollgate-spin", &target.join("guest"))?;
    fs::copy(&shell, out.join("spin.wasm")).with_context(|| format!("copy {}", shell.display()))?;
    Ok(())
}
