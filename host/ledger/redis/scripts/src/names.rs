//! The names of keys in Redis.
//!
//! All of them begin with the namespace in braces. That is a hash tag: in a cluster one namespace lives on one shard,
//! because the claims of an exchange are one atomic step. No name holds a caller's text: cells and breakers are named
//! by a hash, and an exchange's id is ours.

use sha2::{Digest as _, Sha256};
use tollgate_ledger::Unavailable;

/// Names inside one namespace.
#[derive(Debug)]
pub struct Names {
    /// Open holds by the end of their lease: a sorted set.
    pub leases: String,
    /// Open holds by the time their lease began: a sorted set.
    pub begun: String,
    /// The time `expire` has seen, less a grace: milliseconds since the epoch.
    pub horizon: String,
    /// The rows of the books: a stream.
    pub charges: String,
    /// Records of keys by name: a hash.
    pub keys: String,
    /// Names of keys by digest: a hash.
    pub digests: String,
    /// Records of scopes by name: a hash.
    pub scopes: String,
    tag: String,
}

impl Names {
    /// The names inside a namespace.
    pub fn new(namespace: &str) -> Self {
        let name = |what: &str| format!("{{{namespace}}}{what}");
        Self {
            leases: name("leases"),
            begun: name("begun"),
            horizon: name("horizon"),
            charges: name("charges"),
            keys: name("keys"),
            digests: name("digests"),
            scopes: name("scopes"),
            tag: name(""),
        }
    }

    /// An exchange's hold.
    ///
    /// # Errors
    ///
    /// The id is not 1 to 64 of `[A-Za-z0-9_-]`.
    pub fn hold(&self, id: &str) -> Result<String, Unavailable> {
        if is_plain(id) {
            return Ok(format!("{}hold:{id}", self.tag));
        }
        Err(Unavailable::new("an exchange's id is 1 to 64 of the characters A-Z a-z 0-9 _ -"))
    }

    /// A cell.
    pub fn cell(&self, name: &str) -> String {
        format!("{}cell:{}", self.tag, hash(name))
    }

    /// A breaker.
    pub fn breaker(&self, name: &str) -> String {
        format!("{}breaker:{}", self.tag, hash(name))
    }
}

/// Whether a text is 1 to 64 of `[A-Za-z0-9_-]`.
pub fn is_plain(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// 128 bits of SHA-256 in hexadecimal: nobody finds two names with the same.
fn hash(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    let half = digest.first_chunk().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_the_namespace_as_its_hash_tag() {
        let names = Names::new("main");
        let hold = names.hold("req_1").unwrap();
        let (cell, breaker) = (names.cell("a }{ b\r\n"), names.breaker("x"));
        let fixed = [&names.leases, &names.begun, &names.horizon, &names.charges, &names.keys];
        for name in fixed.into_iter().chain([&names.digests, &names.scopes, &hold, &cell, &breaker]) {
            let inner = name.strip_prefix("{main}").unwrap();
            assert!(
                inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_-".contains(&byte)),
                "{name}"
            );
        }
    }

    #[test]
    fn an_id_that_is_not_ours_names_nothing() {
        let names = Names::new("main");
        for bad in ["", "a b", "a\n", "{x}", "é", &"a".repeat(65)] {
            assert!(names.hold(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cells_are_told_apart_by_their_whole_name() {
        let names = Names::new("main");
        assert_ne!(names.cell("a"), names.cell("b"));
        assert_eq!(names.cell("a").len(), "{main}cell:".len() + 32);
    }
}
