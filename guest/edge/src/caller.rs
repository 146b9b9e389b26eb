//! A caller whose key was made at run time, as the policy takes it: names, texts and times, no secret.
//!
//! The host compiles this file too, against its own bindings of the same interface.

use tollgate_ledger::keys::{Found, Key, Limits, Priority, Scope};

use crate::wit;

/// A caller with everything the policy must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub key: String,
    pub limits: Limits,
    pub scopes: Vec<(String, Limits)>,
    pub models: Option<Vec<String>>,
    pub priority: Priority,
    pub tags: Vec<String>,
    pub expires_ms: Option<u64>,
}

impl Caller {
    pub(crate) fn new(key: &Key, scopes: &[Scope]) -> Self {
        let limited = scopes.iter().filter(|scope| !scope.limits.is_empty());
        Self {
            key: key.name.clone(),
            limits: key.limits.clone(),
            scopes: limited.map(|scope| (scope.name.clone(), scope.limits.clone())).collect(),
            models: key.models.clone(),
            priority: key.priority,
            tags: key.tags.clone(),
            expires_ms: key.expires_ms,
        }
    }

    /// Lends it in the form of the interface.
    pub(crate) fn lend<T>(&self, to: impl FnOnce(wit::PrincipalParam<'_>) -> T) -> T {
        let budgets = texts(&self.limits.budgets);
        let scope_budgets: Vec<Vec<&str>> =
            self.scopes.iter().map(|(_, limits)| texts(&limits.budgets)).collect();
        let scopes: Vec<wit::ScopeParam<'_>> = std::iter::zip(&self.scopes, &scope_budgets)
            .map(|((name, limits), budgets)| wit::ScopeParam { name, limits: lent(limits, budgets) })
            .collect();
        let models = self.models.as_deref().map(texts);
        let tags = texts(&self.tags);
        to(wit::PrincipalParam {
            key: &self.key,
            limits: lent(&self.limits, &budgets),
            scopes: &scopes,
            models: models.as_deref(),
            priority: match self.priority {
                Priority::Urgent => wit::Priority::Urgent,
                Priority::Normal => wit::Priority::Normal,
                Priority::Batch => wit::Priority::Batch,
            },
            tags: &tags,
            expires_ms: self.expires_ms,
        })
    }
}

impl From<&Found> for Caller {
    fn from(found: &Found) -> Self {
        Self::new(&found.key, &found.scopes)
    }
}

fn texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn lent<'a>(limits: &'a Limits, budgets: &'a [&'a str]) -> wit::LimitsParam<'a> {
    wit::LimitsParam {
        requests: limits.requests.as_deref(),
        tokens: limits.tokens.as_deref(),
        concurrent: limits.concurrent,
        budgets,
    }
}
