//! The `tollgate` command.

mod cli;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tollgate::NotLoaded;
use tollgate::litellm::NotACatalogue;

use crate::cli::keys::Keys;
use crate::cli::ledger::Ledger;
use crate::cli::prices::Prices;
use crate::cli::serve::Serve;

/// An exchange makes dozens of small allocations; the system's allocator takes twice as long for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A bad configuration: EX_CONFIG of sysexits.h.
const BAD_CONFIGURATION: u8 = 78;

/// A file that is not what it should be: EX_DATAERR of sysexits.h.
const BAD_DATA: u8 = 65;

/// A gateway for LLM APIs whose policy is one sandboxed component.
#[derive(Parser)]
#[command(name = "tollgate", version)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Serve requests.
    Serve(Serve),
    /// Check a configuration file: every problem at once, exit code 78 if there is one.
    Check {
        /// The configuration file.
        file: PathBuf,
        /// Check with this policy instead of the built-in one.
        #[arg(long, value_name = "FILE.wasm")]
        policy: Option<PathBuf>,
    },
    /// Keys that clients present.
    Keys {
        #[command(subcommand)]
        action: Keys,
    },
    /// Prices of models.
    Prices {
        #[command(subcommand)]
        action: Prices,
    },
    /// The rows of the books.
    Ledger {
        #[command(subcommand)]
        action: Ledger,
    },
}

fn main() -> ExitCode {
    let outcome = match Command::parse().action {
        Action::Serve(serve) => cli::serve::run(&serve),
        Action::Check { file, policy } => {
            cli::load(&file, policy).and_then(|loaded| cli::print(&cli::checked(&file, loaded.notes())))
        }
        Action::Keys { action } => tool(cli::keys::run(action)),
        Action::Prices { action } => cli::prices::run(&action),
        Action::Ledger { action } => tool(cli::ledger::run(action)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(match error {
                error if error.is::<NotLoaded>() => BAD_CONFIGURATION,
                error if error.is::<NotACatalogue>() => BAD_DATA,
                _ => 1,
            })
        }
    }
}

/// Runs what needs no more than a moment and one thread.
fn tool(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("start the runtime")?.block_on(work)
}
