//! The ledger as vectors write it: what happened before, and what every cell holds after.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::{
    Breakers, Charge, Claim, Entry, Hold, Ledger, Memory, Outcome, Pending, Price, Reservation, Rule,
    Snapshot, Standing,
};
use tollgate_policy::message::{self, Usage};

use crate::outcome::Cell;
use crate::vector::Prior;

/// The usual breaker.
const BREAKER: BreakerRule = BreakerRule { failures: 5, open_ms: 60_000, probe_ms: 60_000 };

/// How long every hold lives.
pub const LEASE_MS: u64 = 600_000;

/// A ledger that has seen what came before; `tripped` names the open breakers, and for how many milliseconds more.
pub fn before(priors: &[Prior], tripped: &BTreeMap<String, u64>, now_ms: u64) -> Memory {
    let ledger = Memory::new();
    fill(&ledger, priors, tripped, now_ms);
    ledger
}

/// Has a ledger see what came before.
pub fn fill(
    ledger: &(impl Ledger + Breakers),
    priors: &[Prior],
    tripped: &BTreeMap<String, u64>,
    now_ms: u64,
) {
    for (upstream, left_ms) in tripped {
        let at = now_ms + left_ms - BREAKER.open_ms;
        for _ in 0..BREAKER.failures {
            let Passage::Pass { generation, .. } = now(ledger.ask(upstream, BREAKER, at)) else {
                panic!("the breaker opened too early")
            };
            now(ledger.tell(upstream, BREAKER, generation, Health::Bad, at));
        }
    }
    for (index, prior) in priors.iter().enumerate() {
        let at = now_ms - prior.ago_ms;
        for (kind, amount) in [("settled", prior.settled), ("held", prior.held)] {
            let claim = Claim { cell: prior.cell.clone(), rule: rule(prior.rule()), amount };
            let request_id = format!("{kind}-{index}");
            let entry = Arc::new(Entry { request_id, at_ms: at, ..Entry::default() });
            let hold = Hold { entry: &entry, claims: &[claim], lease_ms: LEASE_MS };
            let reservation = now(ledger.reserve(hold, at));
            assert!(matches!(reservation, Reservation::Granted { .. }), "{prior:?} was not granted");
            if kind == "settled" {
                now(ledger.settle(&entry, Charge::Held, at));
            }
        }
    }
}

/// What every cell holds that holds anything; an empty cell is as good as none.
pub fn cells(ledger: &Memory, now_ms: u64) -> BTreeMap<String, Cell> {
    shown(ledger.snapshot(now_ms))
}

/// The cells of a snapshot that hold anything.
pub fn shown(snapshot: Snapshot) -> BTreeMap<String, Cell> {
    let cells = snapshot.cells.into_iter().filter(|cell| cell.used > 0);
    cells.map(|cell| (cell.name, Cell { settled: cell.used - cell.held, held: cell.held })).collect()
}

/// The answer of a ledger that never makes anyone wait.
pub fn now<T>(mut pending: Pending<'_, T>) -> T {
    match Pin::new(&mut pending).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(answer)) => answer,
        Poll::Ready(Err(unavailable)) => panic!("{unavailable}"),
        Poll::Pending => panic!("the ledger in memory waits for nothing"),
    }
}

/// The answer of a store that may have to be waited for.
pub fn wait<T>(pending: Pending<'_, T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(pending).unwrap()
}

/// A row of the books, as the policy made it.
pub fn usage(entry: Entry) -> Usage {
    let Price { input, cached_input, cache_write, output, reasoning, since_ms, source } = entry.price;
    Usage {
        key: entry.key,
        model: entry.model,
        upstream: entry.upstream,
        upstream_model: entry.upstream_model,
        input_tokens: entry.input_tokens,
        cached_input_tokens: entry.cached_input_tokens,
        cache_write_tokens: entry.cache_write_tokens,
        output_tokens: entry.output_tokens,
        reasoning_tokens: entry.reasoning_tokens,
        estimated: entry.estimated,
        charge: entry.charge,
        currency: entry.currency,
        price: message::Price { input, cached_input, cache_write, output, reasoning, since_ms, source },
    }
}

/// A row of the policy, for the ledger.
pub fn entry(request_id: &str, at_ms: u64, usage: &Usage, outcome: Outcome) -> Arc<Entry> {
    let usage = usage.clone();
    let message::Price { input, cached_input, cache_write, output, reasoning, since_ms, source } =
        usage.price;
    Arc::new(Entry {
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
        outcome,
        ..Entry::default()
    })
}

/// A claim of the policy, for the ledger.
pub fn claim(claim: &message::Claim) -> Claim {
    Claim { cell: claim.cell.clone(), rule: rule(claim.rule), amount: claim.amount }
}

/// A breaker of the policy, for the ledger.
pub fn breaker(breaker: message::Breaker) -> BreakerRule {
    let message::Breaker { failures, open_ms, probe_ms } = breaker;
    BreakerRule { failures, open_ms, probe_ms }
}

/// What a try tells a breaker.
pub fn health(health: message::Health) -> Health {
    match health {
        message::Health::Good => Health::Good,
        message::Health::Bad => Health::Bad,
        message::Health::Denied | message::Health::Unknown => Health::Unknown,
    }
}

/// A standing of the ledger, for the policy.
pub fn standing(standing: &Standing) -> message::Standing {
    message::Standing { remaining: standing.remaining, reset_ms: standing.reset_ms }
}

/// A rule of the policy, for the ledger.
pub fn rule(rule: message::Rule) -> Rule {
    match rule {
        message::Rule::Window { limit, period_ms } => Rule::Window { limit, period_ms },
        message::Rule::Budget { limit, start_ms, end_ms } => Rule::Budget { limit, start_ms, end_ms },
        message::Rule::Slots { limit } => Rule::Slots { limit },
    }
}
