//! Opening the place that the configuration names for books and keys.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tollgate_ledger::keys::Keys;
use tollgate_ledger::{Charges, Memory, Store};
use tollgate_redis::{Options, Redis};
use tollgate_settings::{LedgerSettings, Secrets};
use tollgate_sqlite::{Records, Sqlite};

/// Why the books could not be opened, and what to do about it. Holds no secret.
#[derive(Debug)]
pub struct NotOpened(String);

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotOpened {}

/// Opens the store of a server. `now` is milliseconds since the epoch. Needs a Tokio runtime.
///
/// # Errors
/// When the file cannot be used, or is another server's; when the options of Redis cannot be right. Redis itself
/// need not be there yet.
pub async fn open(
    settings: &LedgerSettings,
    secrets: &Secrets,
    now: u64,
) -> Result<Arc<dyn Store>, NotOpened> {
    match settings {
        LedgerSettings::Memory => Ok(Arc::new(Memory::new())),
        LedgerSettings::Sqlite { file } => match Sqlite::open(file, now) {
            Ok(store) => Ok(Arc::new(store)),
            Err(cause) => Err(NotOpened(cause.to_string())),
        },
        LedgerSettings::Redis { journal, .. } => {
            let options = options(settings, secrets, journal.clone())?;
            match Redis::open(options).await {
                Ok(store) => Ok(Arc::new(store)),
                Err(cause) => Err(NotOpened(cause.to_string())),
            }
        }
        LedgerSettings::Remote { .. } => Err(elsewhere()),
    }
}

fn elsewhere() -> NotOpened {
    NotOpened(
        "the configuration keeps the ledger with another server, which has the keys and the rows too".into(),
    )
}

/// Keys and rows of a store, for tools beside a running server.
pub struct Beside {
    /// The keys.
    pub keys: Arc<dyn Keys>,
    /// The rows of the books.
    pub charges: Arc<dyn Charges>,
}

/// Opens what tools need of a store, beside the server that has it.
///
/// # Errors
/// When the store is in memory, and so only inside a server; when the file cannot be used or Redis not be reached.
pub async fn beside(settings: &LedgerSettings, secrets: &Secrets) -> Result<Beside, NotOpened> {
    match settings {
        LedgerSettings::Memory => Err(NotOpened(
            "the configuration keeps the ledger in memory, inside the server: use the `[admin]` listener instead"
                .into(),
        )),
        LedgerSettings::Sqlite { file } => {
            let records = Records::open(file).map_err(|cause| NotOpened(cause.to_string()))?;
            let records = Arc::new(records);
            Ok(Beside { keys: Arc::clone(&records) as _, charges: records })
        }
        LedgerSettings::Redis { .. } => {
            // The journal is the server's; a tool settles nothing.
            let own = tempfile::NamedTempFile::new().map_err(|cause| NotOpened(cause.to_string()))?;
            let opened = Redis::open(options(settings, secrets, own.path().to_owned())?).await;
            // It stays open for as long as it is needed, without a name.
            drop(own);
            let store = Arc::new(opened.map_err(|cause| NotOpened(cause.to_string()))?);
            Ok(Beside { keys: Arc::clone(&store) as _, charges: store })
        }
        LedgerSettings::Remote { .. } => Err(elsewhere()),
    }
}

fn options(settings: &LedgerSettings, secrets: &Secrets, journal: PathBuf) -> Result<Options, NotOpened> {
    let LedgerSettings::Redis { url_env, namespace, local_share_percent, timeout, rows_kept, .. } = settings
    else {
        return Err(NotOpened("the ledger is not in Redis".into()));
    };
    let url = secrets.ledger.as_ref();
    let url = url.ok_or_else(|| NotOpened(format!("the environment variable {url_env} is not set")))?;
    Ok(Options::new(url, journal)
        .namespace(namespace)
        .local_share_percent(u8::try_from(*local_share_percent).unwrap_or(100))
        .answers_within(*timeout)
        .rows(*rows_kept))
}
