//! Builds the hostile policy component, as the host's build script builds the real one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let tests = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap());
    for path in ["hostile/src", "hostile/Cargo.toml", "../wit"] {
        println!("cargo::rerun-if-changed={}", tests.join(path).display());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    // Not the target directory of the real one: both would wait for each other.
    let target = out.ancestors().nth(4).unwrap().join("hostile");
    build(&tests, &target);
    fs::copy(target.join("wasm32-wasip2/guest/tollgate_hostile.wasm"), out.join("hostile.wasm")).unwrap();
}

fn build(tests: &Path, target: &Path) {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap());
    cargo
        .current_dir(tests)
        .args(["build", "--package", "tollgate-hostile", "--profile", "guest", "--locked"])
        .args(["--target", "wasm32-wasip2", "--target-dir"])
        .arg(target);
    // What the outer build was given for the native target is not meant for wasm.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let ours = name.starts_with("CARGO_PROFILE_") || name.ends_with("RUSTFLAGS");
        if ours || ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"].contains(&&*name) {
            cargo.env_remove(name);
        }
    }
    assert!(cargo.status().unwrap().success(), "the hostile component did not build");
}
