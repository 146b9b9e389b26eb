//! What the policy tells of a caller, as the shell keeps it.

use tollgate_ledger::keys::{Limits, Priority};

use crate::caller::Caller;
use crate::policy::wit;

impl From<wit::PrincipalResult> for Caller {
    fn from(principal: wit::PrincipalResult) -> Self {
        let scope = |scope: wit::ScopeResult| (scope.name, owned(scope.limits));
        Self {
            key: principal.key,
            limits: owned(principal.limits),
            scopes: principal.scopes.into_iter().map(scope).collect(),
            models: principal.models,
            priority: match principal.priority {
                wit::Priority::Urgent => Priority::Urgent,
                wit::Priority::Normal => Priority::Normal,
                wit::Priority::Batch => Priority::Batch,
            },
            tags: principal.tags,
            expires_ms: principal.expires_ms,
        }
    }
}

fn owned(limits: wit::LimitsResult) -> Limits {
    Limits {
        requests: limits.requests,
        tokens: limits.tokens,
        concurrent: limits.concurrent,
        budgets: limits.budgets,
    }
}
