//! Keys that were made at run time, as vectors write them.

use std::collections::BTreeMap;

use serde::Deserialize;
use tollgate_policy::message::{Header, Limits, Principal, Priority, Scope};

use crate::vector::Instant;

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
            expires_ms: self.expires.map(|expires| expires.ms),
        }
    }

    /// Whether these headers present it. A shell compares digests.
    pub fn is_presented(&self, headers: &[Header]) -> bool {
        headers.iter().any(|header| header.value.split(' ').any(|word| word == self.secret))
    }
}

impl Written {
    fn limits(&self) -> Limits {
        Limits {
            requests: self.requests.clone(),
            tokens: self.tokens.clone(),
            concurrent: self.concurrent,
            budgets: self.budgets.clone(),
        }
    }
}
