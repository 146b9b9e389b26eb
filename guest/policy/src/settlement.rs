//! What an exchange really cost.
//!
//! | what happened | charged |
//! |---|---|
//! | no byte reached an upstream | nothing |
//! | no target gave an answer | the request, no tokens |
//! | an answer was relayed, or some of it | what the provider reports, else an estimate of what was seen |
//! | the client left before any answer | an estimate of the input |
//! | the policy failed before any answer was relayed | what was held |

use crate::claim::Amounts;
use crate::config::Config;
use crate::message::{Ending, Settlement, Usage};
use crate::meter::{Counts, Tally};
use crate::money::{MOST_MONEY, Price};
use crate::ticket::{BadTicket, Exchange, Parties, Stage};

/// Closes an exchange.
pub fn settle(config: &Config, stage: &Stage<'_>, ending: Ending) -> Result<Settlement, BadTicket> {
    let exchange = stage.exchange()?.ok_or(BadTicket)?;
    let parties = exchange.parties(config)?;
    let mut price = parties.target.price;
    let (counts, amounts) = match (ending, stage) {
        (Ending::Undispatched, _) => (Counts::default(), Amounts::default()),
        (_, Stage::Relaying { meter, .. }) => answered(&exchange, &parties, meter.tally()),
        (_, Stage::Relayed(_, tally)) => answered(&exchange, &parties, tally),
        (_, Stage::Failed(_)) => (Counts::default(), Amounts { requests: 1, ..Amounts::default() }),
        (Ending::PolicyFailed, _) => {
            price = *exchange.held_price(config)?;
            held(&exchange, &price)
        }
        _ => {
            let input = Counts { input: sent(&exchange, &parties), estimated: true, ..Counts::default() };
            charged(&parties, input)
        }
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
            output_tokens: counts.output,
            reasoning_tokens: counts.reasoning,
            estimated: counts.estimated,
            charge: amounts.money.min(MOST_MONEY),
            currency: price.currency.as_str().to_owned(),
            price: price.shown(),
        },
    })
}

fn answered(exchange: &Exchange<'_>, parties: &Parties<'_>, tally: &Tally) -> (Counts, Amounts) {
    charged(parties, tally.counts(sent(exchange, parties), exchange.kind.writes()))
}

/// About how many input tokens were sent.
fn sent(exchange: &Exchange<'_>, parties: &Parties<'_>) -> u64 {
    parties.step.change.map_or(exchange.input_estimate, |change| change.input)
}

fn charged(parties: &Parties<'_>, counts: Counts) -> (Counts, Amounts) {
    let money = parties.target.price.charge(counts.input, counts.cached_input, counts.output);
    (counts, Amounts { requests: 1, tokens: counts.input.saturating_add(counts.output), money })
}

fn held(exchange: &Exchange<'_>, price: &Price) -> (Counts, Amounts) {
    let (input, output) = (exchange.input_estimate, exchange.held_output);
    (Counts { input, output, estimated: true, ..Counts::default() }, exchange.amounts(price))
}
