//! The body of a request: every parameter of the endpoint's reference is held to its type, and where those stand that
//! Tollgate acts on is remembered.
//!
//! A body is refused when two readers could understand it differently (a key twice, a known key in another case) or
//! when a typed field is not what the endpoint's reference says. Everything else passes as it is. The body is
//! never written anew: what must change is said as edits, and nothing to change is no edit.

mod adapt;
mod check;
mod fields;
mod number;
mod schema;
#[cfg(test)]
mod tests;
mod walk;

use std::borrow::Cow;

use serde::de::DeserializeSeed;

use self::check::Check;
pub use self::fields::string;
use self::fields::{Fields, Options};
pub use self::number::{Number, Thousandths};
pub use self::schema::{Type, parameter};
pub use self::walk::MOST_DEPTH;
use self::walk::{Counting, Walk};
use crate::config::Parameters;
use crate::endpoint::Kind;
use crate::estimate::{Input, MOST_OUTPUT};
use crate::message::Edit;
use crate::refusal::Refusal;

/// What a client asks for.
#[derive(Debug)]
pub struct Request<'b> {
    /// The model's name, as the client calls it.
    pub model: Cow<'b, str>,
    model_span: Span,
    /// Where `stream` is true, if it is.
    stream: Option<Span>,
    options: Options,
    /// About how many input tokens it sends.
    pub input_estimate: u64,
    /// No tokenizer makes more input tokens of it.
    pub input_bound: u64,
    /// How many answers it wants.
    pub choices: u64,
    /// The most output tokens it wants of each.
    pub max_output_tokens: Option<u64>,
    /// Whether it brings tools.
    pub has_tools: bool,
    /// What the model needs otherwise than the client wrote it.
    adapted: Vec<Edit>,
}

/// White space of JSON.
const WHITE: [char; 4] = [' ', '\t', '\n', '\r'];

/// A part of the body, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl<'b> Request<'b> {
    /// Reads a body; `parameters` are those of the model it names.
    pub fn read<'c>(
        kind: Kind,
        body: &'b [u8],
        parameters: impl FnOnce(&str) -> Result<&'c Parameters, Refusal>,
    ) -> Result<Self, Refusal> {
        let length = u32::try_from(body.len()).map_err(|_| Refusal::BodyTooLarge(u32::MAX.into()))?;
        let text = std::str::from_utf8(body).map_err(|_| Refusal::NotUtf8)?;
        let mut fields = Fields::read(kind, text)?;
        let (model, model_span) = fields.model.take().ok_or(Refusal::Missing("model".into()))?;
        let adapted = adapt::edits(&mut fields, text, parameters(&model)?)?;
        let mut sent = fields.sent;
        match kind {
            Kind::Chat => {
                let messages = fields.messages.ok_or(Refusal::Missing("messages".into()))?;
                sent.add_frame(messages, fields.has_tools);
            }
            Kind::Embeddings if !fields.input => return Err(Refusal::Missing("input".into())),
            Kind::Embeddings => {}
        }
        // What is put into the body is read by the model too.
        let added = adapted.iter().map(|edit| u64::try_from(edit.bytes.len()).unwrap_or(u64::MAX));
        let input_bound = added.fold(sent.bound(length.into()), u64::saturating_add);
        Ok(Self {
            model,
            model_span,
            stream: fields.stream,
            options: fields.options,
            input_estimate: sent.tokens().min(input_bound),
            input_bound,
            choices: fields.choices.unwrap_or(1),
            max_output_tokens: fields.max_tokens.max(fields.max_completion_tokens),
            has_tools: fields.has_tools,
            adapted,
        })
    }

    /// The most output tokens the answer can have; `otherwise` is what the model makes when none are named.
    pub fn output_bound(&self, kind: Kind, otherwise: u64) -> Result<u64, Refusal> {
        if kind == Kind::Embeddings {
            return Ok(0);
        }
        let each = self.max_output_tokens.unwrap_or(otherwise);
        let all = each.checked_mul(self.choices).filter(|all| *all <= MOST_OUTPUT);
        all.ok_or(Refusal::AboveMaximum {
            param: "n".into(),
            most: MOST_OUTPUT.checked_div(each).and_then(|most| i64::try_from(most).ok()).unwrap_or(i64::MAX),
        })
    }

    /// The most output tokens that the client asks for, for each answer.
    pub fn asked_output(&self) -> Option<u64> {
        self.max_output_tokens
    }

    /// Whether it wants server-sent events.
    pub fn streams(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether the provider must be asked for usage that the client did not ask for.
    pub fn hides_usage(&self) -> bool {
        self.streams() && self.options != Options::Asked
    }

    /// What must change in the body for a target with this model.
    pub fn edits(&self, target_model: &str) -> Vec<Edit> {
        let mut edits = self.adapted.clone();
        if self.model != target_model {
            // Writing a string to memory does not fail.
            let name = serde_json::to_vec(target_model).unwrap_or_default();
            edits.push(self.model_span.replaced(name));
        }
        edits.extend(self.stream.and_then(|stream| self.options.usage_edit(stream)));
        Edit::sort(&mut edits);
        edits
    }
}

/// What a message sends, given as a part of a body of so many bytes that was read.
pub fn message(text: &str, bytes: usize) -> Input {
    let mut walk = Walk::new(text, bytes);
    walk.counting = Counting::Values;
    let mut json = serde_json::Deserializer::from_str(text);
    json.disable_recursion_limit();
    // What a message lacks without the others is told when all of it has been read.
    let _ = Check { walk: &mut walk, of: &schema::MESSAGE }.deserialize(&mut json);
    let mut input = walk.input;
    input.add_message();
    input
}

impl Span {
    /// Where `part`, a slice of `whole`, lies in it.
    fn of(part: &str, whole: &str) -> Option<Self> {
        let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
        let end = start.checked_add(part.len()).filter(|end| *end <= whole.len())?;
        Some(Self { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
    }

    fn replaced(self, bytes: impl Into<Vec<u8>>) -> Edit {
        Edit { start: self.start, end: self.end, bytes: bytes.into() }
    }

    /// The first byte of the value behind a key, given the key without its quotes.
    fn value_after(self, body: &str) -> Option<Self> {
        let rest = body.get(usize::try_from(self.end).ok()?..)?;
        let value =
            rest.strip_prefix('"')?.trim_start_matches(WHITE).strip_prefix(':')?.trim_start_matches(WHITE);
        Self::of(value.get(..1)?, body)
    }

    /// The empty span after this one.
    fn after(self) -> Self {
        Self { start: self.end, end: self.end }
    }

    /// The empty span after the first byte of this one.
    fn inside(self) -> Self {
        let start = self.start.saturating_add(1);
        Self { start, end: start }
    }
}
