//! The fields of a request that Tollgate acts on.
//!
//! Scalars are read as the raw text of their value, which also says where they stand: its address in the body.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Span;
use super::walk::{Shape, Walk};
use crate::endpoint::Kind;
use crate::estimate::{MOST_OUTPUT, Text};
use crate::message::Edit;
use crate::refusal::Refusal;

/// What was found.
#[derive(Default)]
pub struct Fields<'b> {
    /// The name and where it stands.
    pub model: Option<(Cow<'b, str>, Span)>,
    /// Where `stream` is true, if it is.
    pub stream: Option<Span>,
    pub options: Options,
    /// `n`.
    pub choices: Option<u64>,
    pub max_tokens: Option<u64>,
    pub max_completion_tokens: Option<u64>,
    /// How many there are.
    pub messages: Option<u64>,
    /// Whether there are tools.
    pub has_tools: bool,
    /// Whether it is there.
    pub input: bool,
    /// The text of the messages or of the input.
    pub text: Text,
    /// How many numbers stand in the input.
    pub numbers: u64,
}

/// What `stream_options` says about usage, and where it would have to say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Options {
    /// `include_usage` is true.
    Asked,
    /// `include_usage` has another value, here.
    Otherwise(Span),
    /// An object without it, here.
    Unsaid { object: Span, empty: bool },
    /// `null`, here.
    Null(Span),
    /// Not there.
    #[default]
    Absent,
}

impl Options {
    /// The smallest change that asks for usage; `stream` is where the value of `stream` stands.
    pub fn usage_edit(&self, stream: Span) -> Option<Edit> {
        match self {
            Self::Asked => None,
            Self::Otherwise(value) => Some(value.replaced("true")),
            Self::Unsaid { object, empty: true } => Some(object.inside().replaced(r#""include_usage":true"#)),
            Self::Unsaid { object, empty: false } => {
                Some(object.inside().replaced(r#""include_usage":true,"#))
            }
            Self::Null(value) => Some(value.replaced(r#"{"include_usage":true}"#)),
            Self::Absent => Some(stream.after().replaced(r#","stream_options":{"include_usage":true}"#)),
        }
    }
}

const CHAT: [&str; 8] =
    ["model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "tools"];
const EMBEDDINGS: [&str; 2] = ["model", "input"];

const MOST_CHOICES: u64 = 128;

impl<'b> Fields<'b> {
    /// Reads the body of a request.
    pub fn read(kind: Kind, body: &'b str) -> Result<Self, Refusal> {
        if !body.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
            return Err(Refusal::NotJson("it is not a JSON object".into()));
        }
        let mut fields = Self::default();
        let mut walk = Walk::default();
        let mut json = serde_json::Deserializer::from_str(body);
        json.disable_recursion_limit();
        let top = Top { kind, body, walk: &mut walk, fields: &mut fields };
        let read = json.deserialize_any(top).and_then(|()| json.end());
        match (walk.refusal, read) {
            (Some(refusal), _) => Err(refusal),
            (None, Err(error)) => Err(Refusal::NotJson(error.to_string())),
            (None, Ok(())) => Ok(fields),
        }
    }

    /// A field whose value is read as raw text.
    fn scalar(&mut self, key: &str, text: &'b str, span: Span) -> Result<(), Refusal> {
        match key {
            "model" => {
                let name = string(text).ok_or(Refusal::WrongType { param: "model", expected: "a string" })?;
                if name.is_empty() {
                    return Err(Refusal::Empty { param: "model", what: "the model's name" });
                }
                self.model = Some((name, span));
            }
            "stream" => self.stream = boolean("stream", text)?.then_some(span),
            "n" => self.choices = integer("n", text, MOST_CHOICES)?,
            "max_tokens" => self.max_tokens = integer("max_tokens", text, MOST_OUTPUT)?,
            _ => self.max_completion_tokens = integer("max_completion_tokens", text, MOST_OUTPUT)?,
        }
        Ok(())
    }

    /// `messages` or `input`.
    fn content(&mut self, kind: Kind, shape: Shape) -> Result<(), Refusal> {
        match (kind, shape) {
            (Kind::Chat, Shape::Array(0)) => Err(Refusal::Empty { param: "messages", what: "the array" }),
            (Kind::Chat, Shape::Array(count)) => {
                self.messages = Some(count);
                Ok(())
            }
            (Kind::Chat, _) => {
                Err(Refusal::WrongType { param: "messages", expected: "an array of messages" })
            }
            (Kind::Embeddings, Shape::Array(0)) => Err(Refusal::Empty { param: "input", what: "the array" }),
            (Kind::Embeddings, Shape::Array(_) | Shape::String) => {
                self.input = true;
                Ok(())
            }
            (Kind::Embeddings, _) => {
                Err(Refusal::WrongType { param: "input", expected: "a string or an array" })
            }
        }
    }
}

/// The object that a body is.
struct Top<'w, 'b> {
    kind: Kind,
    body: &'b str,
    walk: &'w mut Walk<'b>,
    fields: &'w mut Fields<'b>,
}

impl<'b> Visitor<'b> for Top<'_, 'b> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<M: MapAccess<'b>>(self, map: M) -> Result<(), M::Error> {
        let Self { kind, body, walk, fields } = self;
        walk.object(map, |walk, key, map| match (kind, key) {
            (_, "model") | (Kind::Chat, "stream" | "n" | "max_tokens" | "max_completion_tokens") => {
                let (text, span) = raw(map, body)?;
                fields.scalar(key, text, span).map_err(|refusal| walk.refuse(refusal))
            }
            (Kind::Chat, "stream_options") => {
                let (text, span) = raw(map, body)?;
                fields.options = match text {
                    "null" => Options::Null(span),
                    _ => StreamOptions { body, span, walk }.read(text)?,
                };
                Ok(())
            }
            (Kind::Chat, "tools") => {
                fields.has_tools = matches!(map.next_value_seed(walk.any())?, Shape::Array(1..));
                Ok(())
            }
            (Kind::Chat, "messages") | (Kind::Embeddings, "input") => {
                (walk.text, walk.numbers) = Default::default();
                let shape = map.next_value_seed(walk.any())?;
                (fields.text, fields.numbers) = (walk.text, walk.numbers);
                fields.content(kind, shape).map_err(|refusal| walk.refuse(refusal))
            }
            _ => {
                let known: &[&str] = match kind {
                    Kind::Chat => &CHAT,
                    Kind::Embeddings => &EMBEDDINGS,
                };
                walk.check_case(key, known)?;
                map.next_value_seed(walk.any()).map(|_| ())
            }
        })
    }
}

/// The value of `stream_options`, which stands here.
struct StreamOptions<'w, 'b> {
    body: &'b str,
    span: Span,
    walk: &'w mut Walk<'b>,
}

impl<'b> StreamOptions<'_, 'b> {
    fn read<E: Error>(self, text: &'b str) -> Result<Options, E> {
        if !text.starts_with('{') {
            return Err(self
                .walk
                .refuse(Refusal::WrongType { param: "stream_options", expected: "an object" }));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        json.disable_recursion_limit();
        json.deserialize_any(self).map_err(E::custom)
    }
}

impl<'b> Visitor<'b> for StreamOptions<'_, 'b> {
    type Value = Options;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<M: MapAccess<'b>>(self, map: M) -> Result<Options, M::Error> {
        const PARAM: &str = "stream_options.include_usage";
        let Self { body, span, walk } = self;
        let mut empty = true;
        let mut said = None;
        walk.object(map, |walk, key, map| {
            empty = false;
            if key != "include_usage" {
                walk.check_case(key, &["include_usage"])?;
                return map.next_value_seed(walk.any()).map(|_| ());
            }
            let (text, span) = raw(map, body)?;
            said = Some(match boolean(PARAM, text).map_err(|refusal| walk.refuse(refusal))? {
                true => Options::Asked,
                false => Options::Otherwise(span),
            });
            Ok(())
        })?;
        Ok(said.unwrap_or(Options::Unsaid { object: span, empty }))
    }
}

/// The text of a value and where it stands.
fn raw<'b, M: MapAccess<'b>>(map: &mut M, body: &'b str) -> Result<(&'b str, Span), M::Error> {
    let text = map.next_value::<&'b RawValue>()?.get();
    let span = Span::of(text, body).ok_or_else(|| M::Error::custom("a value outside of the body"))?;
    Ok((text, span))
}

fn string(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(text).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// `null` says as much as nothing.
fn boolean(param: &'static str, text: &str) -> Result<bool, Refusal> {
    match text {
        "true" => Ok(true),
        "false" | "null" => Ok(false),
        _ => Err(Refusal::WrongType { param, expected: "a boolean" }),
    }
}

/// `null` says as much as nothing.
fn integer(param: &'static str, text: &str, most: u64) -> Result<Option<u64>, Refusal> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    if text == "null" {
        return Ok(None);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::WrongType { param, expected: "an integer" });
    }
    match digits.parse() {
        Ok(0) => Err(Refusal::BelowMinimum { param, least: 1 }),
        _ if negative => Err(Refusal::BelowMinimum { param, least: 1 }),
        Ok(number) if number <= most => Ok(Some(number)),
        _ => Err(Refusal::AboveMaximum { param, most }),
    }
}
