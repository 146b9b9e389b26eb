//! What it takes to admit a request: a model the caller may use, claims that cover the worst case, and targets.
//!
//! Nothing is reserved or sent here. Tokens are held by estimate, money by bound: a budget must never be crossed,
//! so no text may cost more than what is held for it.

use crate::claim::{Amounts, Caller};
use crate::config::{self, Allowed, Config, Model};
use crate::endpoint::Kind;
use crate::message::{Admitted, Surroundings, Target, Usage};
use crate::money::{MOST_MONEY, Price};
use crate::refusal::{Refusal, brief};
use crate::request::Request;
use crate::ticket::{Exchange, Stage, Who};

/// Who asks to be admitted.
pub struct Asker<'a> {
    /// What the ticket will say of the caller.
    pub who: Who<'a>,
    pub caller: &'a Caller,
    pub allowed: &'a Allowed,
}

/// Reads a body of this kind.
pub fn admit(
    config: &Config,
    asker: &Asker<'_>,
    kind: Kind,
    body: &[u8],
    around: &Surroundings,
) -> Result<Admitted, Refusal> {
    let request = Request::read(kind, body)?;
    let usable = config.model_named(&request.model).filter(|(index, _)| asker.allowed.contains(*index));
    // The same whether there is no such model or another key has it.
    let (model_index, model) = usable.ok_or_else(|| Refusal::UnknownModel(brief(&request.model)))?;
    if !model.endpoints.contains(&kind) {
        return Err(Refusal::WrongEndpoint { model: model.name.clone(), path: kind.client_path() });
    }

    let output_bound = request.output_bound(kind, model.max_output_tokens)?;
    let (dearest, money) = dearest(model, request.input_bound, output_bound);
    let held = Amounts { requests: 1, tokens: request.input_estimate.saturating_add(output_bound), money };
    let exchange = Exchange {
        who: asker.who,
        model: model_index,
        kind,
        streams: request.streams(),
        hides_usage: request.hides_usage(),
        input_estimate: request.input_estimate,
        held_tokens: held.tokens,
        held_money: held.money,
        dearest,
        target: 0,
        judged: 0,
    };
    let target = |target: &config::Target| Target {
        upstream: target.upstream.clone(),
        path: kind.upstream_path().to_owned(),
        edits: request.edits(&target.model),
        amounts: Vec::new(),
        breaker: None,
    };
    let price = model.target(dearest).map_or(Price::FREE, |target| target.price);
    Ok(Admitted {
        ticket: Stage::Trying(exchange).seal(config),
        claims: asker.caller.claims(&config.calendar, &held, around.now_ms),
        targets: model.targets.iter().map(target).collect(),
        usage: Usage {
            key: asker.caller.name.clone(),
            model: model.name.clone(),
            upstream: None,
            upstream_model: None,
            input_tokens: request.input_estimate,
            cached_input_tokens: 0,
            output_tokens: output_bound,
            reasoning_tokens: 0,
            estimated: true,
            charge: money.min(MOST_MONEY),
            currency: price.currency.as_str().to_owned(),
            price: price.shown(),
        },
    })
}

/// The target where so many tokens could cost most, the first of several, and how much: nano-units.
fn dearest(model: &Model, input_bound: u64, output_bound: u64) -> (u32, u64) {
    let bounds = model.targets.iter().map(|target| target.price.bound(input_bound, output_bound));
    (0..).zip(bounds).fold((0, 0), |most, next| if next.1 > most.1 { next } else { most })
}
