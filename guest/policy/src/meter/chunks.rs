//! What the chunks of a stream have in common, so that its end can be written when it may not become longer.
//!
//! A provider puts the same id, time and model in each of its chunks, and clients rely on that: OpenAI's library for
//! Go drops a chunk with another id, the one for JavaScript takes over whatever comes last, those with typed chunks
//! need all three. So the first events are looked at, until one tells them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::usage::Counts;

/// What is known of a stream's chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunks<'a> {
    #[serde(borrow)]
    head: Head<'a>,
    /// One bit for each choice that has no reason yet to be finished, by its index.
    unfinished: u64,
    /// Whether it ends before its end.
    pub stop: Stop,
}

/// How each of a stream's chunks begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Head<'a> {
    /// So, as JSON.
    Known(#[serde(borrow, serialize_with = "super::bytes")] Cow<'a, [u8]>),
    /// None has told it so far.
    Unknown {
        /// The data of the event that is being looked at.
        #[serde(borrow, serialize_with = "super::bytes")]
        seen: Cow<'a, [u8]>,
        /// How many events are still looked at.
        looks: u8,
    },
}

/// When an answer ends that may not become longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// It is not known that it may not.
    No,
    /// When the event that has begun is complete: half of one is no JSON.
    WithEvent,
    /// It has ended.
    Now,
}

/// Some providers send events without an id first; one that never sends any need not be looked at for ever.
const LOOKS: u8 = 8;
/// An event longer than this is not one that only begins an answer.
const MOST_SEEN: usize = 4096;
/// An id or a model's name that is longer is nonsense.
const LONGEST_NAME: usize = 256;

impl Chunks<'_> {
    /// Before the first event of so many choices.
    pub fn new(choices: u8) -> Self {
        let head = Head::Unknown { seen: Cow::Borrowed(&[]), looks: LOOKS };
        let unfinished = 1_u64.checked_shl(choices.into()).unwrap_or(0).wrapping_sub(1);
        Self { head, unfinished, stop: Stop::No }
    }

    /// How many bytes of the stream are kept.
    pub fn remembered(&self) -> usize {
        let (Head::Known(bytes) | Head::Unknown { seen: bytes, .. }) = &self.head;
        bytes.len()
    }

    /// Takes in a part of an event's data.
    pub fn look_at(&mut self, data: &[u8]) {
        if let Head::Unknown { seen, looks: 1.. } = &mut self.head {
            let room = MOST_SEEN.saturating_sub(seen.len());
            seen.to_mut().extend_from_slice(data.get(..room).unwrap_or(data));
        }
    }

    /// An event is complete. `finished` has one bit for each choice that has a reason to be finished in it. Returns
    /// whether the answer ends here, before its end.
    pub fn end_event(&mut self, is_done: bool, finished: u64) -> bool {
        self.unfinished &= if is_done { 0 } else { !finished };
        if let Head::Unknown { seen, looks } = &mut self.head
            && !seen.is_empty()
        {
            let head = serde_json::from_slice::<Chunk<'_>>(seen).ok().and_then(|chunk| chunk.head());
            let unknown = Head::Unknown { seen: Cow::Borrowed(&[]), looks: looks.saturating_sub(1) };
            self.head = head.map_or(unknown, |head| Head::Known(Cow::Owned(head)));
        }
        if self.stop == Stop::WithEvent {
            // Perhaps it has come to its end by itself.
            self.stop = if self.is_ending() { Stop::No } else { Stop::Now };
        }
        self.stop == Stop::Now
    }

    /// Whether nothing comes any more that makes it longer: every choice is finished.
    pub fn is_ending(&self) -> bool {
        self.unfinished == 0
    }

    /// The end of every choice, the usage if the client wants it, and the end of all. `model` is what the client calls
    /// it.
    pub fn last_events(&self, model: &str, usage: Option<&Counts>) -> Vec<u8> {
        let head = match &self.head {
            Head::Known(head) => Cow::Borrowed(&**head),
            Head::Unknown { .. } => {
                // Writing a string to memory does not fail.
                let model = serde_json::to_string(model).unwrap_or_default();
                Cow::Owned(head("\"chatcmpl-tollgate\"", "0", &model))
            }
        };
        let mut events = Vec::with_capacity(512);
        let mut chunk = |rest: String| events.extend([b"data: ", &*head, rest.as_bytes(), b"\n\n"].concat());
        let no_usage = if usage.is_some() { r#","usage":null"# } else { "" };
        for index in 0..u64::BITS {
            if self.unfinished & 1_u64.checked_shl(index).unwrap_or(0) != 0 {
                chunk(format!(
                    r#","choices":[{{"index":{index},"delta":{{}},"logprobs":null,"finish_reason":"length"}}]{no_usage}}}"#
                ));
            }
        }
        if let Some(Counts { input, cached_input, output, reasoning, .. }) = usage {
            let total = input.saturating_add(*output);
            chunk(format!(
                concat!(
                    r#","choices":[],"usage":{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"#,
                    r#""prompt_tokens_details":{{"cached_tokens":{}}},"#,
                    r#""completion_tokens_details":{{"reasoning_tokens":{}}}}}}}"#
                ),
                input, output, total, cached_input, reasoning
            ));
        }
        events.extend_from_slice(b"data: [DONE]\n\n");
        events
    }
}

/// What all chunks of a stream say.
#[derive(Deserialize)]
struct Chunk<'c> {
    #[serde(borrow)]
    id: Option<&'c RawValue>,
    #[serde(borrow)]
    created: Option<&'c RawValue>,
    #[serde(borrow)]
    model: Option<&'c RawValue>,
}

impl Chunk<'_> {
    /// How the chunks begin; none if this one does not say whose it is.
    fn head(&self) -> Option<Vec<u8>> {
        let is_time = |text: &&str| text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        let created = self.created.map(RawValue::get).filter(is_time).unwrap_or("0");
        Some(head(self.id.and_then(name)?, created, self.model.and_then(name)?))
    }
}

/// The beginning of a chunk, of values that are JSON.
fn head(id: &str, created: &str, model: &str) -> Vec<u8> {
    format!(r#"{{"id":{id},"object":"chat.completion.chunk","created":{created},"model":{model}"#)
        .into_bytes()
}

/// A string with something in it, as JSON.
fn name(value: &RawValue) -> Option<&str> {
    Some(value.get()).filter(|text| text.starts_with('"') && (3..=LONGEST_NAME).contains(&text.len()))
}
