//! One command run for the person at the terminal: shown as it can be typed, and timed.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs a command with its output shown; any exit code but 0 is an error that names the command.
pub fn run(mut command: Command) -> Result<()> {
    let shown = show(&command);
    println!("$ {shown}");
    let status = command.status().with_context(|| format!("could not start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// What a command prints, if it runs and succeeds.
pub fn output(mut command: Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// A cargo command, run by the cargo that runs us.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(crate::tools::root());
    command
}

/// A command as a person would type it in the repository's root, variables first.
fn show(command: &Command) -> String {
    let mut shown = String::new();
    let words = command.get_envs().filter_map(|(name, value)| Some((Some(name), value?)));
    let words = words.chain([(None, command.get_program())]).chain(command.get_args().map(|arg| (None, arg)));
    for (name, word) in words {
        let space = if shown.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = match name {
            Some(name) => write!(shown, "{space}{}={}", name.display(), quoted(word)),
            None => write!(shown, "{space}{}", quoted(word)),
        };
    }
    shown
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let root = format!("{}/", crate::tools::root().display());
    let word = word.strip_prefix(&root).unwrap_or(&word);
    let word = if word.ends_with("/bin/cargo") { "cargo" } else { word };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
