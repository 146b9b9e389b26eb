//! Callers whose keys were made at run time, as the policy takes them. Which of them are believed, and for how long, is
//! [`tollgate_ledger::keyring`]'s.

use std::rc::Rc;

use tollgate_ledger::keys::{self, Found};
use tollgate_policy::{Limits, Principal, Priority, Scope};

/// A caller.
#[derive(Clone)]
pub struct Caller(pub Rc<Principal>);

impl From<Found> for Caller {
    fn from(Found { key, scopes }: Found) -> Self {
        let limited = scopes.into_iter().filter(|scope| !scope.limits.is_empty());
        Self(Rc::new(Principal {
            key: key.name,
            limits: limits(key.limits),
            scopes: limited.map(|scope| Scope { name: scope.name, limits: limits(scope.limits) }).collect(),
            models: key.models,
            priority: match key.priority {
                keys::Priority::Urgent => Priority::Urgent,
                keys::Priority::Normal => Priority::Normal,
                keys::Priority::Batch => Priority::Batch,
            },
            tags: key.tags,
            expires_ms: key.expires_ms,
        }))
    }
}

fn limits(keys::Limits { requests, tokens, concurrent, budgets }: keys::Limits) -> Limits {
    Limits { requests, tokens, concurrent, budgets }
}
