//! What it takes to admit a request: a model the caller may use, claims that cover the worst case, and targets.
//!
//! Nothing is reserved or sent here. Tokens are held by estimate, money by bound: a budget must never be crossed,
//! so no text may cost more than what is held for it.

use crate::claim::Amounts;
use crate::config::{self, Config, Key};
use crate::endpoint::Kind;
use crate::message::{Admitted, Target};
use crate::refusal::{Refusal, brief};
use crate::request::Request;
use crate::ticket::{Exchange, Stage};

/// Reads a body of this kind, sent by this key.
pub fn admit(
    config: &Config,
    caller: (u32, &Key),
    kind: Kind,
    body: &[u8],
    now: u64,
) -> Result<Admitted, Refusal> {
    let (key_index, key) = caller;
    let request = Request::read(kind, body)?;
    let usable = config.model_named(&request.model).filter(|(index, _)| key.may_use(*index));
    // The same whether there is no such model or another key has it.
    let (model_index, model) = usable.ok_or_else(|| Refusal::UnknownModel(brief(&request.model)))?;
    if !model.endpoints.contains(&kind) {
        return Err(Refusal::WrongEndpoint { model: model.name.clone(), path: kind.client_path() });
    }

    let output_bound = request.output_bound(kind, model.max_output_tokens)?;
    let prices = model.targets.iter().map(|target| target.price.bound(request.input_bound, output_bound));
    let held = Amounts {
        requests: 1,
        tokens: request.input_estimate.saturating_add(output_bound),
        money: prices.max().unwrap_or(0),
    };
    let exchange = Exchange {
        key: key_index,
        model: model_index,
        kind,
        streams: request.streams(),
        hides_usage: request.hides_usage(),
        input_estimate: request.input_estimate,
        held_tokens: held.tokens,
        held_money: held.money,
        target: 0,
        judged: 0,
    };
    let target = |target: &config::Target| Target {
        upstream: target.upstream.clone(),
        path: kind.upstream_path().to_owned(),
        edits: request.edits(&target.model),
    };
    Ok(Admitted {
        ticket: Stage::Trying(exchange).seal(config),
        claims: key.limits.iter().map(|limit| limit.claim(&held, now)).collect(),
        targets: model.targets.iter().map(target).collect(),
    })
}
