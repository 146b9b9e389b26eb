//! The keys and the rows of a file, for the server and for tools beside it.
//!
//! Short reads, which every request makes, have a connection of their own. What may take longer (a page of rows, a
//! change that waits for the disk or for another writer) goes through a second one in a thread of its own, so that it
//! never holds up a request or the runtime's threads.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};
use tokio::sync::oneshot;
use tollgate_ledger::keys::{Digest, Found, Kept, Key, Keys, Scope};
use tollgate_ledger::{Charges, Entry, Pending, Query, Unavailable};

use crate::file::{self, OpenError};
use crate::{keys, rows};

/// How long a short read waits for another process. Only one that opens or closes the file keeps readers out.
const READS_WAIT: Duration = Duration::from_millis(250);

/// How long a change waits for another process that writes.
const CHANGES_WAIT: Duration = Duration::from_secs(5);

/// Keys and rows of a ledger's file. For tools beside a running server: a change of a key is seen by the server's next
/// request.
pub struct Records {
    front: Mutex<Connection>,
    back: Arc<Mutex<Connection>>,
}

impl Records {
    /// Opens the file, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, and what can be done about it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let (front, back) = (file::connect(path, CHANGES_WAIT)?, file::connect(path, CHANGES_WAIT)?);
        let unopened =
            |cause: rusqlite::Error| OpenError::Unopened { path: path.to_owned(), reason: cause.to_string() };
        front.busy_timeout(READS_WAIT).map_err(unopened)?;
        Ok(Self { front: Mutex::new(front), back: Arc::new(Mutex::new(back)) })
    }

    /// Whether the exchange has a row.
    pub(crate) fn has_row(&self, request_id: &str) -> Result<bool, Unavailable> {
        let connection = locked(&self.front);
        let mut ask =
            connection.prepare_cached("SELECT 1 FROM charges WHERE request_id = ?1").map_err(unread)?;
        let row = ask.query_row([request_id], |_| Ok(())).optional();
        row.map(|row| row.is_some()).map_err(unread)
    }

    fn at_once<T>(
        &self,
        read: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Unavailable> {
        read(&mut locked(&self.front)).map_err(unread)
    }

    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (back, (tell, told)) = (Arc::clone(&self.back), oneshot::channel());
        let run = move || {
            // Whoever asked may be gone.
            let _ = tell.send(work(&mut locked(&back)));
        };
        let thread = std::thread::Builder::new().name("ledger-records".into()).spawn(run);
        thread.map_err(|cause| Unavailable::new(format!("no thread can be started: {cause}")))?;
        let answer = told.await.map_err(|_| Unavailable::new("the thread that asked the file is gone"))?;
        answer.map_err(unread)
    }
}

impl Charges for Records {
    fn charges<'a>(&'a self, query: &'a Query) -> Pending<'a, Vec<Entry>> {
        let query = query.clone();
        Box::pin(self.aside(move |connection| rows::select(connection, &query)))
    }
}

impl Keys for Records {
    fn find<'a>(&'a self, digest: &'a Digest) -> Pending<'a, Option<Found>> {
        Box::pin(async move { self.at_once(|connection| keys::find(connection, digest)) })
    }

    fn key<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Key>> {
        Box::pin(async move { self.at_once(|connection| keys::key(&*connection.transaction()?, name)) })
    }

    fn keys(&self) -> Pending<'_, Vec<Key>> {
        Box::pin(self.aside(keys::keys))
    }

    fn keep_key<'a>(&'a self, key: &'a Key) -> Pending<'a, Kept> {
        let key = key.clone();
        Box::pin(self.aside(move |connection| keys::keep_key(connection, &key)))
    }

    fn scope<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Scope>> {
        Box::pin(async move { self.at_once(|connection| keys::scope(connection, name)) })
    }

    fn scopes(&self) -> Pending<'_, Vec<Scope>> {
        Box::pin(self.aside(|connection| keys::scopes(connection)))
    }

    fn keep_scope<'a>(&'a self, scope: &'a Scope) -> Pending<'a, Kept> {
        let scope = scope.clone();
        Box::pin(self.aside(move |connection| keys::keep_scope(connection, &scope)))
    }
}

/// Nothing under the lock panics; a poisoned one would still hold a sound connection.
fn locked(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unread(cause: rusqlite::Error) -> Unavailable {
    Unavailable::new(format!("the ledger's file did not answer: {cause}"))
}
