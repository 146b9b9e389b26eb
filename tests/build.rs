//! Builds the hostile policy component, the shells with the policy, and the modules for Envoy, as the host's build script
//! builds the policy.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, Result};

include!("../guest/build_guest.rs");

/// What they are made of.
const WATCHED: [&str; 27] = [
    "../.cargo/config.toml",
    "../Cargo.lock",
    "../Cargo.toml",
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
    "../host/ledger/sqlite/src/schema.sql",
    "../host/ledger/stepwise/src",
    "../prices",
];

fn main() -> Result<()> {
    let tests = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    for path in WATCHED {
        println!("cargo::rerun-if-changed={}", tests.join(path).display());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target_dir = out.ancestors().nth(4).context("the target directory holds OUT_DIR")?;
    let workspace = tests.parent().context("the tests lie in the workspace")?;
    let built = |target, profile, package| {
        build_guest(target, profile, workspace, package, target_dir, Stdio::inherit)
    };
    let copies = [
        (built("wasm32-wasip2", "guest", "tollgate-hostile")?, "hostile.wasm"),
        (built("wasm32-wasip2", "module", "tollgate-provider")?, "provider.wasm"),
        (built("wasm32-wasip1", "module", "tollgate-desk")?, "tollgate_desk.wasm"),
    ];
    for (wasm, name) in copies {
        fs::copy(&wasm, out.join(name)).with_context(|| format!("copy {}", wasm.display()))?;
    }
    // What is deployed is tested: as small as `cargo xtask` makes it.
    let deployed = [
        ("wasm32-wasip2", "tollgate-component", "policy.wasm"),
        ("wasm32-wasip2", "tollgate-spin", "spin.wasm"),
        ("wasm32-wasip2", "tollgate-portable", "portable.wasm"),
        ("wasm32-wasip1", "tollgate-envoy", "tollgate_envoy.wasm"),
    ];
    for (target, package, name) in deployed {
        shrink(&built(target, "module", package)?, &out.join(name))?;
    }
    clock(&tests.join("clock/clock.rs"), &out.join("clock.so"))
}

/// It takes time, so what it was made of is kept beside it: lints and tests run this script each.
fn shrink(wasm: &Path, smaller: &Path) -> Result<()> {
    let (before, after) = (wasm.with_extension("before"), wasm.with_extension("after"));
    let bytes = fs::read(wasm).with_context(|| format!("read {}", wasm.display()))?;
    if !after.exists() || fs::read(&before).ok().as_ref() != Some(&bytes) {
        fs::write(&after, tollgate_shrink::smaller(wasm)?)
            .with_context(|| format!("write {}", after.display()))?;
        fs::write(&before, bytes).with_context(|| format!("write {}", before.display()))?;
    }
    fs::copy(&after, smaller).with_context(|| format!("copy {}", after.display()))?;
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
