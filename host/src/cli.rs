//! What the commands share: reading the configuration, and printing.

pub mod keys;
pub mod ledger;
pub mod prices;
pub mod serve;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tollgate::operator::Operator;
use tollgate::store::{Beside, beside};
use tollgate::{Config, Gateway, Loaded, PolicySource, Problem, Secrets, told};
use tollgate_ledger::Memory;

/// Loads a configuration file; its problems go to standard error, each with its line.
pub fn load(file: &Path, policy: Option<PathBuf>) -> Result<Loaded> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    // The problems name lines of the file; they stand alone, without the chain of an error's contexts.
    Gateway::builder(text).policy(source(policy)).load().map_err(|problems| {
        eprintln!("tollgate: {} cannot be used:", file.display());
        problems.into()
    })
}

/// Where a policy comes from.
pub fn source(policy: Option<PathBuf>) -> PolicySource {
    policy.map_or(PolicySource::Embedded, PolicySource::File)
}

/// The shell's part of a configuration file, and what the environment holds for it.
pub fn settings(file: &Path) -> Result<(Config, Secrets)> {
    let loaded = load(file, None)?;
    Ok((loaded.config().clone(), loaded.secrets().clone()))
}

/// An operator of the store that a configuration file names, beside the server that has it.
pub async fn operator(file: &Path) -> Result<Operator> {
    let loaded = load(file, None)?;
    let Beside { keys, .. } = beside(&loaded.config().ledger, loaded.secrets()).await?;
    Ok(Operator::new(loaded.with_store(Arc::new(Memory::new())), keys))
}

/// What is said of a file without problems: that, and what an operator should know of it all the same.
pub fn checked(file: &Path, notes: &[Problem]) -> String {
    let notes: String = notes.iter().map(|note| format!("note: {}\n", told(note))).collect();
    format!("{notes}{}: no problems\n", file.display())
}

/// To stdout, with an error instead of a panic when nobody reads it.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("write to stdout")
}
