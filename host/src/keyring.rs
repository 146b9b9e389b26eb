//! Finding the callers whose keys were made at run time, without asking the store for every request: what is believed
//! for how long is [`tollgate_ledger::keyring`]'s.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_ledger::keyring::{self, Recalled};
use tollgate_ledger::keys::{Digest, Found};
use tollgate_ledger::{Store, Unavailable};

use crate::caller::Caller;

/// Callers that were found lately.
pub(crate) struct Keyring {
    store: Arc<dyn Store>,
    lately: Mutex<keyring::Keyring<Known>>,
}

/// A caller that was found.
#[derive(Clone)]
struct Known(Arc<Caller>);

impl From<Found> for Known {
    fn from(found: Found) -> Self {
        Self(Arc::new(Caller::from(&found)))
    }
}

impl Keyring {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, lately: Mutex::default() }
    }

    /// The caller who presented the secret with this digest, if its key is one of the store's and admits it.
    pub(crate) async fn find(&self, digest: &Digest, now: u64) -> Result<Option<Arc<Caller>>, Unavailable> {
        let recalled = self.lately().recall(digest, now);
        match recalled {
            Recalled::Caller(Known(caller)) => return Ok(Some(caller)),
            Recalled::Stranger => return Ok(None),
            Recalled::Unknown => {}
        }
        match self.store.find(digest).await {
            Ok(found) => Ok(self.lately().learn(digest, found, now).map(|Known(caller)| caller)),
            Err(unavailable) => {
                let silent = self.lately().while_silent(digest, now);
                silent.map(|Known(caller)| Some(caller)).ok_or(unavailable)
            }
        }
    }

    fn lately(&self) -> MutexGuard<'_, keyring::Keyring<Known>> {
        // Nothing under the lock panics; a poisoned one would still hold sound entries.
        self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
