//! Builds the hostile policy component, the shell for Spin and the modules for Envoy, as the host's build script builds
//! the policy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result};

include!("../guest/build_guest.rs");

/// What they are made of.
const WATCHED: [&str; 22] = [
    "clock/clock.rs",
    "hostile/src",
    "hostile/Cargo.toml",
    "desk/src",
    "desk/Cargo.toml",
    "../wit",
    "../guest/build_guest.rs",
    "../guest/edge",
    "../guest/envoy",
    "../guest/portable",
    "../guest/provider",
    "../guest/settings",
    "../guest/simulated",
    "../guest/spin",
    "../guest/policy/src",
    "../guest/policy/build.rs",
    "../guest/document/src",
    "../host/ledger/src",
    "../host/ledger/redis/scripts",
    "../host/ledger/remote/src",
    "../host/ledger/stepwise/src",
    "../prices",
];

fn main() -> Result<()> {
    let tests = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    for path in WATCHED {
        println!("cargo::rerun-if-changed={}", tests.join(path).display());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target = out.ancestors().nth(4).context("the target directory holds OUT_DIR")?;
    // Not the directory of the real one: both would wait for each other.
    let component = build_guest(&tests, "tollgate-hostile", &target.join("hostile"))?;
    fs::copy(&component, out.join("hostile.wasm"))
        .with_context(|| format!("copy {}", component.display()))?;
    let components = [
        ("tollgate-spin", "spin.wasm"),
        ("tollgate-portable", "portable.wasm"),
        ("tollgate-provider", "provider.wasm"),
    ];
    for (package, name) in components {
        let component = build_guest_for("wasm32-wasip2", "shell", &tests, package, &target.join("guest"))?;
        fs::copy(&component, out.join(name)).with_context(|| format!("copy {}", component.display()))?;
    }
    clock(&tests.join("clock/clock.rs"), &out.join("clock.so"))?;
    let envoy = target.join("envoy-modules");
    for package in ["tollgate-envoy", "tollgate-desk"] {
        let module = build_guest_for("wasm32-wasip1", "module", &tests, package, &envoy)?;
        let name = module.file_name().context("a module is a file")?;
        fs::copy(&module, out.join(name)).with_context(|| format!("copy {}", module.display()))?;
    }
    Ok(())
}

/// Compiles the clock that is loaded into an Envoy under test.
fn clock(source: &Path, library: &Path) -> Result<()> {
    let mut rustc = Command::new(env::var_os("RUSTC").context("cargo names the compiler")?);
    rustc.args(["--edition", "2024", "--crate-type", "cdylib", "-C", "opt-level=3", "-C", "panic=abort"]);
    rustc.args(["-C", "strip=symbols", "-o"]).args([library, source]);
    let status = rustc.status().context("run rustc for the clock")?;
    anyhow::ensure!(status.success(), "{} did not compile", source.display());
    Ok(())
}
