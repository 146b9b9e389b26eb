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
        "../guest/provider",
        "../guest/settings",
        "../guest/simulated",
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
    for (package, name) in [("tollgate-spin", "spin.wasm"), ("tollgate-provider", "provider.wasm")] {
        let component = build_guest(&tests, package, &target.join("guest"))?;
        fs::copy(&component, out.join(name)).with_context(|| format!("copy {}", component.display()))?;
    }
    Ok(())
}
