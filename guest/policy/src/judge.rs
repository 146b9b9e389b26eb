//! What becomes of one attempt: relay the answer, try the next target, or reply.
//!
//! An answer is relayed only if its form is one the client asked for. What another target might do better is tried
//! there, each target once and in order. A provider's own words about an error are relayed when they are in the
//! shape that clients read; its complaints about the gateway's credential never are.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::Config;
use crate::message::{Answer, Attempt, Fault, Header, Health, Judgement, Outcome, Verdict};
use crate::meter::{self, Form, Meter, Tally};
use crate::rates;
use crate::refusal::Refusal;
use crate::ticket::{BadTicket, Exchange, Parties, Stage, encoded};

/// The answer headers this module reads.
pub const ANSWER_HEADERS: [&str; 4] = ["content-type", "content-encoding", "retry-after", "retry-after-ms"];

/// The answer headers that are relayed as they are.
pub const RELAY_HEADERS: [&str; 6] = [
    "content-type",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    "openai-version",
];

/// What an outcome is.
enum Reading {
    /// An answer, of which this is all.
    Whole(Tally),
    /// An answer that must be read piece by piece.
    Pieces(Form),
    /// No answer.
    Failure {
        refusal: Refusal,
        /// Whether another target might do better.
        elsewhere: bool,
        /// Whether the provider's own error can be relayed.
        readable: bool,
    },
}

/// Decides about an attempt.
pub fn judge(config: &Config, exchange: &Exchange<'_>, attempt: &Attempt) -> Result<Judgement, BadTicket> {
    let exchange = Exchange { target: attempt.target, judged: attempt.number, ..*exchange };
    let parties = exchange.parties(config)?;
    let add_rates = |headers: &mut _| rates::add(headers, &parties.caller.limits, &attempt.standings);
    let relay = |stage: Stage<'_>, inspect| {
        let mut headers = Vec::with_capacity(8);
        headers.extend(tried(&parties, attempt));
        add_rates(&mut headers);
        Verdict::Relay { ticket: stage.seal(config), headers, inspect }
    };
    let verdict = match read(&exchange, &attempt.outcome) {
        Reading::Whole(tally) => relay(Stage::Relayed(exchange, tally), false),
        Reading::Pieces(form) => {
            let encoded = encoded(&exchange);
            relay(Stage::Relaying { meter: Meter::new(form), exchange: &encoded }, true)
        }
        Reading::Failure { refusal, elsewhere, readable } => match next_target(&exchange, &parties) {
            Some(target) if elsewhere => {
                let ticket = Stage::Trying(Exchange { target, ..exchange }).seal(config);
                Verdict::Retry { ticket, target, after_ms: 0 }
            }
            _ if readable => relay(Stage::Failed(exchange), false),
            _ => {
                let mut headers = waits(&refusal, &attempt.outcome);
                add_rates(&mut headers);
                let ticket = Stage::Failed(exchange).seal(config);
                Verdict::Reply { ticket, reply: refusal.reply(headers) }
            }
        },
    };
    Ok(Judgement { verdict, health: Health::Unknown })
}

/// Who gave the answer, and after how many tries.
fn tried(parties: &Parties<'_>, attempt: &Attempt) -> [Header; 2] {
    let upstream = Header { name: "x-tollgate-upstream".into(), value: parties.target.upstream.clone() };
    let attempts = Header { name: "x-tollgate-attempts".into(), value: attempt.number.to_string() };
    [upstream, attempts]
}

/// How long the provider asks to wait, where its error is told in our words.
fn waits(refusal: &Refusal, outcome: &Outcome) -> Vec<Header> {
    let (Refusal::UpstreamStatus(_), Outcome::Answer(answer)) = (refusal, outcome) else { return Vec::new() };
    let is_wait = |header: &&Header| matches!(header.name.as_str(), "retry-after" | "retry-after-ms");
    answer.headers.iter().filter(is_wait).cloned().collect()
}

fn next_target(exchange: &Exchange<'_>, parties: &Parties<'_>) -> Option<u32> {
    let next = exchange.target.checked_add(1)?;
    parties.model.target(next).map(|_| next)
}

fn read(exchange: &Exchange<'_>, outcome: &Outcome) -> Reading {
    let fault =
        |fault| Reading::Failure { refusal: Refusal::Upstream(fault), elsewhere: true, readable: false };
    let answer = match outcome {
        Outcome::Answer(answer) => answer,
        Outcome::Fault(reason) => return fault(*reason),
        Outcome::Limited(_) | Outcome::Tripped(_) => return fault(Fault::Connect),
    };
    match answer.status {
        200..=299 => success(exchange, answer).unwrap_or_else(|| fault(Fault::Malformed)),
        401 | 403 => Reading::Failure { refusal: Refusal::UpstreamKey, elsewhere: true, readable: false },
        status @ 400..=599 => Reading::Failure {
            refusal: Refusal::UpstreamStatus(status),
            elsewhere: matches!(status, 408 | 409 | 429 | 500..),
            readable: answer.body.as_deref().is_some_and(is_error),
        },
        _ => fault(Fault::Malformed),
    }
}

/// How to read an answer that says it is one; none if it is not of a form the client asked for.
fn success(exchange: &Exchange<'_>, answer: &Answer) -> Option<Reading> {
    let encoded = values(answer, "content-encoding").any(|value| !value.eq_ignore_ascii_case("identity"));
    let mut types = values(answer, "content-type");
    let (Some(media_type), None, false) = (types.next(), types.next(), encoded) else { return None };
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("text/event-stream") && exchange.streams {
        return Some(Reading::Pieces(Form::Events { hide_usage: exchange.hides_usage }));
    }
    if !media_type.eq_ignore_ascii_case("application/json") {
        return None;
    }
    match &answer.body {
        Some(body) => meter::whole(body, exchange.kind.writes()).map(Reading::Whole),
        None => Some(Reading::Pieces(Form::Json)),
    }
}

fn values<'a>(answer: &'a Answer, name: &'static str) -> impl Iterator<Item = &'a str> {
    let named = answer.headers.iter().filter(move |header| header.name == name);
    named.map(|header| header.value.trim_matches([' ', '\t']))
}

/// Whether these bytes are an error as clients read it: `{"error":{..}}`.
fn is_error(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: &'a RawValue,
    }
    serde_json::from_slice::<Body<'_>>(body).is_ok_and(|body| body.error.get().starts_with('{'))
}
