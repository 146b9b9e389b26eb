//! What is done when an upstream says itself that a conversation is too long.
//!
//! Providers say it in their own ways, always with status 400. What is read is the code and the message of
//! `{"error":{..}}`, of that in a list of one, or of an object without `error`:
//!
//! | who | how |
//! |---|---|
//! | OpenAI, Azure, Groq and who imitates them | code `context_length_exceeded` |
//! | vLLM, DeepSeek, OpenRouter, Mistral, Fireworks | "maximum context length" |
//! | Anthropic | "prompt is too long", "exceed context limit" |
//! | Gemini | "exceeds the maximum number of tokens allowed" |
//! | xAI | "maximum prompt length" |
//! | llama.cpp | "exceeds the available context size" |
//! | Bedrock | "input is too long for requested model" |

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::Config;
use crate::endpoint::Kind;
use crate::message::{Answer, Attempt, Outcome};
use crate::refusal::Refusal;
use crate::request::string;
use crate::ticket::{BadTicket, Exchange};

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learnt {
    /// Nothing: the answer is about something else, or says all a client must know.
    Nothing,
    /// Send the other form of the request, at this position.
    Send(u32),
    /// Tell the client in words that it knows.
    Refuse(Refusal),
}

/// Reads the outcome of a try of this exchange.
pub fn read(config: &Config, exchange: &Exchange<'_>, attempt: &Attempt) -> Result<Learnt, BadTicket> {
    let context = config.model(exchange.model).ok_or(BadTicket)?.context;
    let (Some(context), Kind::Chat, Outcome::Answer(answer)) = (context, exchange.kind, &attempt.outcome)
    else {
        return Ok(Learnt::Nothing);
    };
    let said = said(answer);
    if said == Said::Nothing {
        return Ok(Learnt::Nothing);
    }
    if let Some(position) = exchange.spare_for(attempt.target)? {
        return Ok(Learnt::Send(position));
    }
    Ok(match said {
        Said::Code => Learnt::Nothing,
        _ => Learnt::Refuse(Refusal::ContextRefused { window: context.window }),
    })
}

/// How an upstream says that a conversation is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// Not at all.
    Nothing,
    /// By OpenAI's code, in OpenAI's shape.
    Code,
    /// Otherwise.
    Words,
}

/// In lower case.
const WORDS: [&str; 7] = [
    "maximum context length",
    "prompt is too long",
    "exceed context limit",
    "exceeds the maximum number of tokens allowed",
    "maximum prompt length",
    "exceeds the available context size",
    "input is too long for requested model",
];

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow)]
    error: Option<&'b RawValue>,
    #[serde(borrow)]
    message: Option<&'b RawValue>,
}

#[derive(Default, Deserialize)]
struct Error<'b> {
    #[serde(borrow)]
    code: Option<&'b RawValue>,
    #[serde(borrow)]
    message: Option<&'b RawValue>,
}

fn said(answer: &Answer) -> Said {
    let Some(body) = answer.body.as_deref().filter(|_| answer.status == 400) else { return Said::Nothing };
    let alone = serde_json::from_slice::<Body<'_>>(body);
    let is_alone = alone.is_ok();
    let Ok((body,)) = alone.map(|body| (body,)).or_else(|_| serde_json::from_slice(body)) else {
        return Said::Nothing;
    };
    let error: Error<'_> =
        body.error.and_then(|error| serde_json::from_str(error.get()).ok()).unwrap_or_default();
    if error.code.is_some_and(|code| code.get() == "\"context_length_exceeded\"") {
        return if is_alone { Said::Code } else { Said::Words };
    }
    let message = error.message.or(body.message).and_then(|message| string(message.get()));
    let message = message.unwrap_or_default().to_ascii_lowercase();
    if WORDS.iter().any(|words| message.contains(words)) { Said::Words } else { Said::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Said {
        said(&Answer { status, headers: vec![], body: Some(body.as_bytes().to_vec()) })
    }

    #[test]
    fn providers_say_it_in_their_own_ways() {
        for message in [
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
            "This endpoint's maximum context length is 131072 tokens. However, you requested about 132463 tokens",
            "prompt is too long: 214850 tokens > 200000 maximum",
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
            "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).",
            "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
            "the request exceeds the available context size. try increasing the context size",
            "Input is too long for requested model.",
        ] {
            let error = serde_json::json!({ "code": 400, "message": message });
            for body in [
                serde_json::json!({ "error": error }),
                serde_json::json!([{ "error": error }]),
                error.clone(),
            ] {
                assert_eq!(of(400, &body.to_string()), Said::Words, "{body}");
                assert_eq!(of(500, &body.to_string()), Said::Nothing, "{body}");
            }
        }
        assert_eq!(of(400, r#"{"error":{"code":"context_length_exceeded","message":null}}"#), Said::Code);
        assert_eq!(of(400, r#"[{"error":{"code":"context_length_exceeded"}}]"#), Said::Words);
    }

    #[test]
    fn other_errors_are_about_something_else() {
        for body in [
            "",
            "maximum context length",
            "5",
            "[]",
            r#"{"error":"maximum context length"}"#,
            r#"{"error":{"message":"Invalid 'temperature'","code":"invalid_value"}}"#,
            r#"{"error":{"param":"maximum context length","message":5}}"#,
            r#"{"error":{},"detail":"prompt is too long"}"#,
        ] {
            assert_eq!(of(400, body), Said::Nothing, "{body}");
        }
        let none = Answer { status: 400, headers: vec![], body: None };
        assert_eq!(said(&none), Said::Nothing);
    }
}
