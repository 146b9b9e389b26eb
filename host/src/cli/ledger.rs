//! `tollgate ledger`: the rows of the books, for other programs.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Subcommand, ValueEnum};
use tollgate::store::{Beside, beside};
use tollgate_ledger::{Entry, Query};

use super::keys::moment;
use super::settings;

/// How many rows are fetched at once.
const PAGE: usize = 10_000;

/// What to do with the books.
#[derive(Subcommand)]
pub enum Ledger {
    /// Write every row, the oldest first, to standard output. Works while the server runs.
    Export {
        /// The configuration file that names the store.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// How a row looks.
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
        /// Only exchanges that began then or later: `2026-11-01`, or a moment of RFC 3339.
        #[arg(long, value_name = "WHEN")]
        from: Option<String>,
        /// Only exchanges that began before.
        #[arg(long, value_name = "WHEN")]
        to: Option<String>,
        /// Only this key, or the keys of this scope.
        #[arg(long, value_name = "NAME")]
        scope: Option<String>,
    },
}

/// How a row looks.
#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    /// A JSON object a line.
    Jsonl,
    /// Comma-separated values, with a line of names first (RFC 4180).
    Csv,
}

/// Does what was asked for.
pub async fn run(ledger: Ledger) -> Result<()> {
    let Ledger::Export { config, format, from, to, scope } = ledger;
    let mut query = Query { scope, limit: PAGE, ..Query::default() };
    if let Some(from) = from {
        query.from_ms = moment(&from)?;
    }
    if let Some(to) = to {
        query.to_ms = moment(&to)?;
    }
    let (settings, secrets) = settings(&config)?;
    let Beside { charges, .. } = beside(&settings.ledger, &secrets).await?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if matches!(format, Format::Csv) {
        writeln!(out, "{}", CSV.map(|(name, _)| name).join(",")).context("write to stdout")?;
    }
    loop {
        let rows = charges.charges(&query).await?;
        for row in &rows {
            match format {
                Format::Jsonl => serde_json::to_writer(&mut out, row)?,
                Format::Csv => write!(out, "{}", CSV.map(|(_, value)| csv(&value(row))).join(","))?,
            }
            writeln!(out).context("write to stdout")?;
        }
        let Some(last) = rows.last().filter(|_| rows.len() >= PAGE) else { break };
        query.after = Some((last.at_ms, last.request_id.clone()));
    }
    out.flush().context("write to stdout")
}

type Value = fn(&Entry) -> String;

/// The columns, in the order of a row's fields.
const CSV: [(&str, Value); 25] = [
    ("request_id", |row| row.request_id.clone()),
    ("at_ms", |row| row.at_ms.to_string()),
    ("key", |row| row.key.clone()),
    ("model", |row| row.model.clone()),
    ("upstream", |row| row.upstream.clone().unwrap_or_default()),
    ("upstream_model", |row| row.upstream_model.clone().unwrap_or_default()),
    ("input_tokens", |row| row.input_tokens.to_string()),
    ("cached_input_tokens", |row| row.cached_input_tokens.to_string()),
    ("cache_write_tokens", |row| row.cache_write_tokens.to_string()),
    ("output_tokens", |row| row.output_tokens.to_string()),
    ("reasoning_tokens", |row| row.reasoning_tokens.to_string()),
    ("estimated", |row| row.estimated.to_string()),
    ("charge_nano", |row| row.charge.to_string()),
    ("currency", |row| row.currency.clone()),
    ("price_input_pico", |row| row.price.input.to_string()),
    ("price_cached_input_pico", |row| row.price.cached_input.to_string()),
    ("price_cache_write_pico", |row| row.price.cache_write.to_string()),
    ("price_output_pico", |row| row.price.output.to_string()),
    ("price_reasoning_pico", |row| row.price.reasoning.to_string()),
    ("price_since_ms", |row| row.price.since_ms.map_or_else(String::new, |ms| ms.to_string())),
    ("price_source", |row| row.price.source.clone().unwrap_or_default()),
    ("status", |row| row.status.to_string()),
    ("outcome", |row| row.outcome.as_str().to_owned()),
    ("duration_ms", |row| row.duration_ms.to_string()),
    ("first_byte_ms", |row| row.first_byte_ms.map_or_else(String::new, |ms| ms.to_string())),
];

/// A value of RFC 4180; one that a spreadsheet would take for a formula begins with an apostrophe.
fn csv(value: &str) -> String {
    let safe = if value.starts_with(['=', '+', '-', '@']) { format!("'{value}") } else { value.to_owned() };
    if safe.contains([',', '"', '\n', '\r']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}
