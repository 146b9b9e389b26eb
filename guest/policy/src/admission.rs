//! What it takes to admit a request: a model the caller may use, targets in order, and claims that cover the worst case
//! at the dearest of them.
//!
//! Nothing is reserved or sent here. Tokens are held by estimate, money by bound: a budget must never be crossed,
//! so no text may cost more than what is held for it, wherever it is sent.

use std::iter;

use crate::claim::Caller;
use crate::config::{Allowed, Config, Model};
use crate::context::{self, Form};
use crate::endpoint::Kind;
use crate::limit::Limit;
use crate::message::{Admitted, Priority, Surroundings, Target, Unit};
use crate::price::{Cost, Price};
use crate::refusal::{Refusal, brief};
use crate::request::Request;
use crate::route::{self, Facts};
use crate::settlement::{Worst, unsettled};
use crate::slices::Slices;
use crate::ticket::{Exchange, Stage, Step, Who, encoded};

/// Who asks to be admitted.
pub struct Asker<'a> {
    /// What the ticket will say of the caller.
    pub who: Who<'a>,
    pub caller: &'a Caller,
    pub allowed: &'a Allowed,
    pub priority: Priority,
    pub tags: &'a [String],
    /// Which header conditions hold for the request.
    pub headers: u64,
}

/// Reads a body of this kind.
pub fn admit(
    config: &Config,
    asker: &Asker<'_>,
    kind: Kind,
    body: &[u8],
    around: &Surroundings,
) -> Result<Admitted, Refusal> {
    let mut found = None;
    let request = Request::read(kind, body, |name| {
        let (index, model) = usable(config, asker, kind, name)?;
        found = Some((index, model));
        Ok(&model.parameters)
    })?;
    let (model_index, model) = found.ok_or_else(|| Refusal::UnknownModel(brief(&request.model)))?;

    let forms = context::forms(config, asker.allowed, kind, model_index, &request, body)?;
    let mut plan: Vec<(Step, &Form<'_>)> = Vec::new();
    let (mut input_estimate, mut most_output, mut output_slice) = (0, 0, 0);
    for form in iter::once(&forms.first).chain(&forms.spare) {
        let served = config.model(form.model).unwrap_or(model);
        let request = form.request.as_ref().unwrap_or(&request);
        let output = match request.output_bound(kind, served.max_output_tokens) {
            Ok(output) => output,
            Err(refusal) if plan.is_empty() => return Err(refusal),
            Err(_) => break,
        };
        let facts = Facts {
            headers: asker.headers,
            tags: asker.tags,
            priority: asker.priority,
            stream: request.streams(),
            tools: request.has_tools,
            input: form.input,
            output,
            now_ms: around.now_ms,
            random: around.random,
            latencies: &around.latencies,
        };
        let steps = route::plan(config, form.model, &facts);
        if steps.is_empty() && plan.is_empty() {
            return Err(Refusal::NoRoute(served.name.clone()));
        }
        let spare = !plan.is_empty();
        plan.extend(steps.into_iter().map(|step| (Step { change: form.change, spare, ..step }, form)));
        input_estimate = input_estimate.max(form.input);
        most_output = most_output.max(output);
        output_slice = output_slice.max(served.output_slice);
    }
    let slices = slices(asker.caller, kind, &request, output_slice, most_output);
    let steps: Vec<Step> = plan.iter().map(|(step, _)| *step).collect();
    let plan_bytes = encoded(&steps);
    let exchange = Exchange {
        who: asker.who,
        model: model_index,
        kind,
        streams: request.streams(),
        hides_usage: request.hides_usage(),
        input_estimate,
        input_bound: request.input_bound,
        held_output: slices.map_or(most_output, |slices| slices.size),
        slices,
        held_for: 0,
        now_ms: around.now_ms,
        plan: &plan_bytes,
        tries: &[],
        target: 0,
        judged: 0,
    };
    let mut targets = Vec::with_capacity(plan.len());
    let mut dearest: Option<(u32, &Price, Cost)> = None;
    for (position, (step, form)) in (0..).zip(&plan) {
        // The plan was made of this very configuration.
        let Ok(target) = step.target(config) else { continue };
        let price = target.prices.at(around.now_ms);
        let cost = price.bound(exchange.input_bound, exchange.held_output);
        if dearest.is_none_or(|(.., most)| cost.nano > most.nano) {
            dearest = Some((position, price, cost));
        }
        targets.push(Target {
            upstream: target.upstream.clone(),
            path: kind.upstream_path().to_owned(),
            edits: context::joined(
                form.request.as_ref().unwrap_or(&request).edits(&target.model),
                &form.edits,
            ),
            breaker: config.breaker,
        });
    }
    let (held_for, price, cost) = dearest.ok_or_else(|| Refusal::NoRoute(model.name.clone()))?;
    let exchange = Exchange { held_for, ..exchange };
    let claimed = exchange.amounts(cost.nano);
    Ok(Admitted {
        ticket: Stage::Trying(exchange).seal(config),
        claims: asker.caller.claims(&config.calendar, &claimed, around.now_ms),
        targets,
        usage: unsettled(&exchange, Worst { caller: asker.caller, model, target: None, price, cost }),
    })
}

/// How output is held for where a stream names no maximum. For whom no tokens and no money are counted, there is nothing
/// to hold piece by piece.
fn slices(caller: &Caller, kind: Kind, request: &Request<'_>, size: u64, most: u64) -> Option<Slices> {
    let counts = |limit: &Limit| matches!(limit.unit(), Unit::Tokens | Unit::Money);
    let is_open = kind.writes() && request.streams() && request.max_output_tokens.is_none();
    if is_open && caller.limits.iter().any(counts) { Slices::new(size, request.choices, most) } else { None }
}

/// A model that the caller may use for this.
fn usable<'c>(
    config: &'c Config,
    asker: &Asker<'_>,
    kind: Kind,
    name: &str,
) -> Result<(u32, &'c Model), Refusal> {
    let usable = config.model_named(name).filter(|(index, _)| asker.allowed.contains(*index));
    // The same whether there is no such model or another key has it.
    let (index, model) = usable.ok_or_else(|| Refusal::UnknownModel(brief(name)))?;
    if !model.endpoints.contains(&kind) {
        return Err(Refusal::WrongEndpoint { model: model.name.clone(), path: kind.client_path() });
    }
    Ok((index, model))
}
