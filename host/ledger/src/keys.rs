//! Keys made at run time: who may call, under which limits, with which secrets, and since when.
//!
//! A key's name is a path of one to three parts, `organisation/team/key`; every prefix of it is a scope, and each
//! scope can have limits of its own. Limits are kept as the operator wrote them (`100/1m`, `10 USD/month`): only
//! the policy knows what they mean, and checks them before they are kept. A secret is kept as its digest.
//!
//! Records are changed by compare-and-set on their version, so two operators at once lose nothing. The rules here
//! are pure; a store only keeps records and finds them.

use serde::{Deserialize, Serialize};

use crate::Pending;
use crate::entry::scopes;

/// SHA-256 of a secret.
pub type Digest = [u8; 32];

/// The limits of one scope, as the operator wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests in a window: `100/1m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<String>,
    /// Tokens in a window: `200000/1m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// Exchanges at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u64>,
    /// Money in periods of the calendar: `10 USD/month`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<String>,
}

impl Limits {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One secret of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its digest; the secret itself was shown once and is nowhere.
    #[serde(with = "hexadecimal")]
    pub digest: Digest,
    /// When it was made: milliseconds since the epoch.
    pub created_ms: u64,
    /// When it stops to be valid, because another took its place.
    pub ends_ms: Option<u64>,
}

/// How urgent a key's requests are unless they say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before all others.
    Urgent,
    /// In their turn.
    #[default]
    Normal,
    /// When there is room.
    Batch,
}

impl Priority {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Normal => "normal",
            Self::Batch => "batch",
        }
    }

    /// The reverse of [`Priority::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Urgent, Self::Normal, Self::Batch].into_iter().find(|priority| priority.as_str() == text)
    }
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// A path of one to three parts: `organisation/team/key`.
    pub name: String,
    /// Its secrets, the newest first.
    pub secrets: Vec<Secret>,
    /// The models it may use; none: every model.
    pub models: Option<Vec<String>>,
    /// The key's own limits.
    pub limits: Limits,
    /// How urgent its requests are.
    pub priority: Priority,
    /// Words that routes can ask for: see [`wrong_with_tags`].
    #[serde(default)]
    pub tags: Vec<String>,
    /// When it was made.
    pub created_ms: u64,
    /// From when on it is no longer valid.
    pub expires_ms: Option<u64>,
    /// When it was revoked, if it was.
    pub revoked_ms: Option<u64>,
    /// Counts its changes: 0 before it is kept for the first time.
    pub version: u64,
}

/// The limits that all keys below a path share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// A path of one or two parts: `organisation` or `organisation/team`.
    pub name: String,
    /// What the keys below it may use together.
    pub limits: Limits,
    /// Counts its changes: 0 before it is kept for the first time.
    pub version: u64,
}

/// A key that was found by one of its secrets, and the scopes around it that have limits, outermost first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The key.
    pub key: Key,
    /// The scopes around it that are kept.
    pub scopes: Vec<Scope>,
}

/// What came of keeping a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept, with a version one higher.
    Done,
    /// Somebody else has changed it since it was read, or made it, or another key has one of its secrets; nothing
    /// was kept.
    Conflict,
}

/// A store of keys.
pub trait Keys: Send + Sync + 'static {
    /// The key that has this digest among its secrets, valid or not, and the scopes around it.
    fn find<'a>(&'a self, digest: &'a Digest) -> Pending<'a, Option<Found>>;

    /// A key by its name.
    fn key<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Key>>;

    /// Every key, by name.
    fn keys(&self) -> Pending<'_, Vec<Key>>;

    /// Keeps a key if the version it has is the version kept now (0: there is none) and none of its secrets is another
    /// key's.
    fn keep_key<'a>(&'a self, key: &'a Key) -> Pending<'a, Kept>;

    /// A scope by its name.
    fn scope<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Scope>>;

    /// Every scope, by name.
    fn scopes(&self) -> Pending<'_, Vec<Scope>>;

    /// Keeps a scope if the version it has is the version kept now (0: there is none).
    fn keep_scope<'a>(&'a self, scope: &'a Scope) -> Pending<'a, Kept>;
}

impl Key {
    /// A new key with its first secret.
    #[must_use]
    pub fn new(name: impl Into<String>, digest: Digest, now: u64) -> Self {
        Self {
            name: name.into(),
            secrets: vec![Secret { digest, created_ms: now, ends_ms: None }],
            models: None,
            limits: Limits::default(),
            priority: Priority::default(),
            tags: Vec::new(),
            created_ms: now,
            expires_ms: None,
            revoked_ms: None,
            version: 0,
        }
    }

    /// Whether a caller with this digest may come in at `now`. Expiry is the policy's to tell, for it has words for
    /// the caller.
    #[must_use]
    pub fn admits(&self, digest: &Digest, now: u64) -> bool {
        self.revoked_ms.is_none()
            && self
                .secrets
                .iter()
                .any(|secret| secret.digest == *digest && secret.ends_ms.is_none_or(|end| now < end))
    }

    /// Takes a new secret; those before stay valid for `overlap_ms` more, or as long as they were going to.
    pub fn rotate(&mut self, digest: Digest, overlap_ms: u64, now: u64) {
        let end = now.saturating_add(overlap_ms);
        // What ended long ago helps nobody.
        self.secrets.retain(|secret| secret.ends_ms.is_none_or(|end| now < end));
        for secret in &mut self.secrets {
            secret.ends_ms = Some(secret.ends_ms.map_or(end, |earlier| earlier.min(end)));
        }
        self.secrets.insert(0, Secret { digest, created_ms: now, ends_ms: None });
    }

    /// Ends the key, for ever. Its row stays, so that the books still know it.
    pub fn revoke(&mut self, now: u64) {
        self.revoked_ms.get_or_insert(now);
    }

    /// The names of the scopes around the key, outermost first, without the key itself.
    pub fn scope_names(&self) -> impl Iterator<Item = &str> {
        scopes(&self.name).filter(|scope| *scope != self.name)
    }
}

/// What is wrong with a name; none if it is a path that a key (`most` 3) or a scope (`most` 2) can have.
#[must_use]
pub fn wrong_with_name(name: &str, most: usize) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let sound = |part: &str| (1..=64).contains(&part.len()) && part.bytes().all(fits);
    let parts = name.split('/').count();
    if parts <= most && name.split('/').all(sound) {
        return None;
    }
    let form = if most > 2 { "organisation/team/key" } else { "organisation/team" };
    Some(format!(
        "a name has 1 to {most} parts such as `{form}`, each 1 to 64 of the characters A-Z a-z 0-9 . _ -"
    ))
}

/// So many tags a key can have.
const MOST_TAGS: usize = 16;

/// Everything that is wrong with a key's tags, each with its place, `tags` or `tags[1]`. Sound ones are at most 16
/// words, each once, of 1 to 64 of the characters A-Z a-z 0-9 . _ : -
#[must_use]
pub fn wrong_with_tags(tags: &[String]) -> Vec<(String, String)> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    let sound = |tag: &str| (1..=64).contains(&tag.len()) && tag.bytes().all(fits);
    let number =
        (tags.len() > MOST_TAGS).then(|| ("tags".into(), format!("must be at most {MOST_TAGS} tags")));
    let words = tags.iter().enumerate().filter_map(|(index, tag)| {
        let wrong = if !sound(tag) {
            "a tag has 1 to 64 of the characters A-Z a-z 0-9 . _ : -"
        } else if tags.iter().take(index).any(|before| before == tag) {
            "is listed twice"
        } else {
            return None;
        };
        Some((format!("tags[{index}]"), wrong.to_owned()))
    });
    number.into_iter().chain(words).collect()
}

/// A digest as 64 lower-case hexadecimal digits.
#[must_use]
pub fn digest_text(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The reverse of [`digest_text`].
#[must_use]
pub fn digest_of(text: &str) -> Option<Digest> {
    let is_lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 64 || !text.bytes().all(is_lower) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::{Digest, digest_of, digest_text};

    pub fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&digest_text(digest))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(from)?;
        digest_of(&text).ok_or_else(|| D::Error::custom("not 64 lower-case hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_key_has_both_secrets_for_the_overlap() {
        let mut key = Key::new("acme/alice", [1; 32], 0);
        key.rotate([2; 32], 100, 1_000);
        for (now, old) in [(1_000, true), (1_099, true), (1_100, false)] {
            assert_eq!(key.admits(&[1; 32], now), old, "{now}");
            assert!(key.admits(&[2; 32], now));
        }
        key.rotate([3; 32], 5_000, 1_050);
        assert!(!key.admits(&[1; 32], 1_100), "a second rotation lengthens nothing");
        key.rotate([4; 32], 0, 2_000);
        assert_eq!(key.secrets.iter().map(|secret| secret.digest[0]).collect::<Vec<_>>(), [4, 3, 2]);
        assert!(!key.admits(&[3; 32], 2_000));
    }

    #[test]
    fn a_revoked_key_admits_nobody() {
        let mut key = Key::new("alice", [1; 32], 0);
        key.revoke(5);
        key.revoke(9);
        assert_eq!(key.revoked_ms, Some(5));
        assert!(!key.admits(&[1; 32], 4));
    }

    #[test]
    fn names_are_paths_of_plain_parts() {
        assert_eq!(wrong_with_name("acme/ml/alice.1", 3), None);
        for bad in ["", "/", "a//b", "a/b/c/d", "a b", "a/ü", "tg_é"] {
            assert!(wrong_with_name(bad, 3).is_some(), "{bad}");
        }
        assert!(wrong_with_name("a/b/c", 2).is_some());
    }

    #[test]
    fn tags_are_few_words_each_once() {
        let wrong = |tags: &[&str]| {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            wrong_with_tags(&tags).into_iter().map(|(at, _)| at).collect::<Vec<_>>()
        };
        let long = "a".repeat(65);
        assert_eq!(wrong(&["batch-team", "eu:west.1_A", &long[1..], "none"]), [""; 0]);
        assert_eq!(
            wrong(&["", "a b", "ok", "ü", &long, "ok"]),
            [0, 1, 3, 4, 5].map(|at| format!("tags[{at}]"))
        );
        let many: Vec<String> = (0..17).map(|number| number.to_string()).collect();
        assert_eq!(wrong_with_tags(&many), [("tags".to_owned(), "must be at most 16 tags".to_owned())]);
        assert_eq!(wrong_with_tags(&many[1..]), []);
    }

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest: Digest = std::array::from_fn(|index| u8::try_from(index * 7).unwrap_or(9));
        assert_eq!(digest_of(&digest_text(&digest)), Some(digest));
        assert_eq!(digest_of(&digest_text(&digest).to_uppercase()), None);
    }
}
