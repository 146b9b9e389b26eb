//! Every reply that is not an answer: one closed list, and one table from it to status, type, code and param.
//!
//! The shape and the words are OpenAI's, because OpenAI's SDKs read them. A message says what was wrong and how to
//! mend it, repeats no more than a name of the client's, and never a key.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::Serialize;

use crate::message::{Fault, Own, OwnHeader, Reply, Unit};
use crate::rates::wait;
use crate::request::MOST_DEPTH;

/// A path into the body: `messages[2].role`.
pub type Param = Cow<'static, str>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    // Who calls.
    KeyMissing,
    KeyMisplaced,
    KeyAmbiguous,
    KeyUnknown,
    KeyExpired,
    KeyUnusable(String),
    // What is asked for.
    UnknownUrl { method: String, path: String },
    WrongMethod { method: String, path: String, allow: &'static str },
    UnknownModel(String),
    WrongEndpoint { model: String, path: &'static str },
    NoRoute(String),
    // What the body says.
    NotUtf8,
    NotJson(String),
    TooDeep,
    TooManyKeys,
    DuplicateKey(String),
    FoldedKey { key: String, meant: &'static str },
    Missing(Param),
    WrongType { param: Param, expected: &'static str },
    Empty { param: Param, what: &'static str },
    BelowMinimum { param: Param, least: i64 },
    AboveMaximum { param: Param, most: i64 },
    DecimalBelow { param: Param, least: String, got: String },
    DecimalAbove { param: Param, most: String, got: String },
    TooMany { param: Param, most: usize, got: usize },
    TooLong { param: Param, most: usize },
    NoChoice { param: Param, got: String, known: &'static [&'static str] },
    Invalid { param: Param, why: String },
    // What the model does not take.
    Unsupported { param: &'static str, instead: Option<&'static str> },
    UnsupportedValue { param: Param, value: String },
    // What the model's context does not hold: as estimated, or as its provider says.
    ContextExceeded { window: u64, input: u64, output: Option<u64> },
    ContextRefused { window: u64 },
    // What the ledger says.
    RateLimited { unit: Unit, limit: String, retry_after_ms: u64 },
    NeverFits { unit: Unit, limit: String },
    QuotaSpent { budget: String },
    // What only the shell can see.
    Malformed(String),
    HeadTooLarge(String),
    BodyTooLarge(u64),
    RequestTimeout,
    LedgerUnavailable,
    Unavailable(String),
    Internal(String),
    // What came of the upstream.
    Upstream(Fault),
    UpstreamKey,
    UpstreamStatus(u16),
    UpstreamsTripped { retry_after_ms: u64 },
}

/// One row of the table.
struct Row {
    status: u16,
    kind: &'static str,
    code: &'static str,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";
const UPSTREAM: &str = "upstream_error";

impl Refusal {
    fn row(&self) -> Row {
        let (status, kind, code) = match self {
            Self::KeyMissing
            | Self::KeyMisplaced
            | Self::KeyAmbiguous
            | Self::KeyUnknown
            | Self::KeyExpired => (401, INVALID, "invalid_api_key"),
            Self::KeyUnusable(_) => (503, SERVER, "key_unusable"),
            Self::UnknownUrl { .. } => (404, INVALID, "unknown_url"),
            Self::WrongMethod { .. } => (405, INVALID, "method_not_supported"),
            Self::UnknownModel(_) => (404, INVALID, "model_not_found"),
            Self::WrongEndpoint { .. } => (400, INVALID, "model_not_supported"),
            Self::NoRoute(_) => (400, INVALID, "no_route"),
            Self::NotUtf8 | Self::NotJson(_) => (400, INVALID, "invalid_json"),
            Self::TooDeep => (400, INVALID, "nested_too_deeply"),
            Self::TooManyKeys => (400, INVALID, "too_many_keys"),
            Self::DuplicateKey(_) => (400, INVALID, "duplicate_key"),
            Self::FoldedKey { .. } => (400, INVALID, "ambiguous_key"),
            Self::Missing(_) => (400, INVALID, "missing_required_parameter"),
            Self::WrongType { .. } => (400, INVALID, "invalid_type"),
            Self::Empty { .. } => (400, INVALID, "invalid_value"),
            Self::BelowMinimum { .. } => (400, INVALID, "integer_below_min_value"),
            Self::AboveMaximum { .. } => (400, INVALID, "integer_above_max_value"),
            Self::DecimalBelow { .. } => (400, INVALID, "decimal_below_min_value"),
            Self::DecimalAbove { .. } => (400, INVALID, "decimal_above_max_value"),
            Self::TooMany { .. } => (400, INVALID, "array_above_max_length"),
            Self::TooLong { .. } => (400, INVALID, "string_above_max_length"),
            Self::NoChoice { .. } | Self::Invalid { .. } => (400, INVALID, "invalid_value"),
            Self::Unsupported { .. } => (400, INVALID, "unsupported_parameter"),
            Self::UnsupportedValue { .. } => (400, INVALID, "unsupported_value"),
            Self::ContextExceeded { .. } | Self::ContextRefused { .. } => {
                (400, INVALID, "context_length_exceeded")
            }
            Self::RateLimited { unit, .. } | Self::NeverFits { unit, .. } => {
                (429, unit_name(*unit), "rate_limit_exceeded")
            }
            Self::QuotaSpent { .. } => (429, "insufficient_quota", "insufficient_quota"),
            Self::Malformed(_) => (400, INVALID, "malformed_request"),
            Self::HeadTooLarge(_) => (431, INVALID, "request_header_fields_too_large"),
            Self::BodyTooLarge(_) => (413, INVALID, "request_too_large"),
            Self::RequestTimeout => (408, INVALID, "request_timeout"),
            Self::LedgerUnavailable => (503, SERVER, "ledger_unavailable"),
            Self::Unavailable(_) => (503, SERVER, "unavailable"),
            Self::Internal(_) => (500, SERVER, "internal_error"),
            Self::Upstream(Fault::Connect) => (502, UPSTREAM, "upstream_unreachable"),
            Self::Upstream(Fault::Timeout) => (504, UPSTREAM, "upstream_timeout"),
            Self::Upstream(Fault::Closed) => (502, UPSTREAM, "upstream_closed"),
            Self::Upstream(Fault::Malformed) => (502, UPSTREAM, "upstream_malformed"),
            Self::UpstreamKey => (502, UPSTREAM, "upstream_auth"),
            // A client error stays one, so that an SDK does not try again what cannot succeed.
            Self::UpstreamStatus(status @ 400..=499) => (*status, UPSTREAM, "upstream_refused"),
            Self::UpstreamStatus(_) => (502, UPSTREAM, "upstream_failed"),
            Self::UpstreamsTripped { .. } => (503, UPSTREAM, "upstream_unavailable"),
        };
        Row { status, kind, code }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::UnknownModel(_) | Self::WrongEndpoint { .. } | Self::NoRoute(_) => Some("model"),
            Self::ContextExceeded { .. } | Self::ContextRefused { .. } => Some("messages"),
            Self::DuplicateKey(key) | Self::FoldedKey { key, .. } => Some(key),
            Self::Missing(param)
            | Self::WrongType { param, .. }
            | Self::Empty { param, .. }
            | Self::BelowMinimum { param, .. }
            | Self::AboveMaximum { param, .. }
            | Self::DecimalBelow { param, .. }
            | Self::DecimalAbove { param, .. }
            | Self::TooMany { param, .. }
            | Self::TooLong { param, .. }
            | Self::NoChoice { param, .. }
            | Self::Invalid { param, .. }
            | Self::UnsupportedValue { param, .. } => Some(param),
            Self::Unsupported { param, .. } => Some(param),
            _ => None,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::KeyMissing => "You didn't provide an API key. Send it in an Authorization header using Bearer auth \
                                 (Authorization: Bearer YOUR_KEY) or in an x-api-key header."
                .into(),
            Self::KeyMisplaced => "The API key is not where it is read. Send it in an Authorization header using \
                                   Bearer auth (Authorization: Bearer YOUR_KEY) or alone in an x-api-key header."
                .into(),
            Self::KeyAmbiguous => "More than one API key was sent. Send one, once.".into(),
            Self::KeyUnknown => "Incorrect API key provided.".into(),
            Self::KeyExpired => "The API key provided has expired.".into(),
            Self::KeyUnusable(why) => format!(
                "This key can do nothing until the operator of this gateway mends what is kept of it: {}.",
                brief(why)
            ),
            Self::UnknownUrl { method, path } => format!("Invalid URL ({} {})", brief(method), brief(path)),
            Self::WrongMethod { method, path, allow } => {
                format!("Not allowed to {} on {}; use {allow}.", brief(method), brief(path))
            }
            Self::UnknownModel(model) => {
                format!("The model `{}` does not exist or you do not have access to it.", brief(model))
            }
            Self::WrongEndpoint { model, path } => format!("The model `{}` is not served on {path}.", brief(model)),
            Self::NotUtf8 => "We could not parse the JSON body of your request: it is not UTF-8.".into(),
            Self::NoRoute(model) => format!(
                "No provider of the model `{model}` takes requests like this one: see the conditions of its targets."
            ),
            Self::NotJson(why) => format!("We could not parse the JSON body of your request: {why}."),
            Self::TooDeep => format!(
                "We could not parse the JSON body of your request: it is nested more than {MOST_DEPTH} levels deep."
            ),
            Self::TooManyKeys => {
                "We could not parse the JSON body of your request: its objects have too many keys.".into()
            }
            Self::DuplicateKey(key) => {
                format!("Duplicate key '{}': each key may appear once in its object.", brief(key))
            }
            Self::FoldedKey { key, meant } => {
                format!("Ambiguous key '{}': it differs from '{meant}' only in its case.", brief(key))
            }
            Self::Missing(param) => format!("Missing required parameter: '{param}'."),
            Self::WrongType { param, expected } => format!("Invalid type for '{param}': expected {expected}."),
            Self::Empty { param, what } => format!("Invalid '{param}': {what} must not be empty."),
            Self::BelowMinimum { param, least } => {
                format!("Invalid '{param}': integer below minimum value. Expected a value >= {least}.")
            }
            Self::AboveMaximum { param, most } => {
                format!("Invalid '{param}': integer above maximum value. Expected a value <= {most}.")
            }
            Self::DecimalBelow { param, least, got } => format!(
                "Invalid '{param}': decimal below minimum value. Expected a value >= {least}, but got {got} instead."
            ),
            Self::DecimalAbove { param, most, got } => format!(
                "Invalid '{param}': decimal above maximum value. Expected a value <= {most}, but got {got} instead."
            ),
            Self::TooMany { param, most, got } => format!(
                "Invalid '{param}': array too long. Expected an array with maximum length {most}, but got an array \
                 with length {got} instead."
            ),
            Self::TooLong { param, most } => format!(
                "Invalid '{param}': string too long. Expected a string with maximum length {most}."
            ),
            Self::NoChoice { param, got, known } => {
                let known: Vec<String> = known.iter().map(|value| format!("'{value}'")).collect();
                format!("Invalid value for '{param}': '{got}'. Supported values are: {}.", known.join(", "))
            }
            Self::Invalid { param, why } => format!("Invalid '{param}': {why}."),
            Self::Unsupported { param, instead: Some(instead) } => format!(
                "Unsupported parameter: '{param}' is not supported with this model. Use '{instead}' instead."
            ),
            Self::Unsupported { param, instead: None } => {
                format!("Unsupported parameter: '{param}' is not supported with this model.")
            }
            Self::UnsupportedValue { param, value } => {
                format!("Unsupported value: '{param}' does not support {value} with this model.")
            }
            Self::ContextExceeded { window, input, output: None } => format!(
                "This model's maximum context length is {window} tokens. However, your messages resulted in {input} \
                 tokens. Please reduce the length of the messages."
            ),
            Self::ContextExceeded { window, input, output: Some(output) } => format!(
                "This model's maximum context length is {window} tokens. However, you requested {} tokens ({input} in \
                 the messages, {output} in the completion). Please reduce the length of the messages or completion.",
                input.saturating_add(*output)
            ),
            Self::ContextRefused { window } => format!(
                "This model's maximum context length is {window} tokens. However, your messages resulted in more tokens. \
                 Please reduce the length of the messages."
            ),
            Self::RateLimited { limit, retry_after_ms, .. } => {
                format!("Rate limit reached: {limit}. Please try again in {}.", wait(*retry_after_ms))
            }
            Self::NeverFits { limit, .. } => format!(
                "Request too large for your rate limit: {limit}. Trying again cannot help: ask for fewer output \
                 tokens or send a shorter input."
            ),
            Self::QuotaSpent { budget } => {
                format!("You exceeded your current quota: what is left of {budget} does not cover this request.")
            }
            Self::Malformed(why) => format!("The request could not be read: {why}"),
            Self::HeadTooLarge(why) => format!("The request's head is too large: {why}"),
            Self::BodyTooLarge(most) => format!("The request's body is larger than {most} bytes."),
            Self::RequestTimeout => "The request did not arrive in time.".into(),
            Self::LedgerUnavailable => "Limits and budgets cannot be checked right now. Please try again.".into(),
            Self::Unavailable(why) => format!("The server cannot take this request right now: {why}"),
            Self::Internal(id) => format!("The server had an error while processing your request {}.", brief(id)),
            Self::Upstream(Fault::Connect) => "The model's provider could not be reached.".into(),
            Self::Upstream(Fault::Timeout) => "The model's provider did not answer in time.".into(),
            Self::Upstream(Fault::Closed) => "The model's provider closed the connection before its answer ended.".into(),
            Self::Upstream(Fault::Malformed) => "The model's provider sent an answer that cannot be read.".into(),
            Self::UpstreamKey => "The gateway's own access to the model's provider was refused. Your key is fine: \
                                  please tell the operator of this gateway."
                .into(),
            Self::UpstreamStatus(status) => format!("The model's provider answered with status {status}."),
            Self::UpstreamsTripped { retry_after_ms } => format!(
                "The model's providers fail at present and are left alone. Please try again in {}.",
                wait(*retry_after_ms)
            ),
        }
    }

    fn headers(&self) -> Vec<OwnHeader> {
        let no_retry = || OwnHeader::new(Own::ShouldRetry, "false");
        match self {
            Self::WrongMethod { allow, .. } => vec![OwnHeader::new(Own::Allow, *allow)],
            Self::RateLimited { retry_after_ms, .. } | Self::UpstreamsTripped { retry_after_ms } => {
                let seconds = retry_after_ms.div_ceil(1_000).max(1);
                vec![
                    OwnHeader::new(Own::RetryAfter, seconds.to_string()),
                    OwnHeader::new(Own::RetryAfterMs, retry_after_ms.to_string()),
                ]
            }
            // What waiting cannot mend.
            Self::NeverFits { .. } | Self::QuotaSpent { .. } | Self::UpstreamKey | Self::KeyUnusable(_) => {
                vec![no_retry()]
            }
            Self::LedgerUnavailable | Self::Unavailable(_) => vec![OwnHeader::new(Own::RetryAfter, "1")],
            _ => Vec::new(),
        }
    }

    /// The whole reply, with headers of the exchange after its own.
    pub fn reply(&self, more: Vec<OwnHeader>) -> Reply {
        let mut headers = vec![OwnHeader::new(Own::ContentType, "application/json")];
        headers.extend(self.headers());
        headers.extend(more);
        Reply { status: self.row().status, headers, body: self.body() }
    }

    /// The same as a server-sent event, for a stream that has begun.
    pub fn event(&self) -> Vec<u8> {
        [b"data: ", self.body().as_slice(), b"\n\n"].concat()
    }

    fn body(&self) -> Vec<u8> {
        let Row { kind, code, .. } = self.row();
        let error = ErrorObject { message: self.message(), kind, param: self.param().map(brief), code };
        // Writing strings to memory does not fail.
        serde_json::to_vec(&Envelope { error }).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Envelope {
    error: ErrorObject,
}

#[derive(Serialize)]
struct ErrorObject {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<String>,
    code: &'static str,
}

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Requests | Unit::Concurrent => "requests",
        Unit::Tokens => "tokens",
        Unit::Money => "insufficient_quota",
    }
}

/// What a client sent, short enough to be sent back.
pub fn brief(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
