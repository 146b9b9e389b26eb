//! `POST /v1/chat/completions`: the answer as one document or as events.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::Value;

use crate::ask::{Fields, Pace, text_of, wrong};
use crate::error::ApiError;
use crate::shape::{Choice, Delta, Document, Event, EventChoice, Head, Message, ToolCall, Usage};
use crate::speech::{tokens, words};
use crate::tools::{self, Call};
use crate::{Answer, Body, json};

/// Characters of a tool's arguments in one event.
const ARGUMENTS_PIECE: usize = 12;

/// Reads a request and answers it in the model's time.
pub fn answer(body: &[u8]) -> Result<Answer, ApiError> {
    let fields = Fields::read(body)?;
    let model = fields.model()?;
    let pace = Pace::of(model);
    let messages = fields.list("messages")?;
    let choices = fields.number("n", 1, 128)?.unwrap_or(1);
    let limits =
        [fields.number("max_tokens", 1, u64::MAX)?, fields.number("max_completion_tokens", 1, u64::MAX)?];
    let limit = limits.into_iter().flatten().min().unwrap_or(u64::MAX);
    let stream = fields.flag("stream")?;
    let include_usage = include_usage(&fields, stream)?;

    let said = match tools::call(&fields, messages) {
        Some(call) => Said::Call(call),
        None => Said::Words { count: pace.tokens.min(limit), whole: pace.tokens <= limit },
    };
    let per_choice = match &said {
        Said::Words { count, .. } => *count,
        Said::Call(call) => tokens(&call.name) + tokens(&call.arguments),
    };
    let reply = Reply {
        head: Head::new(model),
        usage: Usage::of(prompt_tokens(&fields, messages), per_choice.saturating_mul(choices)),
        choices,
        said,
    };
    if stream {
        return Ok(Answer::at_once(reply.events(pace.gap, include_usage)));
    }
    let wait = pace.gap.saturating_mul(u32::try_from(per_choice).unwrap_or(u32::MAX));
    Ok(Answer { wait, response: reply.document() })
}

fn include_usage(fields: &Fields, stream: bool) -> Result<bool, ApiError> {
    let Some(options) = fields.get("stream_options") else { return Ok(false) };
    if !stream {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(ApiError::bad_request(message, Some("stream_options")));
    }
    match options.get("include_usage") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(include)) => Ok(*include),
        Some(_) => Err(wrong("stream_options", "include_usage to be a boolean")),
    }
}

/// What is counted of a request: the text, four for each message's frame, the tools as they were sent.
fn prompt_tokens(fields: &Fields, messages: &[Value]) -> u64 {
    let mut text = String::new();
    messages.iter().for_each(|message| {
        text_of(message, &mut text);
        text.push('\n');
    });
    let tools = fields.get("tools").map_or(0, |tools| tokens(&tools.to_string()));
    let frames = u64::try_from(messages.len()).unwrap_or(u64::MAX).saturating_mul(4).saturating_add(3);
    tokens(&text).saturating_add(frames).saturating_add(tools)
}

struct Reply {
    head: Head,
    usage: Usage,
    choices: u64,
    said: Said,
}

enum Said {
    Words { count: u64, whole: bool },
    Call(Call),
}

impl Said {
    const fn finish_reason(&self) -> &'static str {
        match self {
            Self::Words { whole: true, .. } => "stop",
            Self::Words { whole: false, .. } => "length",
            Self::Call(_) => "tool_calls",
        }
    }

    /// How many events one choice takes.
    fn steps(&self) -> u64 {
        match self {
            Self::Words { count, .. } => *count,
            Self::Call(call) => {
                1 + u64::try_from(call.arguments.chars().count().div_ceil(ARGUMENTS_PIECE)).unwrap_or(0)
            }
        }
    }

    /// What the events of one choice say, one after the other.
    fn deltas(&self, index: u64) -> Box<dyn Iterator<Item = Delta> + Send> {
        match self {
            Self::Words { count, whole } => Box::new(words(*count, index, *whole).map(Delta::content)),
            Self::Call(call) => {
                let arguments: Vec<char> = call.arguments.chars().collect();
                let pieces: Vec<Delta> = arguments
                    .chunks(ARGUMENTS_PIECE)
                    .map(|piece| Delta::arguments(piece.iter().collect()))
                    .collect();
                Box::new(std::iter::once(Delta::call(index, &call.name)).chain(pieces))
            }
        }
    }
}

impl Reply {
    fn document(&self) -> Response<Body> {
        let choice = |index| {
            let (content, tool_calls) = match &self.said {
                Said::Words { count, whole } => (Some(words(*count, index, *whole).collect()), None),
                Said::Call(call) => (None, Some([ToolCall::whole(index, &call.name, &call.arguments)])),
            };
            let message = Message { role: "assistant", content, refusal: None, tool_calls };
            Choice { index, message, logprobs: None, finish_reason: self.said.finish_reason() }
        };
        let choices = (0..self.choices).map(choice).collect();
        json(&Document { head: &self.head, object: "chat.completion", choices, usage: self.usage })
    }

    /// One event for each token of each choice, between one that names the role and one that says why it ended.
    fn events(self, gap: Duration, include_usage: bool) -> Response<Body> {
        let Self { head, usage, choices, said } = self;
        let finish_reason = said.finish_reason();
        let calls = matches!(said, Said::Call(_));
        let mut spoken: Vec<_> = (0..choices).map(|index| said.deltas(index)).collect();
        let total = said.steps().saturating_mul(choices);

        let head = Arc::new(head);
        let event = {
            let head = Arc::clone(&head);
            move |index, delta, finish_reason| {
                let choice = EventChoice { index, delta, logprobs: None, finish_reason };
                frame(&Event::of(&head, vec![choice], include_usage.then_some(None)))
            }
        };
        let (opening, ending) = (event.clone(), event.clone());
        let openings = (0..choices).map(move |index| {
            let wait = if index == 0 { gap } else { Duration::ZERO };
            (wait, opening(index, Delta::opening(calls), None))
        });
        let middle = (0..total).filter_map(move |number| {
            let (step, index) = (number.checked_div(choices)?, number.checked_rem(choices)?);
            let delta = spoken.get_mut(usize::try_from(index).ok()?)?.next()?;
            let wait = if index == 0 && step > 0 { gap } else { Duration::ZERO };
            Some((wait, event(index, delta, None)))
        });
        let endings = (0..choices)
            .map(move |index| (Duration::ZERO, ending(index, Delta::default(), Some(finish_reason))));
        let usage = include_usage.then(|| frame(&Event::of(&head, Vec::new(), Some(Some(usage)))));
        let last = usage.into_iter().chain([Bytes::from_static(b"data: [DONE]\n\n")]);
        let frames = openings.chain(middle).chain(endings).chain(last.map(|frame| (Duration::ZERO, frame)));

        let mut response = Response::<Body>::new(Box::new(frames));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

fn frame(event: &Event<'_>) -> Bytes {
    let mut text = b"data: ".to_vec();
    // A value made of strings and numbers always serializes.
    let _ = serde_json::to_writer(&mut text, event);
    text.extend_from_slice(b"\n\n");
    text.into()
}
