//! The log: one JSON object a line on standard error, or text for people.
//!
//! A line is put into a buffer, and a thread writes what has gathered there every few milliseconds:
//! an exchange never waits for who reads the log. When nobody reads it, the buffer fills up to its bound, and lines
//! are then dropped and counted. What lines say is decided where they are written; none holds a body or a key.

mod json;
mod sink;

use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry};

use self::json::Json;
use self::sink::{Lines, Sink};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON objects.
    Json,
    /// Text.
    Text,
}

/// Writes what is left when it is dropped: at the end of the program.
pub struct Flush(Arc<Sink>);

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Sends the events of this process to standard error: those that `TOLLGATE_LOG` lets through (as `info` or
/// `tollgate=debug`), or those of level info and above.
///
/// # Errors
/// When there is no thread to be had, or the process has a log already.
pub fn to_stderr(format: Format) -> Result<Flush, Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_from_env("TOLLGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let sink = Sink::start(std::io::stderr())?;
    let layer = match format {
        Format::Json => Json::new(Arc::clone(&sink)).boxed(),
        Format::Text => fmt::layer().with_writer(Lines(Arc::clone(&sink))).boxed(),
    };
    registry().with(layer.with_filter(filter)).try_init()?;
    Ok(Flush(sink))
}
