//! Finding the callers whose keys were made at run time, without asking the store for every request.
//!
//! What was found is believed for two seconds, so a change is in force everywhere within five. While the store does
//! not answer, what was found lately is believed for longer: who was let in a minute ago still is. How many are
//! remembered is bounded, and strangers do not push out anybody: they are remembered apart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tollgate_ledger::keys::Digest;
use tollgate_ledger::{Store, Unavailable};

use crate::caller::Caller;

/// How long an answer of the store is believed, in milliseconds.
const FRESH_MS: u64 = 2_000;

/// How long it is believed while the store does not answer, in milliseconds.
const STALE_MS: u64 = 300_000;

/// How many callers, and how many strangers, are remembered.
const REMEMBERED: usize = 100_000;

/// Callers that were found lately.
pub(crate) struct Keyring {
    store: Arc<dyn Store>,
    callers: Mutex<HashMap<Digest, Known>>,
    strangers: Mutex<HashMap<Digest, u64>>,
}

/// A caller that was found.
#[derive(Clone)]
struct Known {
    seen_ms: u64,
    /// When the secret stops to be valid, if another took its place.
    ends_ms: Option<u64>,
    caller: Arc<Caller>,
}

impl Keyring {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, callers: Mutex::default(), strangers: Mutex::default() }
    }

    /// The caller who presented the secret with this digest, if its key is one of the store's and admits it.
    pub(crate) async fn find(&self, digest: &Digest, now: u64) -> Result<Option<Arc<Caller>>, Unavailable> {
        let known = locked(&self.callers).get(digest).cloned();
        let known = known.filter(|known| known.ends_ms.is_none_or(|end| now < end));
        if let Some(known) = &known
            && is_within(known.seen_ms, now, FRESH_MS)
        {
            return Ok(Some(Arc::clone(&known.caller)));
        }
        if locked(&self.strangers).get(digest).is_some_and(|seen| is_within(*seen, now, FRESH_MS)) {
            return Ok(None);
        }
        let found = match self.store.find(digest).await {
            Ok(found) => found,
            Err(unavailable) => {
                let stale = known.filter(|known| is_within(known.seen_ms, now, STALE_MS));
                return stale.map(|known| Some(known.caller)).ok_or(unavailable);
            }
        };
        let Some(found) = found.filter(|found| found.key.admits(digest, now)) else {
            locked(&self.callers).remove(digest);
            remember(&self.strangers, digest, now, FRESH_MS, |seen| *seen);
            return Ok(None);
        };
        let caller = Arc::new(Caller::from(&found));
        let secret = found.key.secrets.iter().find(|secret| secret.digest == *digest);
        let ends_ms = secret.and_then(|secret| secret.ends_ms);
        let known = Known { seen_ms: now, ends_ms, caller: Arc::clone(&caller) };
        remember(&self.callers, digest, known, STALE_MS, |known| known.seen_ms);
        Ok(Some(caller))
    }
}

fn is_within(seen: u64, now: u64, span_ms: u64) -> bool {
    // A clock that went back makes nothing fresh.
    seen <= now && now.saturating_sub(seen) < span_ms
}

/// Keeps an entry; where there is no room, those that are of no use any more make some, or all do.
fn remember<V>(
    memory: &Mutex<HashMap<Digest, V>>,
    digest: &Digest,
    value: V,
    span_ms: u64,
    seen: impl Fn(&V) -> u64,
) {
    let mut memory = locked(memory);
    if memory.len() >= REMEMBERED && !memory.contains_key(digest) {
        let now = seen(&value);
        memory.retain(|_, value| is_within(seen(value), now, span_ms));
        if memory.len() >= REMEMBERED {
            memory.clear();
        }
    }
    memory.insert(*digest, value);
}

/// Nothing under these locks panics; a poisoned one would still hold sound entries.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
