//! What an exchange really cost.
//!
//! | what happened | charged |
//! |---|---|
//! | no byte reached an upstream | nothing |
//! | no target gave an answer | the request, no tokens |
//! | an answer was relayed, or some of it | what the provider reports, else an estimate of what was seen |
//! | the client left before any answer | an estimate of the input |
//! | the policy failed before any answer was relayed | what was held |
//!
//! An exchange is charged at the prices in force when it was admitted, which are those it was held for.

use crate::amounts::Amounts;
use crate::claim::Caller;
use crate::config::{Config, Model, Target};
use crate::message::{Ending, Settlement, Usage};
use crate::meter::{Counts, Tally};
use crate::money::MOST_MONEY;
use crate::price::{Cost, Price};
use crate::ticket::{BadTicket, Exchange, Parties, Stage};

/// Closes an exchange.
pub fn settle(config: &Config, stage: &Stage<'_>, ending: Ending) -> Result<Settlement, BadTicket> {
    let exchange = stage.exchange()?.ok_or(BadTicket)?;
    let parties = exchange.parties(config)?;
    let mut price = parties.target.prices.at(exchange.now_ms);
    let charged = |counts: Counts| {
        let Cost { nano: money, tier } = price.charge(&counts);
        let tokens = counts.input.saturating_add(counts.output);
        (counts, Amounts { requests: 1, tokens, money }, tier)
    };
    let answered = |tally: &Tally| charged(tally.counts(sent(&exchange, &parties), exchange.kind.writes()));
    let (counts, amounts, tier) = match (ending, stage) {
        (Ending::Undispatched, _) => (Counts::default(), Amounts::default(), 0),
        (_, Stage::Relaying { meter, .. }) => answered(meter.tally()),
        (_, Stage::Relayed(_, tally)) => answered(tally),
        (_, Stage::Failed(_)) => (Counts::default(), Amounts { requests: 1, ..Amounts::default() }, 0),
        (Ending::PolicyFailed, _) => {
            price = exchange.held_price(config)?;
            let Cost { nano: money, tier } = price.bound(exchange.input_bound, exchange.held_output);
            (held(&exchange), exchange.amounts(money), tier)
        }
        _ => charged(Counts { input: sent(&exchange, &parties), estimated: true, ..Counts::default() }),
    };
    let was_tried = exchange.judged > 0 || ending != Ending::Undispatched;
    let target = Some(parties.target).filter(|_| was_tried);
    Ok(Settlement {
        amounts: parties.caller.amounts(&amounts),
        usage: Usage {
            key: parties.caller.name.clone(),
            model: parties.model.name.clone(),
            upstream: target.map(|target| target.upstream.clone()),
            upstream_model: target.map(|target| target.model.clone()),
            input_tokens: counts.input,
            cached_input_tokens: counts.cached_input,
            cache_write_tokens: counts.cache_write,
            output_tokens: counts.output,
            reasoning_tokens: counts.reasoning,
            estimated: counts.estimated,
            charge: amounts.money.min(MOST_MONEY),
            currency: price.currency.as_str().to_owned(),
            price: price.shown(tier),
        },
    })
}

/// What an exchange costs if it is never settled.
pub struct Worst<'a> {
    pub caller: &'a Caller,
    pub model: &'a Model,
    /// The target that answers, when it is known.
    pub target: Option<&'a Target>,
    /// The price that is held for.
    pub price: &'a Price,
    /// What is held at it for all of [`Exchange::held_output`].
    pub cost: Cost,
}

/// The row of an exchange that nobody settles.
pub fn unsettled(exchange: &Exchange<'_>, worst: Worst<'_>) -> Usage {
    let Worst { caller, model, target, price, cost } = worst;
    Usage {
        key: caller.name.clone(),
        model: model.name.clone(),
        upstream: target.map(|target| target.upstream.clone()),
        upstream_model: target.map(|target| target.model.clone()),
        input_tokens: exchange.input_estimate,
        cached_input_tokens: 0,
        cache_write_tokens: 0,
        output_tokens: exchange.held_output,
        reasoning_tokens: 0,
        estimated: true,
        charge: cost.nano.min(MOST_MONEY),
        currency: price.currency.as_str().to_owned(),
        price: price.shown(cost.tier),
    }
}

/// About how many input tokens were sent.
fn sent(exchange: &Exchange<'_>, parties: &Parties<'_>) -> u64 {
    parties.step.change.map_or(exchange.input_estimate, |change| change.input)
}

/// The counts of what was held.
fn held(exchange: &Exchange<'_>) -> Counts {
    let (input, output) = (exchange.input_estimate, exchange.held_output);
    Counts { input, output, estimated: true, ..Counts::default() }
}
