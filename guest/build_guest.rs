// Building a guest component from a build script. Included by the build scripts of `host` and `tests`.

/// Runs cargo for one package, in a target directory of its own: the outer cargo holds the lock of its own one.
/// Returns where the component is.
fn build_guest(
    workspace: &std::path::Path,
    package: &str,
    target_dir: &std::path::Path,
) -> anyhow::Result<std::path::PathBuf> {
    build_guest_for("wasm32-wasip2", "guest", workspace, package, target_dir)
}

/// The same for one of Rust's wasm targets, with one of the workspace's profiles.
fn build_guest_for(
    target: &str,
    profile: &str,
    workspace: &std::path::Path,
    package: &str,
    target_dir: &std::path::Path,
) -> anyhow::Result<std::path::PathBuf> {
    use anyhow::Context as _;

    let cargo = std::env::var_os("CARGO").context("cargo runs this script")?;
    let mut cargo = std::process::Command::new(cargo);
    cargo
        .current_dir(workspace)
        .args(["build", "--package", package, "--profile", profile, "--locked"])
        .args(["--target", target, "--target-dir"])
        .arg(target_dir);
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
