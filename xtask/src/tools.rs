//! What the commands need besides cargo: where things are, the wasm target, cargo-deny.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step;

/// What the policy component and the modules for Envoy are built for.
const WASM_TARGETS: [&str; 2] = ["wasm32-wasip2", "wasm32-wasip1"];

/// The cargo-deny that `deny.toml` was written for.
const CARGO_DENY: &str = "0.20.2";

/// What runs on this machine. Every command takes this same selection: cargo joins the features of the packages it is
/// given, so another selection would build the large dependencies once more.
pub const NATIVE: &[&str] = &[
    "--workspace",
    "--exclude",
    "tollgate-component",
    "--exclude",
    "tollgate-desk",
    "--exclude",
    "tollgate-edge",
    "--exclude",
    "tollgate-envoy",
    "--exclude",
    "tollgate-hostile",
    "--exclude",
    "tollgate-portable",
    "--exclude",
    "tollgate-provider",
    "--exclude",
    "tollgate-spin",
];

/// What is built for wasm only, by its target.
pub const WASM: [(&str, &[&str]); 2] = [
    (
        "wasm32-wasip2",
        &[
            "--package",
            "tollgate-component",
            "--package",
            "tollgate-edge",
            "--package",
            "tollgate-hostile",
            "--package",
            "tollgate-portable",
            "--package",
            "tollgate-provider",
            "--package",
            "tollgate-spin",
        ],
    ),
    ("wasm32-wasip1", &["--package", "tollgate-envoy", "--package", "tollgate-desk"]),
];

/// The repository's root.
pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The folder cargo builds into: this program lies in `<target>/<profile>/`.
pub fn target_dir() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where xtask lies")?;
    let target =
        this.ancestors().nth(2).context("xtask lies in no target folder: run it as `cargo xtask`")?;
    Ok(target.to_path_buf())
}

/// Builds a binary with a cargo profile, and says where it is.
pub fn build(name: &str, profile: &str) -> Result<PathBuf> {
    let bin = ["--bin", name, "--profile", profile];
    step::run(step::cargo(&[&["build", "--locked"], NATIVE, &bin].concat()))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target_dir()?.join(folder).join(name))
}

/// Makes sure that the compiler can build for wasm.
pub fn ensure_wasm_target() -> Result<()> {
    for target in WASM_TARGETS.into_iter().filter(|target| !has_target(target)) {
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add", target]).current_dir(root());
        step::run(rustup).with_context(|| {
            format!("Rust's target {target} is missing and rustup could not add it; see https://rustup.rs")
        })?;
        if !has_target(target) {
            bail!(
                "rustup added {target}, but not to the compiler in use: is another `rustc` first on your PATH?"
            );
        }
    }
    Ok(())
}

fn has_target(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(root());
    step::output(rustc).is_some_and(|folder| Path::new(folder.trim()).is_dir())
}

/// A cargo-deny of the right version: the one on the PATH, or else one kept under `target/tools`, which is
/// installed first when it is not there.
pub fn cargo_deny() -> Result<PathBuf> {
    let tools = target_dir()?.join("tools");
    let kept = tools.join("bin").join("cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), kept.clone()] {
        if version_of(&candidate).as_deref() == Some(CARGO_DENY) {
            return Ok(candidate);
        }
    }
    println!(
        "cargo-deny {CARGO_DENY} is not on the PATH: installing it into target/tools (a minute or two, once)"
    );
    // Optimised it takes three times as long to build, to save a second of each run.
    let mut install = step::cargo(&["install", "cargo-deny", "--locked", "--debug", "--force", "--quiet"]);
    install.args(["--version", CARGO_DENY, "--root"]).arg(&tools);
    install.env("CARGO_TARGET_DIR", tools.join("build"));
    install.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
    step::run(install).with_context(|| {
        format!(
            "mend it with `cargo install cargo-deny --locked --version {CARGO_DENY}`, then run this again"
        )
    })?;
    // Hundreds of megabytes that nothing reads again; if they stay, they only take room.
    let _removed = std::fs::remove_dir_all(tools.join("build"));
    Ok(kept)
}

/// Debian's packages of the programs that are run, each with one of its programs.
const PACKAGES: [(&str, &str); 3] =
    [("redis-server", "redis-server"), ("faketime", "faketime"), ("binaryen", "wasm-opt")];

/// Makes sure that programs are there, of those that are run: installs the packages of those that are missing, as root or by
/// `sudo`.
pub fn ensure_programs(programs: &[&str]) -> Result<()> {
    let is_missing = |(_, program): &&(&str, &str)| programs.contains(program) && !runs(program);
    let missing: Vec<&str> = PACKAGES.iter().filter(is_missing).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = || format!("mend it with `apt install {}`, then run this again", missing.join(" "));
    apt_get(&["update"]).with_context(by_hand)?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], &missing[..]].concat()).with_context(by_hand)
}

fn runs(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version");
    step::output(command).is_some()
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut id = Command::new("id");
    id.arg("-u");
    let is_root = step::output(id).is_some_and(|id| id.trim() == "0");
    let mut command = Command::new(if is_root { "apt-get" } else { "sudo" });
    if !is_root {
        command.args(["-n", "apt-get"]);
    }
    step::run({
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command
    })
}

fn version_of(cargo_deny: &Path) -> Option<String> {
    let mut command = Command::new(cargo_deny);
    command.arg("--version");
    step::output(command)?.split_whitespace().last().map(str::to_owned)
}
