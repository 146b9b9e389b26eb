//! `tollgate prices`: price lists.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate::litellm::{import, is_like};

use super::print;

/// What to do with prices.
#[derive(Subcommand)]
pub enum Prices {
    /// Make a price list for `[prices] file` from LiteLLM's model_prices_and_context_window.json, exactly. What could
    /// not be taken over is told on standard error.
    Import {
        /// LiteLLM's file.
        file: PathBuf,
        /// Write the list there instead of to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Only models whose name in the file is like one of these: `*` is any characters, `?` is one.
        #[arg(long, value_name = "GLOB", num_args = 1..)]
        models: Vec<String>,
        /// The day from which the prices count; default: today, in UTC.
        #[arg(long, value_name = "DAY")]
        since: Option<Date>,
    },
    /// Show what is known of a model: in the price list of a configuration, and in the catalogue.
    Show {
        /// `provider/model`, or the model alone; `*` is any characters, `?` is one.
        model: String,
        /// The configuration file that names a price list.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Does what was asked for.
pub fn run(action: &Prices) -> Result<()> {
    match action {
        Prices::Import { file, out, models, since } => {
            let since = since.unwrap_or_else(|| Offset::UTC.to_datetime(Timestamp::now()).date()).to_string();
            let text = read(file)?;
            let list = import(&text, &since, models).inspect_err(|_| {
                eprintln!("tollgate: {} cannot be used:", file.display());
            })?;
            match out {
                Some(out) => {
                    fs::write(out, list.file()).with_context(|| format!("cannot write {}", out.display()))?;
                }
                None => print(&list.file())?,
            }
            for line in &list.lost {
                eprintln!("{line}");
            }
            let (taken, left_out) = (list.prices.len(), list.left_out);
            eprintln!("{taken} prices taken over, {left_out} models left out, {} remarks", list.lost.len());
            Ok(())
        }
        Prices::Show { model, config } => show(model, config.as_deref()),
    }
}

/// The catalogue that is built into the policy.
const CATALOGUE: &str = include_str!("../../../prices/catalogue.json");

#[derive(Deserialize)]
struct List<'t> {
    #[serde(borrow)]
    prices: Vec<&'t RawValue>,
}

#[derive(Deserialize)]
struct Entry {
    provider: String,
    model: String,
}

fn show(model: &str, config: Option<&Path>) -> Result<()> {
    let own = match config {
        Some(file) => tollgate::read_config(&read(file)?).map_err(tollgate::NotLoaded::Problems)?.prices,
        None => None,
    };
    let own = own.map(|list| read(&list)).transpose()?;
    let mut told = String::new();
    let mut names = Vec::new();
    for text in own.iter().map(String::as_str).chain([CATALOGUE]) {
        let list: List<'_> = serde_json::from_str(text).context("it is not a price list")?;
        let mut found = Vec::new();
        for json in list.prices {
            let Entry { provider, model: named } = serde_json::from_str(json.get())?;
            let name = format!("{provider}/{named}");
            // What the file of the configuration has, the catalogue is not asked for.
            if (is_like(&name, model) || is_like(&named, model)) && !names.contains(&name) {
                told.push_str(json.get());
                told.push('\n');
                found.push(name);
            }
        }
        names.extend(found);
    }
    if told.is_empty() {
        bail!("no price list has `{model}`");
    }
    print(&told)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
