//! Values of the crate, as the shell's.

use super::{policy, wit};

impl From<policy::Loaded> for wit::Loaded {
    fn from(loaded: policy::Loaded) -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let gateway = super::Gateway {
            policy: loaded.gateway,
            request_headers: loaded.request_headers.clone(),
            answer_headers: loaded.answer_headers,
        };
        Self {
            gateway: wit::Gateway::new(gateway),
            request_headers: loaded.request_headers,
            forward_headers: names(loaded.forward_headers),
            answer_headers: names(loaded.answer_headers),
            relay_headers: names(loaded.relay_headers),
            own_headers: names(loaded.own_headers),
            wants_latencies: loaded.wants_latencies,
            notes: all(loaded.notes),
        }
    }
}

impl From<policy::Problem> for wit::Problem {
    fn from(policy::Problem { at, line, message }: policy::Problem) -> Self {
        Self { at, line, message }
    }
}

impl From<policy::OwnHeader> for wit::Header {
    fn from(policy::OwnHeader { name, value }: policy::OwnHeader) -> Self {
        Self { name: name.place(), value }
    }
}

impl From<policy::Reply> for wit::Reply {
    fn from(policy::Reply { status, headers, body }: policy::Reply) -> Self {
        Self { status, headers: all(headers), body }
    }
}

impl From<policy::Identity> for wit::Identity {
    fn from(identity: policy::Identity) -> Self {
        match identity {
            policy::Identity::Reply(reply) => Self::Reply(reply.into()),
            policy::Identity::Caller(policy::Identified { ticket, digest, configured }) => {
                Self::Caller(wit::Identified { ticket, digest: digest.into(), configured })
            }
        }
    }
}

impl From<policy::Rule> for wit::Rule {
    fn from(rule: policy::Rule) -> Self {
        match rule {
            policy::Rule::Window { limit, period_ms } => Self::Window(wit::Window { limit, period_ms }),
            policy::Rule::Budget { limit, start_ms, end_ms } => {
                Self::Budget(wit::Budget { limit, start_ms, end_ms })
            }
            policy::Rule::Slots { limit } => Self::Slots(limit),
        }
    }
}

impl From<policy::Claim> for wit::Claim {
    fn from(policy::Claim { cell, rule, amount }: policy::Claim) -> Self {
        Self { cell, rule: rule.into(), amount }
    }
}

impl From<policy::Edit> for wit::Edit {
    fn from(policy::Edit { start, end, bytes }: policy::Edit) -> Self {
        Self { start, end, bytes }
    }
}

impl From<policy::Target> for wit::Target {
    fn from(policy::Target { upstream, path, edits, breaker }: policy::Target) -> Self {
        let breaker = breaker.map(|policy::Breaker { failures, open_ms, probe_ms }| wit::Breaker {
            failures,
            open_ms,
            probe_ms,
        });
        Self { upstream, path, edits: all(edits), breaker }
    }
}

impl From<policy::Admission> for wit::Admission {
    fn from(admission: policy::Admission) -> Self {
        match admission {
            policy::Admission::Reply(reply) => Self::Reply(reply.into()),
            policy::Admission::Admitted(policy::Admitted { ticket, claims, targets, usage }) => {
                let (claims, targets, usage) = (all(claims), all(targets), usage.into());
                Self::Admitted(wit::Admitted { ticket, claims, targets, usage })
            }
        }
    }
}

impl From<policy::Verdict> for wit::Verdict {
    fn from(verdict: policy::Verdict) -> Self {
        match verdict {
            policy::Verdict::Relay { ticket, headers, inspect } => {
                Self::Relay(wit::Relay { ticket, headers: all(headers), inspect })
            }
            policy::Verdict::Retry { ticket, target, after_ms } => {
                Self::Retry(wit::Retry { ticket, target, after_ms })
            }
            policy::Verdict::Reply { ticket, reply } => {
                Self::Reply(wit::Answered { ticket, reply: reply.into() })
            }
        }
    }
}

impl From<policy::Judgement> for wit::Judgement {
    fn from(policy::Judgement { verdict, health }: policy::Judgement) -> Self {
        let health = match health {
            policy::Health::Good => wit::Health::Good,
            policy::Health::Bad => wit::Health::Bad,
            policy::Health::Denied => wit::Health::Denied,
            policy::Health::Unknown => wit::Health::Unknown,
        };
        Self { verdict: verdict.into(), health }
    }
}

impl From<policy::Fed> for wit::Fed {
    fn from(policy::Fed { ticket, output, holding }: policy::Fed) -> Self {
        let output = match output {
            policy::Output::Pass => wit::Output::Pass,
            policy::Output::Replace(bytes) => wit::Output::Replace(bytes),
            policy::Output::Stop(bytes) => wit::Output::Stop(bytes),
        };
        let holding =
            holding.map(|policy::Holding { amounts, usage }| wit::Holding { amounts, usage: usage.into() });
        Self { ticket, output, holding }
    }
}

impl From<policy::Settlement> for wit::Settlement {
    fn from(policy::Settlement { amounts, usage }: policy::Settlement) -> Self {
        Self { amounts, usage: usage.into() }
    }
}

impl From<policy::Usage> for wit::Usage {
    fn from(usage: policy::Usage) -> Self {
        let policy::Price { input, cached_input, cache_write, output, reasoning, since_ms, source } =
            usage.price;
        Self {
            key: usage.key,
            model: usage.model,
            upstream: usage.upstream,
            upstream_model: usage.upstream_model,
            input_tokens: usage.input_tokens,
            cached_input_tokens: usage.cached_input_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            output_tokens: usage.output_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            estimated: usage.estimated,
            charge: usage.charge,
            currency: usage.currency,
            price: wit::Price { input, cached_input, cache_write, output, reasoning, since_ms, source },
        }
    }
}

impl From<policy::Limits> for wit::Limits {
    fn from(policy::Limits { requests, tokens, concurrent, budgets }: policy::Limits) -> Self {
        Self { requests, tokens, concurrent, budgets }
    }
}

impl From<policy::Scope> for wit::Scope {
    fn from(policy::Scope { name, limits }: policy::Scope) -> Self {
        Self { name, limits: limits.into() }
    }
}

impl From<policy::Principal> for wit::Principal {
    fn from(principal: policy::Principal) -> Self {
        Self {
            key: principal.key,
            limits: principal.limits.into(),
            scopes: all(principal.scopes),
            models: principal.models,
            priority: match principal.priority {
                policy::Priority::Urgent => wit::Priority::Urgent,
                policy::Priority::Normal => wit::Priority::Normal,
                policy::Priority::Batch => wit::Priority::Batch,
            },
            tags: principal.tags,
            expires_ms: principal.expires_ms,
        }
    }
}

impl From<policy::LimitOf> for wit::Limit {
    fn from(policy::LimitOf { scope, text, unit, claim }: policy::LimitOf) -> Self {
        let unit = match unit {
            policy::Unit::Requests => wit::Unit::Requests,
            policy::Unit::Tokens => wit::Unit::Tokens,
            policy::Unit::Concurrent => wit::Unit::Concurrent,
            policy::Unit::Money => wit::Unit::Money,
        };
        Self { scope, text, unit, claim: claim.into() }
    }
}

/// Each of them, turned.
pub fn all<A: Into<B>, B>(values: Vec<A>) -> Vec<B> {
    values.into_iter().map(Into::into).collect()
}
