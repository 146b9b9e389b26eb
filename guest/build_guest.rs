// Building a guest component. Included by the build scripts of `host` and `tests`, and by `xtask`.

/// Runs cargo for one package and one of Rust's wasm targets, with one of the workspace's profiles, and returns where the
/// result is: in a target directory of its own, since the outer cargo holds the lock of `shared`, which is its own one.
/// `workspace` is the workspace's folder, from where they are built to be deployed too: from a package's own, cargo would join
/// that package's features in. `output` is where cargo writes what it has to tell.
fn build_guest(
    target: &str,
    profile: &str,
    workspace: &std::path::Path,
    package: &str,
    shared: &std::path::Path,
    output: fn() -> std::process::Stdio,
) -> anyhow::Result<std::path::PathBuf> {
    use anyhow::Context as _;

    let target_dir = shared.join("guest");

    let cargo = std::env::var_os("CARGO").context("cargo runs this script")?;
    let mut cargo = std::process::Command::new(cargo);
    cargo
        .current_dir(workspace)
        .args(["build", "--package", package, "--profile", profile, "--locked"])
        .args(["--target", target, "--target-dir"])
        .arg(&target_dir)
        .stdout(output())
        .stderr(output());
    // What the outer build was given for the native target is not meant for wasm.
    for (name, _) in std::env::vars() {
        let ours = name.starts_with("CARGO_PROFILE_") || name.ends_with("RUSTFLAGS");
        if ours || ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"].contains(&&*name) {
            cargo.env_remove(name);
        }
    }
    let status = cargo.status().context("run cargo for a component")?;
    anyhow::ensure!(
        status.success(),
        "{package} did not build; if its target is missing, `rustup target add {target}` (or any \
         `cargo xtask` command) adds it"
    );
    Ok(target_dir.join(target).join(profile).join(package.replace('-', "_")).with_extension("wasm"))
}
