//! Opens the file: its connection, its tables, its version and its lock.
//!
//! A file that this crate cannot keep books in is refused with what a person can do about it; nothing in it is
//! changed before that is certain. One of an earlier version gets the tables of this one. Never reads or writes a row.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

const SCHEMA: &str = concat!(include_str!("schema.sql"), include_str!("views.sql"));

/// `application_id` and `user_version` of `schema.sql`.
const APPLICATION: i64 = 1_953_459_308;
const VERSION: i64 = 2;

/// What makes a file of each version, from 1 on, one of the next. Before, what was written to a cache cost what input
/// costs, and reasoning what output costs.
const STEPS: [&str; 1] = ["ALTER TABLE keys ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE charges ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE charges ADD COLUMN cache_write_price INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE charges ADD COLUMN reasoning_price INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE charges ADD COLUMN price_since_ms INTEGER;
    ALTER TABLE charges ADD COLUMN price_source TEXT;
    ALTER TABLE charges ADD COLUMN price_since TEXT
        AS (strftime('%Y-%m-%d', price_since_ms / 1000.0, 'unixepoch'));
    UPDATE charges SET cache_write_price = input_price, reasoning_price = output_price;
    PRAGMA user_version = 2;"];

/// Why a file cannot be the ledger.
#[derive(Debug)]
pub enum OpenError {
    /// Another server has it.
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is of a newer Tollgate.
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        version: i64,
    },
    /// It is something else.
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// It can be read but not written.
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// It, or its lock, cannot be opened.
    Unopened {
        /// The file.
        path: PathBuf,
        /// What the system or SQLite says.
        reason: String,
    },
    /// A row in it cannot be understood.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Which row, and why.
        reason: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path } => write!(
                f,
                "another server keeps its books in {}: stop it, or give this one a file of its own",
                path.display()
            ),
            Self::Newer { path, version } => write!(
                f,
                "{} was written by a newer Tollgate (tables of version {version}, this one knows up to {VERSION}): \
                 run that version or a later one, or restore a copy from before it",
                path.display()
            ),
            Self::NotALedger { path } => write!(
                f,
                "{} is not a ledger of Tollgate: name another file, or move this one away",
                path.display()
            ),
            Self::ReadOnly { path } => write!(
                f,
                "{} cannot be written: give this user the right to write the file and its directory",
                path.display()
            ),
            Self::Unopened { path, reason } => write!(
                f,
                "{} cannot be opened ({reason}): the directory must exist on a local disk, and this user must be \
                 able to write in it",
                path.display()
            ),
            Self::Unreadable { path, reason } => write!(
                f,
                "{} has a row that cannot be understood ({reason}): mend or delete it with the sqlite3 shell, or \
                 restore a copy",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}

/// Takes the file for this server alone, until what is returned is dropped.
pub fn lock(path: &Path) -> Result<File, OpenError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let unopened = |cause: std::io::Error| OpenError::Unopened {
        path: PathBuf::from(&beside),
        reason: cause.to_string(),
    };
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(&beside);
    let lock = open.map_err(unopened)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(unopened(cause)),
    }
}

/// A connection to the file, whose tables are made if it is new. A lock of another process is waited for as long as
/// `patience`.
pub fn connect(path: &Path, patience: Duration) -> Result<Connection, OpenError> {
    let named = |cause: rusqlite::Error| match cause.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotALedger { path: path.to_owned() },
        Some(ErrorCode::ReadOnly) => OpenError::ReadOnly { path: path.to_owned() },
        _ => OpenError::Unopened { path: path.to_owned(), reason: cause.to_string() },
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut connection = Connection::open_with_flags(path, flags).map_err(named)?;
    connection.busy_timeout(patience).map_err(named)?;
    if connection.is_readonly("main").map_err(named)? {
        return Err(OpenError::ReadOnly { path: path.to_owned() });
    }
    // One moment of the file: another program may be making its tables.
    let moment = connection.transaction().map_err(named)?;
    let version = version(&moment, path, named)?;
    drop(moment);
    if version < VERSION {
        set_up(&mut connection, path, named)?;
    }
    if log_ahead(&connection, patience).map_err(named)? != "wal" {
        let reason = "the file system cannot share memory between processes".to_owned();
        return Err(OpenError::Unopened { path: path.to_owned(), reason });
    }
    // The log is copied back every 16 MiB: less often than by default, since each time stops the commits for as long
    // as the disk needs; and few enough to be read in a moment after a crash.
    let set = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 4000;";
    connection.execute_batch(set).map_err(named)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// The version of the file's tables; 0: it has none yet.
fn version(
    connection: &Connection,
    path: &Path,
    named: impl Fn(rusqlite::Error) -> OpenError + Copy,
) -> Result<i64, OpenError> {
    let number = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0)).map_err(named);
    let application = number("PRAGMA application_id")?;
    match number("PRAGMA user_version")? {
        0 if application == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 => Ok(0),
        version @ 1..=VERSION if application == APPLICATION => Ok(version),
        version if application == APPLICATION && version > VERSION => {
            Err(OpenError::Newer { path: path.to_owned(), version })
        }
        _ => Err(OpenError::NotALedger { path: path.to_owned() }),
    }
}

fn set_up(
    connection: &mut Connection,
    path: &Path,
    named: impl Fn(rusqlite::Error) -> OpenError + Copy,
) -> Result<(), OpenError> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(named)?;
    // Two programs may open the file at once: the second finds the tables made.
    match version(&change, path, named)? {
        0 => change.execute_batch(SCHEMA).map_err(named)?,
        version => {
            let made = usize::try_from(version).unwrap_or(0).saturating_sub(1);
            STEPS.iter().skip(made).try_for_each(|step| change.execute_batch(step)).map_err(named)?;
        }
    }
    change.commit().map_err(named)
}

/// Has changes written to a log beside the file, which readers never wait for. A file keeps this once it is so.
fn log_ahead(connection: &Connection, patience: Duration) -> rusqlite::Result<String> {
    let began = Instant::now();
    loop {
        let mode = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0));
        // SQLite does not wait here for another program that opens the new file at the same time.
        match mode {
            Err(cause)
                if cause.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && began.elapsed() < patience =>
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            mode => return mode,
        }
    }
}
