//! Reloading the configuration: on SIGHUP, or when one of its files changes.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::gateway::{Gateway, PolicySource};

/// How often files are looked at. Polling sees what file events miss: a swapped symlink, a network mount.
const PERIOD: Duration = Duration::from_secs(1);

/// The files of a configuration, as they were when they were looked at last.
pub struct Watch {
    config: PathBuf,
    files: Vec<PathBuf>,
    seen: Vec<Option<(SystemTime, u64)>>,
    hangup: Signal,
}

impl Watch {
    /// Looks at the files and listens for SIGHUP. Comes before they are read: a change in between is then seen. Needs
    /// a Tokio runtime.
    ///
    /// # Errors
    /// When the process cannot listen for SIGHUP.
    pub fn begin(config: &Path, policy: &PolicySource) -> std::io::Result<Self> {
        let mut files = vec![config.to_owned()];
        if let PolicySource::File(policy) = policy {
            files.push(policy.clone());
        }
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self { config: config.to_owned(), seen: stamps(&files), files, hangup })
    }

    /// Keeps the gateway in step with the files, for ever. A configuration with a problem is not put in force, and
    /// the log says why.
    pub async fn keep(mut self, gateway: Gateway) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {}
                () = tokio::time::sleep(PERIOD) => {
                    if stamps(&self.files) == self.seen {
                        continue;
                    }
                }
            }
            self.seen = stamps(&self.files);
            reload(&gateway, &self.config);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(body_limit: &str) -> String {
        format!(
            "[server]\nbody_limit = \"{body_limit}\"\n[upstreams.main]\nbase_url = \"http://127.0.0.1:9/v1\"\n\
             [[models]]\nname = \"m\"\ntargets = [{{ upstream = \"main\" }}]\nprice = \"free\"\n\
             [[keys]]\nname = \"k\"\ndigest = \"sha256:{}\"\n",
            "0".repeat(64)
        )
    }

    #[tokio::test]
    async fn a_change_between_the_reading_and_the_watching_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tollgate.toml");
        std::fs::write(&file, config("16MiB")).unwrap();
        let watch = Watch::begin(&file, &PolicySource::Embedded).unwrap();
        let gateway = Gateway::builder(std::fs::read_to_string(&file).unwrap()).build().unwrap();
        std::fs::write(&file, config("9MiB")).unwrap();
        let kept = tokio::spawn(watch.keep(gateway.clone()));
        let changed = async {
            while gateway.config().server.body_limit != 9 << 20 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), changed).await.unwrap();
        kept.abort();
    }
}
