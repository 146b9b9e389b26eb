//! Values of the shell, as the crate's.

use super::from_guest::all;
use super::{policy, wit};

/// Headers with these names; traps on one that is not among them.
pub fn headers<S: AsRef<str>>(headers: Vec<wit::Header>, names: &[S]) -> Vec<policy::Header> {
    let named = |wit::Header { name, value }| {
        let name = usize::try_from(name).ok().and_then(|place| names.get(place));
        let name = name.unwrap_or_else(|| std::process::abort());
        policy::Header { name: name.as_ref().to_owned(), value }
    };
    headers.into_iter().map(named).collect()
}

impl From<wit::Limits> for policy::Limits {
    fn from(wit::Limits { requests, tokens, concurrent, budgets }: wit::Limits) -> Self {
        Self { requests, tokens, concurrent, budgets }
    }
}

impl From<wit::Scope> for policy::Scope {
    fn from(wit::Scope { name, limits }: wit::Scope) -> Self {
        Self { name, limits: limits.into() }
    }
}

impl From<wit::Principal> for policy::Principal {
    fn from(principal: wit::Principal) -> Self {
        Self {
            key: principal.key,
            limits: principal.limits.into(),
            scopes: all(principal.scopes),
            models: principal.models,
            priority: match principal.priority {
                wit::Priority::Urgent => policy::Priority::Urgent,
                wit::Priority::Normal => policy::Priority::Normal,
                wit::Priority::Batch => policy::Priority::Batch,
            },
            tags: principal.tags,
            expires_ms: principal.expires_ms,
        }
    }
}

impl From<wit::Fault> for policy::Fault {
    fn from(fault: wit::Fault) -> Self {
        match fault {
            wit::Fault::Connect => Self::Connect,
            wit::Fault::Timeout => Self::Timeout,
            wit::Fault::Closed => Self::Closed,
            wit::Fault::Malformed => Self::Malformed,
        }
    }
}

fn outcome(outcome: wit::Outcome, names: &[&str]) -> policy::Outcome {
    match outcome {
        wit::Outcome::Answer(wit::Answer { status, headers: list, body }) => {
            policy::Outcome::Answer(policy::Answer { status, headers: headers(list, names), body })
        }
        wit::Outcome::Fault(fault) => policy::Outcome::Fault(fault.into()),
        wit::Outcome::Tripped(wait_ms) => policy::Outcome::Tripped(wait_ms),
    }
}

impl From<wit::Limited> for policy::Limited {
    fn from(wit::Limited { claim, retry_after_ms, standings }: wit::Limited) -> Self {
        Self { claim, retry_after_ms, standings: all(standings) }
    }
}

impl From<wit::Surroundings> for policy::Surroundings {
    fn from(wit::Surroundings { now_ms, random, latencies }: wit::Surroundings) -> Self {
        Self { now_ms, random, latencies }
    }
}

impl From<wit::Standing> for policy::Standing {
    fn from(wit::Standing { remaining, reset_ms }: wit::Standing) -> Self {
        Self { remaining, reset_ms }
    }
}

/// A try; its answer's headers have these names.
pub fn attempt(attempt: wit::Attempt, names: &[&str]) -> policy::Attempt {
    let wit::Load { requests, retries } = attempt.load;
    policy::Attempt {
        target: attempt.target,
        number: attempt.number,
        outcome: outcome(attempt.outcome, names),
        standings: all(attempt.standings),
        now_ms: attempt.now_ms,
        random: attempt.random,
        load: policy::Load { requests, retries },
    }
}

impl From<wit::Ending> for policy::Ending {
    fn from(ending: wit::Ending) -> Self {
        match ending {
            wit::Ending::Undispatched => Self::Undispatched,
            wit::Ending::Completed => Self::Completed,
            wit::Ending::ClientLeft => Self::ClientLeft,
            wit::Ending::UpstreamBroke => Self::UpstreamBroke,
            wit::Ending::PolicyFailed => Self::PolicyFailed,
        }
    }
}

impl From<wit::Failure> for policy::Failure {
    fn from(failure: wit::Failure) -> Self {
        match failure {
            wit::Failure::Malformed(why) => Self::Malformed(why),
            wit::Failure::HeadTooLarge(why) => Self::HeadTooLarge(why),
            wit::Failure::BodyTooLarge(most) => Self::BodyTooLarge(most),
            wit::Failure::RequestTimeout => Self::RequestTimeout,
            wit::Failure::UnknownKey => Self::UnknownKey,
            wit::Failure::Limited(limited) => Self::Limited(limited.into()),
            wit::Failure::LedgerUnavailable => Self::LedgerUnavailable,
            wit::Failure::Unavailable(why) => Self::Unavailable(why),
            wit::Failure::Internal(id) => Self::Internal(id),
        }
    }
}
