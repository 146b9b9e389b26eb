//! `[ledger]`: where the books and the keys are kept.

use std::path::PathBuf;
use std::time::Duration;

use tollgate_document::{Node, Problems, Section};

use crate::base_url::BaseUrl;
use crate::value::{time, variable};

/// Where the books are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerSettings {
    /// Nowhere: in memory, for as long as the server runs.
    Memory,
    /// In a file. The default, `tollgate.db` in the working directory.
    Sqlite {
        /// The file.
        file: PathBuf,
    },
    /// In Redis or Valkey, shared with other servers.
    Redis {
        /// The environment variable that holds the URL, `redis://..` or `rediss://..`.
        url_env: String,
        /// What the names of all keys begin with, in braces. Servers of one namespace share everything in it.
        namespace: String,
        /// The part of each limit, in percent, that this server grants while Redis is away.
        local_share_percent: u64,
        /// The file where settlements wait for Redis.
        journal: PathBuf,
        /// How long Redis may take to answer, before it is taken for down.
        timeout: Duration,
        /// About how many rows of the books Redis keeps.
        rows_kept: u64,
    },
    /// With a server that has `[ledger_api]`: for shells without a store of their own.
    Remote {
        /// Where that server listens for shells: `https://ledger.example:8082`.
        url: BaseUrl,
        /// The variable that holds the credential of shells.
        token_env: String,
        /// How long it may take to answer, before it is taken for down.
        timeout: Duration,
        /// The part of each rate limit, in percent, that this shell grants while the server cannot be asked; none:
        /// nobody said.
        local_share_percent: Option<u64>,
    },
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self::Sqlite { file: "tollgate.db".into() }
    }
}

/// How long a hold lives without a sign of life, unless told otherwise.
pub(crate) const LEASE: Duration = Duration::from_secs(600);

/// How long Redis may take to answer, unless told otherwise: a refusal is better than a long wait.
const TIMEOUT: Duration = Duration::from_millis(250);

/// The part of each rate limit, in percent, that one shell grants by itself, unless told otherwise.
pub const LOCAL_SHARE: u64 = 25;

/// Leases are looked at every second: a shorter one would say more than is done.
const LEAST_LEASE: Duration = Duration::from_secs(1);

const STORES: &str = "must be `sqlite`, `redis`, `remote` or `memory`";

/// `lease`, whichever store it is.
pub(crate) fn read_lease(root: &Section<'_>, problems: &mut Problems<'_>) -> Duration {
    let Some(section) = root.get("ledger").filter(|node| node.value().is_table()) else { return LEASE };
    let Some(section) = section.section(problems) else { return LEASE };
    let lease = time(&section, "lease", problems).unwrap_or(LEASE);
    if let Some(node) = section.get("lease").filter(|_| lease < LEAST_LEASE) {
        node.wrong(problems, "must be at least `1s`");
    }
    lease
}

pub(crate) fn read(root: &Section<'_>, problems: &mut Problems<'_>) -> LedgerSettings {
    let Some(section) = root.get("ledger").and_then(|node| node.section(problems)) else {
        return LedgerSettings::default();
    };
    let store = section.get("store");
    let name = match &store {
        None => "sqlite",
        Some(node) => node.text(problems).unwrap_or_default(),
    };
    let settings = match name {
        "memory" => {
            section.only(&["store", "lease"], problems);
            Some(LedgerSettings::Memory)
        }
        "sqlite" => {
            section.only(&["store", "lease", "file"], problems);
            Some(LedgerSettings::Sqlite { file: path(&section, "file", "tollgate.db", problems) })
        }
        "redis" => redis(&section, problems),
        "remote" => remote(&section, problems),
        _ => {
            if let Some(node) = store.filter(|node| node.value().is_str()) {
                node.wrong(problems, STORES);
            }
            None
        }
    };
    settings.unwrap_or_default()
}

fn redis(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<LedgerSettings> {
    section.only(
        &["store", "lease", "url", "timeout", "namespace", "local_share", "journal", "rows_kept"],
        problems,
    );
    let url = section.need("url", "a reference such as `{ env = \"REDIS_URL\" }`", problems);
    let url_env = url.and_then(|node| variable(&node, problems));
    let namespace = match section.get("namespace") {
        None => Some("tollgate".to_owned()),
        Some(node) => namespace(&node, problems),
    };
    let whole = |name, least, most, default, problems: &mut Problems<'_>| match section.get(name) {
        None => Some(default),
        Some(node) => node.whole(least, most, problems),
    };
    let local_share_percent = whole("local_share", 1, 100, LOCAL_SHARE, problems);
    let rows_kept = whole("rows_kept", 1_000, 1_000_000_000, 1_000_000, problems);
    Some(LedgerSettings::Redis {
        journal: path(section, "journal", "tollgate.journal", problems),
        url_env: url_env?,
        namespace: namespace?,
        local_share_percent: local_share_percent?,
        timeout: time(section, "timeout", problems).unwrap_or(TIMEOUT),
        rows_kept: rows_kept?,
    })
}

fn remote(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<LedgerSettings> {
    section.only(&["store", "lease", "url", "token", "timeout", "local_share"], problems);
    let url = section.need("url", "where a server with `[ledger_api]` listens for shells", problems);
    let url = url.and_then(|node| BaseUrl::read(&node, problems));
    let token = section.need("token", "a reference such as `{ env = \"TOLLGATE_LEDGER_TOKEN\" }`", problems);
    let token_env = token.and_then(|node| variable(&node, problems));
    let timeout = time(section, "timeout", problems).unwrap_or(TIMEOUT);
    let local_share_percent = section.get("local_share").and_then(|node| node.whole(1, 100, problems));
    Some(LedgerSettings::Remote { url: url?, token_env: token_env?, timeout, local_share_percent })
}

fn namespace(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<String> {
    let text = node.text(problems)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        return Some(text.to_owned());
    }
    node.wrong(problems, "must have 1 to 64 of the characters A-Z a-z 0-9 _ -");
    None
}

fn path(section: &Section<'_>, name: &str, default: &str, problems: &mut Problems<'_>) -> PathBuf {
    let text = section.get(name).and_then(|node| {
        let text = node.text(problems)?;
        if text.is_empty() {
            node.wrong(problems, "must be the path of a file");
        }
        Some(text)
    });
    text.unwrap_or(default).into()
}
