//! Reloading the configuration: on SIGHUP, or when one of its files changes.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::gateway::{Gateway, PolicySource};

/// How often files are looked at. Polling sees what file events miss: a swapped symlink, a network mount.
const PERIOD: Duration = Duration::from_secs(1);

/// Keeps a gateway's configuration in step with its file, for ever. A configuration with a problem is not put in
/// force, and the log says why.
///
/// # Errors
/// When the process cannot listen for SIGHUP.
pub async fn watch(gateway: Gateway, config: PathBuf) -> std::io::Result<()> {
    let mut files = vec![config.clone()];
    if let PolicySource::File(policy) = gateway.policy_source() {
        files.push(policy.clone());
    }
    let mut hangup = signal(SignalKind::hangup())?;
    let mut seen = stamps(&files);
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = tokio::time::sleep(PERIOD) => {
                if stamps(&files) == seen {
                    continue;
                }
            }
        }
        seen = stamps(&files);
        reload(&gateway, &config);
    }
}

fn reload(gateway: &Gateway, config: &Path) {
    let before = gateway.config();
    let text = match std::fs::read_to_string(config) {
        Ok(text) => text,
        Err(cause) => {
            tracing::error!(file = %config.display(), %cause, "not reloaded: the file cannot be read");
            return;
        }
    };
    match gateway.reload(&text) {
        Ok(()) => {
            tracing::info!(file = %config.display(), "reloaded");
            let after = gateway.config();
            let of_start = |config: &Config| {
                let server = &config.server;
                let server = (server.listen, server.head_limit, server.head_timeout, server.connections);
                (server, config.ledger.clone(), config.admin.clone())
            };
            if of_start(&after) != of_start(&before) {
                tracing::warn!(
                    "`[ledger]`, `[admin]` and of `[server]` `listen`, `head_limit`, `head_timeout` and \
                     `connections` take effect at the next start"
                );
            }
        }
        Err(cause) => {
            tracing::error!(file = %config.display(), %cause, "not reloaded: the configuration before stays in force");
        }
    }
}

/// What tells one state of a file from another.
fn stamps(files: &[PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    files
        .iter()
        .map(|file| {
            let metadata = std::fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
        .collect()
}
