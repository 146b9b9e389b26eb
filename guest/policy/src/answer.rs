//! Reads what came back from an upstream: an answer of a form the client asked for, or a failure and what it means.
//!
//! A provider's own words about an error are relayed when they are in the shape that clients read; its complaints
//! about the gateway's credential never are.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http_date;
use crate::message::{Answer, Fault, Health};
use crate::meter::{self, Form, Tally};
use crate::refusal::Refusal;
use crate::ticket::Exchange;

/// The answer headers this module reads.
pub const HEADERS: [&str; 5] =
    ["content-type", "content-encoding", "retry-after", "retry-after-ms", "x-should-retry"];

/// What came back.
pub enum Reading {
    /// An answer, of which this is all.
    Whole(Tally),
    /// An answer that must be read piece by piece.
    Pieces(Form),
    /// No answer.
    Failure(Failure),
}

/// Why there is no answer, and what can be done about it.
pub struct Failure {
    /// What the client is told, if there is no more to be done.
    pub refusal: Refusal,
    /// Whether another target might do better.
    pub elsewhere: bool,
    /// Whether the same target might do better later.
    pub again: bool,
    /// Whether the provider's own error can be relayed.
    pub readable: bool,
    /// What it tells of the upstream.
    pub health: Health,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let refusal = Refusal::Upstream(fault);
        Self { refusal, elsewhere: true, again: true, readable: false, health: Health::Bad }
    }
}

/// Reads an answer.
pub fn read(exchange: &Exchange<'_>, answer: &Answer) -> Reading {
    let refusal = Refusal::UpstreamStatus(answer.status);
    Reading::Failure(match answer.status {
        200..=299 => match success(exchange, answer) {
            Some(reading) => return reading,
            None => Fault::Malformed.into(),
        },
        401 | 403 => Failure {
            refusal: Refusal::UpstreamKey,
            elsewhere: true,
            again: false,
            readable: false,
            health: Health::Denied,
        },
        status @ 400..=599 => {
            let passing = matches!(status, 408 | 409 | 429 | 500..);
            Failure {
                refusal,
                elsewhere: passing,
                again: passing && !values(answer, "x-should-retry").any(|value| value == "false"),
                readable: answer.body.as_deref().is_some_and(is_error),
                health: match status {
                    500.. => Health::Bad,
                    // It works, but not for us at this moment.
                    408 | 429 => Health::Unknown,
                    _ => Health::Good,
                },
            }
        }
        _ => Fault::Malformed.into(),
    })
}

/// The instant, in milliseconds since the epoch, before which the provider asks not to be asked again.
pub fn asks_until(answer: &Answer, now_ms: u64) -> Option<u64> {
    let after = |wait_ms: u64| now_ms.saturating_add(wait_ms);
    let milliseconds = values(answer, "retry-after-ms").next().and_then(rounded_up);
    let seconds = || {
        let text = values(answer, "retry-after").next()?;
        match rounded_up(text) {
            Some(seconds) => Some(after(seconds.saturating_mul(1_000))),
            None => http_date::parse(text),
        }
    };
    milliseconds.map(after).or_else(seconds)
}

/// A number that may have a fraction: providers send `0.5`.
fn rounded_up(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let whole: u64 = whole.parse().ok().filter(|_| is_number(whole) && is_number(fraction))?;
    whole.checked_add(u64::from(fraction.bytes().any(|digit| digit != b'0')))
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
