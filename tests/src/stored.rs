//! Keys that were made at run time, as vectors write them.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tollgate_ledger::keys::{self, Kept, Keys};
use tollgate_policy::message::{Header, Limits, Principal, Priority, Scope};

use crate::books;
use crate::instant::Instant;

/// A key in the shell's store.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// The key itself, as a client presents it.
    pub secret: String,
    /// Its name.
    pub key: String,
    #[serde(default)]
    limits: Written,
    /// The limits of the scopes around it that are kept, by their names.
    #[serde(default)]
    scopes: BTreeMap<String, Written>,
    models: Option<Vec<String>>,
    #[serde(default)]
    priority: Urgency,
    #[serde(default)]
    tags: Vec<String>,
    expires: Option<Instant>,
    /// Whether it was ended for ever.
    #[serde(default)]
    pub revoked: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    requests: Option<String>,
    tokens: Option<String>,
    concurrent: Option<u64>,
    #[serde(default)]
    budgets: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Urgency {
    Urgent,
    #[default]
    Normal,
    Batch,
}

impl Stored {
    /// What a shell tells the policy of it. The order of paths is that of their names: outermost first.
    pub fn principal(&self) -> Principal {
        let scope =
            |(name, limits): (&String, &Written)| Scope { name: name.clone(), limits: limits.limits() };
        Principal {
            key: self.key.clone(),
            limits: self.limits.limits(),
            scopes: self.scopes.iter().map(scope).collect(),
            models: self.models.clone(),
            priority: match self.priority {
                Urgency::Urgent => Priority::Urgent,
                Urgency::Normal => Priority::Normal,
                Urgency::Batch => Priority::Batch,
            },
            tags: self.tags.clone(),
            expires_ms: self.expires.map(|expires| expires.ms),
        }
    }

    /// Puts it into a server's store.
    pub fn keep(&self, store: &dyn Keys) {
        let digest = Sha256::digest(&self.secret).into();
        let mut key = keys::Key::new(&self.key, digest, 0);
        key.limits = self.limits.kept();
        key.models.clone_from(&self.models);
        key.priority = match self.priority {
            Urgency::Urgent => keys::Priority::Urgent,
            Urgency::Normal => keys::Priority::Normal,
            Urgency::Batch => keys::Priority::Batch,
        };
        key.tags.clone_from(&self.tags);
        key.expires_ms = self.expires.map(|expires| expires.ms);
        key.revoked_ms = self.revoked.then_some(0);
        assert_eq!(books::wait(store.keep_key(&key)), Kept::Done, "two keys of one name or secret");
        for (name, limits) in &self.scopes {
            let scope = keys::Scope { name: name.clone(), limits: limits.kept(), version: 0 };
            assert_eq!(books::wait(store.keep_scope(&scope)), Kept::Done, "two scopes of one name");
        }
    }

    /// Whether these headers present it. A shell compares digests.
    pub fn is_presented(&self, headers: &[Header]) -> bool {
        headers.iter().any(|header| header.value.split(' ').any(|word| word == self.secret))
    }
}

impl Written {
    fn kept(&self) -> keys::Limits {
        let Limits { requests, tokens, concurrent, budgets } = self.limits();
        keys::Limits { requests, tokens, concurrent, budgets }
    }

    fn limits(&self) -> Limits {
        Limits {
            requests: self.requests.clone(),
            tokens: self.tokens.clone(),
            concurrent: self.concurrent,
            budgets: self.budgets.clone(),
        }
    }
}
