//! The callers that a store of keys was asked about lately, so that it is not asked for every request.
//!
//! What was found is believed for two seconds, so a change is in force everywhere within five. While the store does
//! not answer, what was found lately is believed for longer: who was let in a minute ago still is. How many are
//! remembered is bounded, and strangers do not push out anybody: they are remembered apart.

use std::collections::BTreeMap;

use crate::keys::{Digest, Found};

/// How long an answer of the store is believed, in milliseconds.
const FRESH_MS: u64 = 2_000;

/// How long it is believed while the store does not answer, in milliseconds.
const STALE_MS: u64 = 300_000;

/// How many callers, and how many strangers, are remembered.
const REMEMBERED: usize = 100_000;

/// Callers as a shell keeps them, and digests that are nobody's.
#[derive(Debug)]
pub struct Keyring<C> {
    callers: BTreeMap<Digest, Known<C>>,
    strangers: BTreeMap<Digest, u64>,
}

#[derive(Debug)]
struct Known<C> {
    seen_ms: u64,
    /// When the secret stops to be valid, if another took its place.
    ends_ms: Option<u64>,
    caller: C,
}

/// What is known of a digest without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recalled<C> {
    /// Whose it is.
    Caller(C),
    /// Nobody's.
    Stranger,
    /// The store must be asked.
    Unknown,
}

impl<C> Default for Keyring<C> {
    fn default() -> Self {
        Self { callers: BTreeMap::new(), strangers: BTreeMap::new() }
    }
}

impl<C: Clone> Keyring<C> {
    /// What is believed at `now`, milliseconds since the epoch.
    #[must_use]
    pub fn recall(&self, digest: &Digest, now: u64) -> Recalled<C> {
        if let Some(caller) = self.seen_within(FRESH_MS, digest, now) {
            return Recalled::Caller(caller);
        }
        match self.strangers.get(digest) {
            Some(seen_ms) if is_within(*seen_ms, now, FRESH_MS) => Recalled::Stranger,
            _ => Recalled::Unknown,
        }
    }

    /// What is still believed while the store does not answer.
    #[must_use]
    pub fn while_silent(&self, digest: &Digest, now: u64) -> Option<C> {
        self.seen_within(STALE_MS, digest, now)
    }

    /// Takes in what the store has found, and says whose the digest is, if its key admits it.
    pub fn learn(&mut self, digest: &Digest, found: Option<Found>, now: u64) -> Option<C>
    where
        C: From<Found>,
    {
        let Some(found) = found.filter(|found| found.key.admits(digest, now)) else {
            self.callers.remove(digest);
            remember(&mut self.strangers, digest, now, |seen_ms| is_within(*seen_ms, now, FRESH_MS));
            return None;
        };
        let secret = found.key.secrets.iter().find(|secret| secret.digest == *digest);
        let ends_ms = secret.and_then(|secret| secret.ends_ms);
        let caller = C::from(found);
        let known = Known { seen_ms: now, ends_ms, caller: caller.clone() };
        remember(&mut self.callers, digest, known, |known| is_within(known.seen_ms, now, STALE_MS));
        Some(caller)
    }

    fn seen_within(&self, span_ms: u64, digest: &Digest, now: u64) -> Option<C> {
        let known = self.callers.get(digest).filter(|known| known.ends_ms.is_none_or(|end| now < end))?;
        is_within(known.seen_ms, now, span_ms).then(|| known.caller.clone())
    }
}

fn is_within(seen_ms: u64, now: u64, span_ms: u64) -> bool {
    // A clock that went back makes nothing fresh.
    seen_ms <= now && now.saturating_sub(seen_ms) < span_ms
}

/// Keeps an entry; where there is no room, those that are of no use any more make some, or all do.
fn remember<V>(memory: &mut BTreeMap<Digest, V>, digest: &Digest, value: V, is_of_use: impl Fn(&V) -> bool) {
    if memory.len() >= REMEMBERED && !memory.contains_key(digest) {
        memory.retain(|_, value| is_of_use(value));
        if memory.len() >= REMEMBERED {
            memory.clear();
        }
    }
    memory.insert(*digest, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Key;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Name(String);

    impl From<Found> for Name {
        fn from(found: Found) -> Self {
            Self(found.key.name)
        }
    }

    const DIGEST: Digest = [7; 32];

    fn alice() -> Found {
        Found { key: Key::new("alice", DIGEST, 0), scopes: Vec::new() }
    }

    fn name() -> Name {
        Name("alice".to_owned())
    }

    #[test]
    fn an_answer_is_believed_for_two_seconds_and_for_minutes_while_the_store_is_silent() {
        let mut ring = Keyring::<Name>::default();
        assert_eq!(ring.recall(&DIGEST, 1_000), Recalled::Unknown);
        assert_eq!(ring.learn(&DIGEST, Some(alice()), 1_000), Some(name()));
        assert_eq!(ring.recall(&DIGEST, 2_999), Recalled::Caller(name()));
        assert_eq!(ring.recall(&DIGEST, 3_000), Recalled::Unknown);
        assert_eq!(ring.recall(&DIGEST, 999), Recalled::Unknown, "a clock that went back");
        assert_eq!(ring.while_silent(&DIGEST, 300_999), Some(name()));
        assert_eq!(ring.while_silent(&DIGEST, 301_000), None);
    }

    #[test]
    fn a_stranger_is_remembered_and_a_revoked_caller_forgotten() {
        let mut ring = Keyring::<Name>::default();
        ring.learn(&DIGEST, Some(alice()), 1_000);
        let mut revoked = alice();
        revoked.key.revoke(3_500);
        assert_eq!(ring.learn(&DIGEST, Some(revoked), 4_000), None);
        assert_eq!(ring.recall(&DIGEST, 5_999), Recalled::Stranger);
        assert_eq!(ring.while_silent(&DIGEST, 5_999), None);
        assert_eq!(ring.recall(&DIGEST, 6_000), Recalled::Unknown);
    }

    #[test]
    fn a_rotated_secret_ends_when_it_ends_however_lately_it_was_seen() {
        let mut ring = Keyring::<Name>::default();
        let mut rotated = alice();
        rotated.key.rotate([8; 32], 500, 1_000);
        ring.learn(&DIGEST, Some(rotated), 1_000);
        assert_eq!(ring.recall(&DIGEST, 1_499), Recalled::Caller(name()));
        assert_eq!(ring.recall(&DIGEST, 1_500), Recalled::Unknown);
        assert_eq!(ring.while_silent(&DIGEST, 1_500), None);
    }
}
