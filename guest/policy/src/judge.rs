//! What becomes of one attempt: relay the answer, try another target or the same one again, or reply.
//!
//! An answer is relayed only if its form is one the client asked for. What another target might do better is tried
//! there; see [`crate::tries`] for the order and the waits. Once an answer is relayed nothing is tried any more.

use crate::answer::{self, Failure, Reading};
use crate::config::Config;
use crate::context;
use crate::context::learnt::{self, Learnt};
use crate::message::{Attempt, Header, Health, Judgement, Outcome, Own, OwnHeader, Verdict};
use crate::meter::{Form, Meter};
use crate::rates;
use crate::refusal::Refusal;
use crate::ticket::{BadTicket, Exchange, Parties, Stage, encoded};
use crate::tries::Next;

/// The answer headers that are relayed as they are.
pub const RELAY_HEADERS: [&str; 6] = [
    "content-type",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    "openai-version",
];

/// Decides about an attempt.
pub fn judge(config: &Config, exchange: &Exchange<'_>, attempt: &Attempt) -> Result<Judgement, BadTicket> {
    let exchange = Exchange { target: attempt.target, judged: attempt.number, ..*exchange };
    let parties = exchange.parties(config)?;
    let context = context::told(config, &exchange, parties.step)?;
    let relay = |stage: Stage<'_>, inspect| {
        let mut headers = Vec::with_capacity(8);
        headers.extend(tried(&parties, attempt));
        headers.extend(context.clone());
        rates::add(&mut headers, &parties.caller.limits, &attempt.standings);
        Verdict::Relay { ticket: stage.seal(config), headers, inspect }
    };
    let mut tries = exchange.tries()?;
    let failure = match &attempt.outcome {
        Outcome::Answer(answer) => match answer::read(&exchange, answer) {
            Reading::Whole(tally) => {
                let verdict = relay(Stage::Relayed(exchange, tally), false);
                return Ok(Judgement { verdict, health: Health::Good });
            }
            Reading::Pieces(form) => {
                let encoded = encoded(&exchange);
                // What is sent as one document cannot be stopped in the middle, and saves nothing if it is.
                let slices = exchange.slices.filter(|_| form != Form::Json);
                let mut meter = Meter::new(form);
                if let Some(slices) = slices {
                    meter.remember_chunks(slices.choices);
                }
                let asks_at = slices.map(|slices| slices.asks_at(exchange.held_output));
                let verdict = relay(Stage::Relaying { meter, exchange: &encoded, asks_at }, true);
                return Ok(Judgement { verdict, health: Health::Good });
            }
            Reading::Failure(failure) => {
                tries.sent(attempt.target, answer::asks_until(answer, attempt.now_ms));
                failure
            }
        },
        Outcome::Fault(fault) => {
            tries.sent(attempt.target, None);
            (*fault).into()
        }
        Outcome::Tripped(wait_ms) => Failure {
            refusal: Refusal::UpstreamsTripped { retry_after_ms: tries.shut(attempt.target, *wait_ms) },
            elsewhere: true,
            again: true,
            readable: false,
            health: Health::Unknown,
        },
    };

    let learnt = learnt::read(config, &exchange, attempt)?;
    let failure = match &learnt {
        Learnt::Refuse(refusal) => Failure { refusal: refusal.clone(), readable: false, ..failure },
        _ => failure,
    };
    let health = failure.health;
    let next = match learnt {
        Learnt::Send(position) => Some(Next { position, after_ms: 0 }),
        _ => {
            let next = tries.next(&config.retry, exchange.positions()?, attempt, failure.again);
            next.filter(|_| failure.elsewhere)
        }
    };
    let tries = encoded(&tries);
    let exchange = Exchange { tries: &tries, ..exchange };
    if let Some(Next { position, after_ms }) = next {
        let ticket = Stage::Trying(Exchange { target: position, ..exchange }).seal(config);
        return Ok(Judgement { verdict: Verdict::Retry { ticket, target: position, after_ms }, health });
    }
    let verdict = if failure.readable {
        relay(Stage::Failed(exchange), false)
    } else {
        let mut headers = waits(&failure.refusal, &attempt.outcome);
        rates::add(&mut headers, &parties.caller.limits, &attempt.standings);
        let ticket = Stage::Failed(exchange).seal(config);
        Verdict::Reply { ticket, reply: failure.refusal.reply(headers) }
    };
    Ok(Judgement { verdict, health })
}

/// Who gave the answer, and after how many tries.
fn tried(parties: &Parties<'_>, attempt: &Attempt) -> [OwnHeader; 2] {
    let upstream = OwnHeader::new(Own::TollgateUpstream, parties.target.upstream.as_str());
    [upstream, OwnHeader::new(Own::TollgateAttempts, attempt.number.to_string())]
}

/// How long the provider asks to wait, where its error is told in our words.
fn waits(refusal: &Refusal, outcome: &Outcome) -> Vec<OwnHeader> {
    let (Refusal::UpstreamStatus(_), Outcome::Answer(answer)) = (refusal, outcome) else { return Vec::new() };
    let wait = |header: &Header| {
        let name =
            [Own::RetryAfter, Own::RetryAfterMs].into_iter().find(|own| own.as_str() == header.name)?;
        Some(OwnHeader::new(name, header.value.as_str()))
    };
    answer.headers.iter().filter_map(wait).collect()
}
