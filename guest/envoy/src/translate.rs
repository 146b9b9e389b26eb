//! Between the policy's values and the ledger's. No decisions.

use tollgate_ledger::breaker::{BreakerRule, Health};
use tollgate_ledger::{Claim, Entry, Outcome, Price, Rule, Standing};
use tollgate_policy as policy;

/// The body after the policy's edits; none if they do not fit it.
pub fn edited(body: &[u8], edits: &[policy::Edit]) -> Option<Vec<u8>> {
    let (mut out, mut kept) = (Vec::with_capacity(body.len()), 0);
    for edit in edits {
        let (start, end) = (usize::try_from(edit.start).ok()?, usize::try_from(edit.end).ok()?);
        if end < start {
            return None;
        }
        out.extend_from_slice(body.get(kept..start)?);
        out.extend_from_slice(&edit.bytes);
        kept = end;
    }
    out.extend_from_slice(body.get(kept..)?);
    Some(out)
}

/// A claim as the ledger takes it.
pub fn claim(claim: &policy::Claim) -> Claim {
    let rule = match claim.rule {
        policy::Rule::Window { limit, period_ms } => Rule::Window { limit, period_ms },
        policy::Rule::Budget { limit, start_ms, end_ms } => Rule::Budget { limit, start_ms, end_ms },
        policy::Rule::Slots { limit } => Rule::Slots { limit },
    };
    Claim { cell: claim.cell.clone(), rule, amount: claim.amount }
}

/// A breaker as the ledger takes it.
pub fn breaker(breaker: policy::Breaker) -> BreakerRule {
    let policy::Breaker { failures, open_ms, probe_ms } = breaker;
    BreakerRule { failures, open_ms, probe_ms }
}

/// What a try tells an upstream's breaker.
pub fn health(health: policy::Health) -> Health {
    match health {
        policy::Health::Good => Health::Good,
        policy::Health::Bad => Health::Bad,
        policy::Health::Denied | policy::Health::Unknown => Health::Unknown,
    }
}

/// What the ledger says of a claim, as the policy takes it.
pub fn standing(standing: &Standing) -> policy::Standing {
    policy::Standing { remaining: standing.remaining, reset_ms: standing.reset_ms }
}

/// A usage record as a row of the books, as it stands if nobody settles the exchange.
pub fn entry(request_id: &str, at_ms: u64, usage: policy::Usage) -> Entry {
    let policy::Price { input, cached_input, cache_write, output, reasoning, since_ms, source } = usage.price;
    Entry {
        request_id: request_id.to_owned(),
        at_ms,
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
        price: Price { input, cached_input, cache_write, output, reasoning, since_ms, source },
        ..Entry::default()
    }
}

/// How an exchange ended, as the books have it.
pub fn outcome(ending: policy::Ending) -> Outcome {
    match ending {
        policy::Ending::Undispatched => Outcome::Undispatched,
        policy::Ending::Completed => Outcome::Completed,
        policy::Ending::ClientLeft => Outcome::ClientLeft,
        policy::Ending::UpstreamBroke => Outcome::UpstreamBroke,
        policy::Ending::PolicyFailed => Outcome::PolicyFailed,
    }
}
