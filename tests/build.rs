//! Builds the hostile policy component, the shells with the policy, and the modules for Envoy, as the host's build script
//! builds the policy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result};

include!("../guest/build_guest.rs");

/// What they are made of.
const WATCHED: [&str; 23] = [
    "clock/clock.rs",
    "hostile/src",
    "hostile/Cargo.toml",
    "desk/src",
    "desk/Cargo.toml",
    "../wit",
    "../guest/build_guest.rs",
    "../guest/component/src",
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
        ("tollgate-component", "module", "policy.wasm"),
        ("tollgate-spin", "shell", "spin.wasm"),
        ("tollgate-portable", "shell", "portable.wasm"),
    ];
    for (package, profile, name) in components {
        let component = build_guest_for("wasm32-wasip2", profile, &tests, package, &target.join("guest"))?;
        shrink(&component, &out.join(name))?;
    }
    let provider =
        build_guest_for("wasm32-wasip2", "shell", &tests, "tollgate-provider", &target.join("guest"))?;
    fs::copy(&provider, out.join("provider.wasm")).with_context(|| format!("copy {}", provider.display()))?;
    clock(&tests.join("clock/clock.rs"), &out.join("clock.so"))?;
    let envoy = target.join("envoy-modules");
    let module = |package| build_guest_for("wasm32-wasip1", "module", &tests, package, &envoy);
    shrink(&module("tollgate-envoy")?, &out.join("tollgate_envoy.wasm"))?;
    let desk = module("tollgate-desk")?;
    fs::copy(&desk, out.join("tollgate_desk.wasm")).with_context(|| format!("copy {}", desk.display()))?;
    Ok(())
}

/// What is deployed is tested: as small as `cargo xtask` makes it.
fn shrink(wasm: &Path, smaller: &Path) -> Result<()> {
    let bytes = tollgate_shrink::smaller(wasm)?;
    fs::write(smaller, bytes).with_context(|| format!("write {}", smaller.display()))
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
