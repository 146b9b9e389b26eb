//! Principals between the crate's types and those of the host's bindings, which borrow what goes in and own what
//! comes out. Conversions only.

use tollgate::policy::wit;
use tollgate_policy::message::{LimitOf, Limits, Principal, Priority, Scope, Unit};

use crate::component::claim;

/// Calls with a principal as the bindings lend one.
pub fn lent<T>(principal: Option<&Principal>, call: impl FnOnce(Option<wit::PrincipalParam<'_>>) -> T) -> T {
    let Some(principal) = principal else { return call(None) };
    let own = texts(&principal.limits.budgets);
    let around: Vec<Vec<&str>> = principal.scopes.iter().map(|scope| texts(&scope.limits.budgets)).collect();
    let scopes: Vec<_> = principal
        .scopes
        .iter()
        .zip(&around)
        .map(|(scope, budgets)| wit::ScopeParam { name: &scope.name, limits: limits(&scope.limits, budgets) })
        .collect();
    let models = principal.models.as_deref().map(texts);
    let tags = texts(&principal.tags);
    call(Some(wit::PrincipalParam {
        key: &principal.key,
        limits: limits(&principal.limits, &own),
        scopes: &scopes,
        models: models.as_deref(),
        priority: match principal.priority {
            Priority::Urgent => wit::Priority::Urgent,
            Priority::Normal => wit::Priority::Normal,
            Priority::Batch => wit::Priority::Batch,
        },
        tags: &tags,
        expires_ms: principal.expires_ms,
    }))
}

fn texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn limits<'l>(limits: &'l Limits, budgets: &'l [&'l str]) -> wit::LimitsParam<'l> {
    wit::LimitsParam {
        requests: limits.requests.as_deref(),
        tokens: limits.tokens.as_deref(),
        concurrent: limits.concurrent,
        budgets,
    }
}

/// A principal of the interface, as the crate has it.
pub fn owned(principal: wit::PrincipalResult) -> Principal {
    let limits = |limits: wit::LimitsResult| Limits {
        requests: limits.requests,
        tokens: limits.tokens,
        concurrent: limits.concurrent,
        budgets: limits.budgets,
    };
    let scope = |scope: wit::ScopeResult| Scope { name: scope.name, limits: limits(scope.limits) };
    Principal {
        key: principal.key,
        limits: limits(principal.limits),
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

/// A limit of the interface, as the crate has it.
pub fn limit(limit: wit::Limit) -> LimitOf {
    LimitOf {
        scope: limit.scope,
        text: limit.text,
        unit: match limit.unit {
            wit::Unit::Requests => Unit::Requests,
            wit::Unit::Tokens => Unit::Tokens,
            wit::Unit::Concurrent => Unit::Concurrent,
            wit::Unit::Money => Unit::Money,
        },
        claim: claim(limit.claim),
    }
}
