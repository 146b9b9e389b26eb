//! Reads a value and holds it against its [`Type`], in one pass: what is wrong stops the reading with its path.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Span;
use super::number::{Number, shown};
use super::schema::{Field, MOST_INPUTS, Object, ObjectKind, Type};
use super::walk::{Shape, Walk};
use crate::refusal::{Refusal, brief};

/// A value to be read that must be of this type.
pub struct Check<'w, 'b> {
    pub walk: &'w mut Walk<'b>,
    pub of: &'static Type,
}

/// What was read.
#[derive(Debug)]
pub struct Found<'b> {
    pub shape: Shape,
    /// The value, if it is a string.
    pub text: Option<Cow<'b, str>>,
}

/// What messages and tools said that only others can tell the truth of.
#[derive(Default)]
pub struct Said<'b> {
    /// Ids of tool calls so far.
    calls: BTreeSet<Cow<'b, str>>,
    /// Names of the functions among the tools.
    pub functions: Vec<Cow<'b, str>>,
    /// The name read last.
    pub name: Option<Cow<'b, str>>,
    /// The media in the message that is being read.
    media: Option<&'static str>,
    /// The media in any message.
    pub all_media: BTreeSet<&'static str>,
    /// Where `developer` stands as a role, without its quotes.
    pub developers: Vec<Span>,
}

impl<'b> DeserializeSeed<'b> for Check<'_, 'b> {
    type Value = Found<'b>;

    fn deserialize<D: Deserializer<'b>>(self, from: D) -> Result<Found<'b>, D::Error> {
        match self.of {
            Type::Boolean | Type::Integer { .. } | Type::Decimal { .. } => {
                let text = <&RawValue as serde::Deserialize>::deserialize(from)?.get();
                scalar(self.walk, self.of, text)
            }
            _ => from.deserialize_any(self),
        }
    }
}

/// Holds the raw text of a value against a type of numbers or booleans.
pub fn scalar<'b, E: Error>(walk: &mut Walk<'b>, of: &'static Type, text: &str) -> Result<Found<'b>, E> {
    let found = |shape| Ok(Found { shape, text: None });
    let wrong = |walk: &mut Walk<'b>| Err(walk.wrong(of.expected()));
    match (of, text) {
        (_, "null") => found(Shape::Null),
        (Type::Boolean, "true" | "false") => found(Shape::Scalar),
        (Type::Integer { least, most }, _) => {
            let Some(number) = Number::read(text).filter(|number| number.is_whole()) else {
                return wrong(walk);
            };
            let param = || walk.path().into();
            let refusal = match text.parse::<i64>() {
                Ok(number) if number < *least => Refusal::BelowMinimum { param: param(), least: *least },
                Ok(number) if number > *most => Refusal::AboveMaximum { param: param(), most: *most },
                // A whole number that is not written as one, such as `1e2`.
                Err(_) if text.contains(['.', 'e', 'E']) => return wrong(walk),
                Err(_) if number.is_below(0) => Refusal::BelowMinimum { param: param(), least: *least },
                Err(_) => Refusal::AboveMaximum { param: param(), most: *most },
                Ok(_) => return found(Shape::Scalar),
            };
            Err(walk.refuse(refusal))
        }
        (Type::Decimal { least, most }, _) => {
            let Some(number) = Number::read(text) else { return wrong(walk) };
            let param = || walk.path().into();
            let refusal = if number.is_below(*least) {
                Refusal::DecimalBelow { param: param(), least: shown(*least), got: brief(text) }
            } else if number.is_above(*most) {
                Refusal::DecimalAbove { param: param(), most: shown(*most), got: brief(text) }
            } else {
                return found(Shape::Scalar);
            };
            Err(walk.refuse(refusal))
        }
        _ => wrong(walk),
    }
}

impl<'b> Visitor<'b> for Check<'_, 'b> {
    type Value = Found<'b>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.of.expected())
    }

    fn visit_unit<E>(self) -> Result<Found<'b>, E> {
        Ok(Found { shape: Shape::Null, text: None })
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Found<'b>, E> {
        self.other(Shape::Scalar)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Found<'b>, E> {
        self.walk.number();
        self.other(Shape::Scalar)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Found<'b>, E> {
        self.visit_u64(0)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Found<'b>, E> {
        self.visit_u64(0)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'b str) -> Result<Found<'b>, E> {
        self.string(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Found<'b>, E> {
        self.string(Cow::Owned(text.to_owned()))
    }

    fn visit_seq<S: SeqAccess<'b>>(self, seq: S) -> Result<Found<'b>, S::Error> {
        let Self { walk, of } = self;
        let count = match of.in_an_array() {
            Some((of, least, most)) => {
                let count =
                    walk.array(seq, |walk, seq| Ok(seq.next_element_seed(Check { walk, of })?.is_some()))?;
                if count < least {
                    return Err(walk.refuse(Refusal::Empty { param: walk.path().into(), what: "the array" }));
                }
                if count > most {
                    let param = walk.path().into();
                    return Err(walk.refuse(Refusal::TooMany { param, most, got: count }));
                }
                count
            }
            None if matches!(of, Type::Any) => {
                walk.array(seq, |walk, seq| Ok(seq.next_element_seed(walk.any())?.is_some()))?
            }
            None => return Err(walk.wrong(of.expected())),
        };
        Ok(Found { shape: Shape::Array(u64::try_from(count).unwrap_or(u64::MAX)), text: None })
    }

    fn visit_map<M: MapAccess<'b>>(self, map: M) -> Result<Found<'b>, M::Error> {
        let Self { walk, of } = self;
        walk.check_depth()?;
        match of {
            Type::Object(object) | Type::TextOr(Type::Object(object)) => read_object(walk, object, map)?,
            Type::Map(of) => {
                walk.object(map, |walk, _, map| map.next_value_seed(Check { walk, of }).map(drop))?
            }
            Type::Any => walk.object(map, |walk, _, map| map.next_value_seed(walk.any()).map(drop))?,
            _ => return Err(walk.wrong(of.expected())),
        }
        Ok(Found { shape: Shape::Object, text: None })
    }
}

impl<'b> Check<'_, 'b> {
    /// A value of a shape without a type of its own.
    fn other<E: Error>(self, shape: Shape) -> Result<Found<'b>, E> {
        match self.of {
            Type::Any => Ok(Found { shape, text: None }),
            of => Err(self.walk.wrong(of.expected())),
        }
    }

    fn string<E: Error>(self, text: Cow<'b, str>) -> Result<Found<'b>, E> {
        let Self { walk, of } = self;
        walk.text(&text);
        let param = || walk.path().into();
        let refusal = match of {
            Type::Text { filled: true, .. } if text.is_empty() => {
                Refusal::Empty { param: param(), what: "the string" }
            }
            Type::Text { most, .. } if text.len() > *most => Refusal::TooLong { param: param(), most: *most },
            Type::Name if !is_name(&text) => Refusal::Invalid {
                param: param(),
                why: "expected 1 to 64 of the characters a-z, A-Z, 0-9, _ and -".into(),
            },
            Type::Choice(known) if !known.contains(&&*text) => {
                Refusal::NoChoice { param: param(), got: brief(&text), known }
            }
            Type::Input if text.is_empty() => Refusal::Empty { param: param(), what: "the string" },
            Type::Name => {
                walk.said.name = Some(text.clone());
                return Ok(Found { shape: Shape::String, text: Some(text) });
            }
            Type::Any | Type::Text { .. } | Type::Choice(_) | Type::TextOr(_) | Type::Input => {
                return Ok(Found { shape: Shape::String, text: Some(text) });
            }
            _ => return Err(walk.wrong(of.expected())),
        };
        Err(walk.refuse(refusal))
    }
}

/// Reads the fields of an object and holds it to what its kind needs.
fn read_object<'b, M: MapAccess<'b>>(
    walk: &mut Walk<'b>,
    object: &'static Object,
    map: M,
) -> Result<(), M::Error> {
    let counting = walk.counting;
    match object.kind {
        ObjectKind::Message => walk.said.media = None,
        ObjectKind::Media(_) => (walk.counting, walk.part) = Default::default(),
        _ => {}
    }
    let mut seen = Seen::default();
    walk.object(map, |walk, key, map| {
        let Some((index, field)) = (0..).zip(object.fields).find(|(_, field)| field.name == key) else {
            walk.check_case(key, object.fields.iter().map(|field| field.name))?;
            return map.next_value_seed(walk.any()).map(drop);
        };
        let found = map.next_value_seed(Check { walk, of: &field.of })?;
        if found.shape == Shape::Null {
            return if field.needed { Err(walk.wrong(field.of.expected())) } else { Ok(()) };
        }
        seen.fields |= 1_u32.checked_shl(index).unwrap_or(0);
        match field.name {
            name if object.by.is_some_and(|(by, _)| by == name) => seen.by = found.text,
            "id" | "tool_call_id" => seen.id = found.text,
            name => {
                if let (ObjectKind::Media(kind), Some(text)) = (object.kind, &found.text) {
                    walk.part.read(kind, name, text);
                }
            }
        }
        Ok(())
    })?;
    walk.counting = counting;
    let is_seen = |name: &str| seen.has(object.fields, name);
    let by = seen.by.as_deref().unwrap_or_default();
    let cases = object.by.map_or(&[][..], |(_, cases)| cases);
    let by_case = cases.iter().find(|(value, _)| *value == by).map_or(&[][..], |(_, names)| names);
    let needed = object.fields.iter().filter(|field| field.needed).map(|field| field.name);
    if let Some(missing) = needed.chain(by_case.iter().copied()).find(|name| !is_seen(name)) {
        let param = walk.inner(missing);
        return Err(walk.refuse(Refusal::Missing(param.into())));
    }
    match object.kind {
        ObjectKind::Plain => {}
        ObjectKind::Media(kind) => walk.input.add_part(kind, &walk.part),
        ObjectKind::Tool => walk.said.functions.extend(walk.said.name.take()),
        ObjectKind::ToolCall => walk.said.calls.extend(seen.id),
        ObjectKind::Part => {
            let media = ["image_url", "input_audio", "file"].into_iter().find(|media| *media == by);
            walk.said.media = walk.said.media.or(media);
            walk.said.all_media.extend(media);
        }
        ObjectKind::Message => {
            if let Some((name, why)) = wrong_message(walk, by, &seen, is_seen) {
                let param = walk.inner(name);
                let refusal = if why.is_empty() {
                    Refusal::Missing(param.into())
                } else {
                    Refusal::Invalid { param: param.into(), why }
                };
                return Err(walk.refuse(refusal));
            }
            if by == "developer"
                && let Some(Cow::Borrowed(role)) = &seen.by
            {
                walk.said.developers.extend(Span::of(role, walk.body));
            }
        }
    }
    Ok(())
}

/// What an object has.
#[derive(Default)]
struct Seen<'b> {
    /// A bit for each field that is there and not null.
    fields: u32,
    /// The value that says what else is needed.
    by: Option<Cow<'b, str>>,
    id: Option<Cow<'b, str>>,
}

impl Seen<'_> {
    fn has(&self, fields: &[Field], name: &str) -> bool {
        let index = (0..).zip(fields).find(|(_, field)| field.name == name).map(|(index, _)| index);
        index.and_then(|index| 1_u32.checked_shl(index)).is_some_and(|bit| self.fields & bit != 0)
    }
}

/// What is wrong with a message whose fields are sound: the field, and why; no reason: it is missing.
fn wrong_message(
    walk: &Walk<'_>,
    role: &str,
    seen: &Seen<'_>,
    is_seen: impl Fn(&str) -> bool,
) -> Option<(&'static str, String)> {
    let speaks = ["content", "tool_calls", "function_call", "refusal", "audio"];
    if role == "assistant" && !speaks.into_iter().any(&is_seen) {
        return Some(("content", String::new()));
    }
    if role != "assistant" && is_seen("tool_calls") {
        return Some(("tool_calls", "only messages with the role 'assistant' have tool calls".into()));
    }
    if let Some(media) = walk.said.media.filter(|_| role != "user") {
        return Some(("content", format!("only messages with the role 'user' have parts of type '{media}'")));
    }
    let answers = seen.id.as_ref().filter(|_| role == "tool");
    if let Some(id) = answers.filter(|id| !walk.said.calls.contains(*id)) {
        return Some((
            "tool_call_id",
            format!("'{}' is the id of no tool call in a message before it", brief(id)),
        ));
    }
    None
}

impl Type {
    /// What is expected, in words.
    pub fn expected(&self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Boolean => "a boolean",
            Self::Integer { .. } => "an integer",
            Self::Decimal { .. } => "a decimal number",
            Self::Text { .. } | Self::Name | Self::Choice(_) => "a string",
            Self::Object(_) | Self::Map(_) => "an object",
            Self::List { .. } => "an array",
            Self::TextOr(Self::Object(_)) => "a string or an object",
            Self::TextOr(_) | Self::Input => "a string or an array",
        }
    }

    /// If it can be an array: what its elements are, and how many there can be.
    fn in_an_array(&self) -> Option<(&'static Self, usize, usize)> {
        match self {
            Self::List { of, least, most } | Self::TextOr(Self::List { of, least, most }) => {
                Some((*of, *least, *most))
            }
            Self::Input => Some((&INPUT_ELEMENT, 1, usize::MAX)),
            _ => None,
        }
    }
}

/// Texts, tokens, or arrays of tokens.
static INPUT_ELEMENT: Type = Type::Any;

/// Whether the input of embeddings has too many parts: texts, or arrays of tokens.
pub fn too_many_inputs(shape: Shape, numbers: u64) -> Option<usize> {
    match shape {
        Shape::Array(count) if numbers == 0 => {
            usize::try_from(count).ok().filter(|count| *count > MOST_INPUTS)
        }
        _ => None,
    }
}

fn is_name(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(is_known)
}
