//! The Python that the client tests run in: a virtual environment under `target/`, with the packages that
//! `tests/python/requirements.txt` pins by version and hash. Envoy is one of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{step, tools};

/// Makes the environment if it is missing or older than its requirements, and returns its `python`.
pub fn ensure() -> Result<PathBuf> {
    let requirements = tools::root().join("tests/python/requirements.txt");
    let wanted = fs::read_to_string(&requirements).with_context(|| format!("{}", requirements.display()))?;
    let venv = tools::target_dir()?.join("venv");
    let python = venv.join("bin/python");
    // Written last, so an environment that was left half made does not count.
    let stamp = venv.join("requirements.installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && works(&python) {
        return Ok(python);
    }
    let base = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !works(Path::new(&base)) {
        bail!("the client tests need Python 3.11 or newer: install it, or name it in the variable PYTHON");
    }
    let mut create = Command::new(&base);
    create.args(["-m", "venv", "--clear"]).arg(&venv);
    step::run(create).context("mend it by installing Python's venv module (`apt install python3-venv`)")?;
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "-r",
    ]);
    step::run({
        install.arg(&requirements);
        install
    })
    .context("pip could not install the pinned packages: can it reach its index?")?;
    fs::write(&stamp, wanted)?;
    Ok(python)
}

/// The Envoy that is one of its packages, unless the variable ENVOY names another.
pub fn envoy() -> Result<PathBuf> {
    if let Some(envoy) = std::env::var_os("ENVOY") {
        return Ok(envoy.into());
    }
    let mut find = Command::new(ensure()?);
    find.args(["-c", "import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin' / 'envoy')"]);
    let found = step::output(find).map(|found| PathBuf::from(found.trim()));
    found
        .filter(|envoy| envoy.exists())
        .context("there is no Envoy in target/venv: name one in the variable ENVOY")
}

/// Runs the tests in a folder with pytest, against the gateway's binary.
pub fn pytest(folder: &str, gateway: &Path) -> Result<()> {
    let mut command = Command::new(ensure()?);
    // Nothing is written into the source tree.
    command.args(["-B", "-m", "pytest", "-p", "no:cacheprovider", "--quiet", folder]);
    command.env("TOLLGATE_BIN", gateway).current_dir(tools::root());
    step::run(command)
}

fn works(python: &Path) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", "import sys; sys.exit(sys.version_info < (3, 11))"]);
    step::output(command).is_some()
}
