//! The fields of a request that Tollgate acts on.
//!
//! Scalars are read as the raw text of their value, which also says where they stand: its address in the body.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Span;
use super::check::{Check, scalar, too_many_inputs};
use super::schema::{self, Field, Type};
use super::walk::{Counting, Shape, Walk};
use crate::endpoint::Kind;
use crate::estimate::Input;
use crate::message::Edit;
use crate::refusal::{Refusal, brief};

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
    /// Where the array of messages begins.
    pub messages_at: Option<Span>,
    /// Whether there are tools.
    pub has_tools: bool,
    /// Whether it is there.
    pub input: bool,
    /// All that the model is given to read.
    pub sent: Input,
    /// The parameters that are there and not null, without the messages and the input, in their order.
    pub members: Vec<Member<'b>>,
    /// How many fields the body has.
    pub count: usize,
    /// Where `developer` stands as a role.
    pub developers: Vec<Span>,
    /// The kinds of parts in messages that are not text.
    pub media: BTreeSet<&'static str>,
}

/// A parameter as the client wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'b> {
    pub field: &'static Field,
    /// Its place among all fields, from 0.
    pub order: usize,
    pub value: Span,
    pub text: &'b str,
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

impl<'b> Fields<'b> {
    /// Reads the body of a request.
    pub fn read(kind: Kind, body: &'b str) -> Result<Self, Refusal> {
        if !body.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
            return Err(Refusal::NotJson("it is not a JSON object".into()));
        }
        let mut fields = Self::default();
        let mut walk = Walk::new(body, body.len());
        let mut json = serde_json::Deserializer::from_str(body);
        json.disable_recursion_limit();
        let top = Top { kind, walk: &mut walk, fields: &mut fields };
        let read = json.deserialize_any(top).and_then(|()| json.end());
        match (walk.refusal, read) {
            (Some(refusal), _) => Err(refusal),
            (None, Err(error)) => Err(Refusal::NotJson(error.to_string())),
            (None, Ok(())) => {
                fields.sent = walk.input;
                (fields.developers, fields.media) = (walk.said.developers, walk.said.all_media);
                fields.check_together(&walk.said.functions)?;
                Ok(fields)
            }
        }
    }

    /// Takes in a parameter whose type is right.
    fn take(&mut self, walk: &mut Walk<'b>, member: Member<'b>) -> Result<(), Refusal> {
        let Member { field, value, text, .. } = member;
        let count = || text.parse().ok();
        match field.name {
            "model" => self.model = string(text).map(|name| (name, value)),
            "stream" => self.stream = (text == "true").then_some(value),
            "n" => self.choices = count(),
            "max_tokens" => self.max_tokens = count(),
            "max_completion_tokens" => self.max_completion_tokens = count(),
            "tools" => self.has_tools = !walk.said.functions.is_empty() || text != "[]",
            "tool_choice" => {
                const KNOWN: &[&str] = &["none", "auto", "required"];
                let chosen = string(text);
                if let Some(got) = chosen.filter(|choice| !KNOWN.contains(&&**choice)) {
                    let (param, got) = ("tool_choice".into(), brief(&got));
                    return Err(Refusal::NoChoice { param, got, known: KNOWN });
                }
            }
            _ => {}
        }
        self.members.push(member);
        Ok(())
    }

    /// A parameter by its name.
    pub fn member(&self, name: &str) -> Option<&Member<'b>> {
        self.members.iter().find(|member| member.field.name == name)
    }

    /// What parameters must be to one another.
    fn check_together(&self, functions: &[Cow<'_, str>]) -> Result<(), Refusal> {
        let is_there = |name| self.member(name).is_some();
        let invalid = |param: &'static str, why: &str| {
            Err(Refusal::Invalid { param: param.into(), why: why.to_owned() })
        };
        if is_there("stream_options") && self.stream.is_none() {
            return invalid("stream_options", "it is only allowed when 'stream' is enabled");
        }
        if let (Some(one), Some(other)) = (self.max_tokens, self.max_completion_tokens)
            && one != other
        {
            return invalid("max_tokens", "it differs from 'max_completion_tokens'; send one of them");
        }
        let has_logprobs = self.member("logprobs").is_some_and(|member| member.text == "true");
        if is_there("top_logprobs") && !has_logprobs {
            return invalid("top_logprobs", "it is only allowed when 'logprobs' is enabled");
        }
        if !self.has_tools {
            for param in ["tool_choice", "parallel_tool_calls"] {
                if is_there(param) {
                    return invalid(param, "it is only allowed when 'tools' are specified");
                }
            }
        }
        let chosen = self.member("tool_choice").filter(|member| member.text.starts_with('{'));
        if let Some(name) = chosen.and_then(|member| function_name(member.text))
            && !functions.contains(&name)
        {
            let why = format!("there is no function '{}' among the tools", brief(&name));
            return invalid("tool_choice.function.name", &why);
        }
        Ok(())
    }
}

/// The function that a `tool_choice` names.
fn function_name(choice: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Choice<'c> {
        #[serde(borrow)]
        function: Option<Named<'c>>,
    }
    #[derive(Deserialize)]
    struct Named<'c> {
        #[serde(borrow)]
        name: Cow<'c, str>,
    }
    serde_json::from_str::<Choice<'_>>(choice).ok()?.function.map(|function| function.name)
}

/// The object that a body is.
struct Top<'w, 'b> {
    kind: Kind,
    walk: &'w mut Walk<'b>,
    fields: &'w mut Fields<'b>,
}

impl<'b> Visitor<'b> for Top<'_, 'b> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<M: MapAccess<'b>>(self, map: M) -> Result<(), M::Error> {
        let Self { kind, walk, fields } = self;
        let known = match kind {
            Kind::Chat => schema::CHAT,
            Kind::Embeddings => schema::EMBEDDINGS,
        };
        walk.object(map, |walk, key, map| {
            let order = fields.count;
            fields.count = order.saturating_add(1);
            let Some(field) = known.iter().find(|field| field.name == key) else {
                walk.check_case(key, known.iter().map(|field| field.name))?;
                return map.next_value_seed(walk.any()).map(drop);
            };
            match field.name {
                "messages" => {
                    fields.messages_at = Span::of(key, walk.body).and_then(|key| key.value_after(walk.body));
                    let shape = content(walk, field, map)?;
                    fields.messages = match shape {
                        Shape::Array(count) => Some(count),
                        _ => return Err(walk.wrong(field.of.expected())),
                    };
                    Ok(())
                }
                "input" => {
                    walk.numbers = 0;
                    let shape = content(walk, field, map)?;
                    if shape == Shape::Null {
                        return Err(walk.wrong(field.of.expected()));
                    }
                    if let Some(got) = too_many_inputs(shape, walk.numbers) {
                        let param = "input".into();
                        return Err(walk.refuse(Refusal::TooMany { param, most: schema::MOST_INPUTS, got }));
                    }
                    fields.input = true;
                    Ok(())
                }
                _ => {
                    let (text, value) = raw(map, walk.body)?;
                    if text == "null" && !field.needed {
                        if field.name == "stream_options" {
                            fields.options = Options::Null(value);
                        }
                        return Ok(());
                    }
                    match field.name {
                        "stream_options" => {
                            fields.options =
                                StreamOptions { body: walk.body, span: value, walk }.read(text)?;
                        }
                        "tools" | "functions" | "response_format" => {
                            walk.counting = Counting::Schema;
                            inner(walk, field, text)?;
                            walk.counting = Counting::Nothing;
                        }
                        _ => inner(walk, field, text)?,
                    }
                    let member = Member { field, order, value, text };
                    fields.take(walk, member).map_err(|refusal| walk.refuse(refusal))
                }
            }
        })
    }
}

/// Reads the messages or the input, and counts what is in them.
fn content<'b, M: MapAccess<'b>>(
    walk: &mut Walk<'b>,
    field: &'static Field,
    map: &mut M,
) -> Result<Shape, M::Error> {
    walk.counting = Counting::Values;
    let found = map.next_value_seed(Check { walk: &mut *walk, of: &field.of })?;
    walk.counting = Counting::Nothing;
    Ok(found.shape)
}

/// Holds a parameter's value, given as its text, against its type.
fn inner<'b, E: Error>(walk: &mut Walk<'b>, field: &'static Field, text: &'b str) -> Result<(), E> {
    let found = match field.of {
        Type::Boolean | Type::Integer { .. } | Type::Decimal { .. } => scalar(walk, &field.of, text)?,
        _ => {
            let mut json = serde_json::Deserializer::from_str(text);
            json.disable_recursion_limit();
            Check { walk: &mut *walk, of: &field.of }.deserialize(&mut json).map_err(E::custom)?
        }
    };
    if found.shape == Shape::Null { Err(walk.wrong(field.of.expected())) } else { Ok(()) }
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
            return Err(self.walk.wrong("an object"));
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
        let Self { body, span, walk } = self;
        let mut empty = true;
        let mut said = None;
        walk.object(map, |walk, key, map| {
            empty = false;
            if key != "include_usage" {
                walk.check_case(key, ["include_usage"].into_iter())?;
                return map.next_value_seed(walk.any()).map(|_| ());
            }
            let (text, span) = raw(map, body)?;
            said = Some(match text {
                "true" => Options::Asked,
                "false" | "null" => Options::Otherwise(span),
                _ => return Err(walk.wrong("a boolean")),
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

/// What a string of JSON says; nothing if it is no string.
pub fn string(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(text).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}
