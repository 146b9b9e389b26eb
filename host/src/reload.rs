//! Reloading the configuration: on SIGHUP, or when one of its files changes.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tollgate_document::Problem;

use crate::config::Config;
use crate::gateway::Gateway;
use crate::generation::{declared_prices, told};
use crate::shell::PolicySource;

/// How often files are looked at. Polling sees what file events miss: a swapped symlink, a network mount.
const PERIOD: Duration = Duration::from_secs(1);

/// The files of a configuration, as they were when they were looked at last.
pub struct Watch {
    config: PathBuf,
    policy: Option<PathBuf>,
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
        let policy = match policy {
            PolicySource::File(policy) => Some(policy.clone()),
            PolicySource::Embedded => None,
        };
        let hangup = signal(SignalKind::hangup())?;
        let files = Vec::new();
        let mut watch = Self { config: config.to_owned(), policy, seen: Vec::new(), files, hangup };
        watch.look();
        Ok(watch)
    }

    /// Looks at every file: the configuration, the policy, and the price list that the configuration names now.
    fn look(&mut self) {
        // Each before it is read: a change after that is then seen.
        self.files = vec![self.config.clone()];
        self.seen = stamps(&self.files);
        let prices = std::fs::read_to_string(&self.config).ok().and_then(|text| declared_prices(&text));
        let others: Vec<_> = self.policy.iter().cloned().chain(prices).collect();
        self.seen.extend(stamps(&others));
        self.files.extend(others);
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
            self.look();
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
            tell(&gateway.notes());
            let after = gateway.config();
            let of_start = |config: &Config| {
                let server = &config.server;
                let server = (server.listen, server.head_limit, server.head_timeout, server.connections);
                (server, config.ledger.clone(), config.ledger_api.clone(), config.admin.clone())
            };
            if of_start(&after) != of_start(&before) {
                tracing::warn!(
                    "`[ledger]`, `[ledger_api]`, `[admin]` and of `[server]` `listen`, `head_limit`, `head_timeout` and \
                     `connections` take effect at the next start"
                );
            }
        }
        Err(cause) => {
            tracing::error!(file = %config.display(), %cause, "not reloaded: the configuration before stays in force");
        }
    }
}

/// Tells what an operator should know of although nothing is wrong with it.
pub fn tell(notes: &[Problem]) {
    for note in notes {
        tracing::warn!("{}", told(note));
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

    /// Waits until a watched gateway is in the state that is looked for.
    async fn seen(gateway: &Gateway, watch: Watch, is_there: impl Fn() -> bool) {
        let kept = tokio::spawn(watch.keep(gateway.clone()));
        let changed = async {
            while !is_there() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), changed).await.unwrap();
        kept.abort();
    }

    #[tokio::test]
    async fn a_price_list_is_watched_too_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (file, prices) = (folder.path().join("tollgate.toml"), folder.path().join("prices.json"));
        let unknown = "price = { catalogue = \"a/b\" }";
        let table = format!("[prices]\nunknown = \"free\"\nfile = \"{}\"\n", prices.display());
        std::fs::write(&file, table + &config("16MiB").replace("price = \"free\"", unknown)).unwrap();
        let entry = "{\"provider\":\"a\",\"model\":\"b\",\"currency\":\"JPY\",\"source\":\"s\",\"since\":\"2026-01-31\",\
                     \"input\":\"1\",\"output\":\"1\"}";
        std::fs::write(&prices, format!("{{\"prices\":[{entry}]}}")).unwrap();
        let watch = || Watch::begin(&file, &PolicySource::Embedded).unwrap();
        let first = watch();
        let gateway = Gateway::builder(std::fs::read_to_string(&file).unwrap()).build().unwrap();
        assert_eq!(gateway.notes().len(), 0);
        std::fs::write(&prices, "broken").unwrap();
        assert!(gateway.reload(&std::fs::read_to_string(&file).unwrap()).is_err());
        std::fs::write(&prices, "{\"prices\":[]}").unwrap();
        seen(&gateway, first, || gateway.notes().len() == 1).await;
        let second = watch();
        std::fs::write(&prices, format!("{{\"prices\":[{entry}] }}")).unwrap();
        seen(&gateway, second, || gateway.notes().is_empty()).await;
    }

    #[tokio::test]
    async fn a_change_between_the_reading_and_the_watching_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tollgate.toml");
        std::fs::write(&file, config("16MiB")).unwrap();
        let watch = Watch::begin(&file, &PolicySource::Embedded).unwrap();
        let gateway = Gateway::builder(std::fs::read_to_string(&file).unwrap()).build().unwrap();
        std::fs::write(&file, config("9MiB")).unwrap();
        seen(&gateway, watch, || gateway.config().server.body_limit == 9 << 20).await;
    }
}
