//! Reads the members of a usage object.
//!
//! Names differ between providers, numbers may be null or nonsense: what is not a count is as if it were not
//! there. An explicit zero is zero. Over the chunks of a stream each field is the largest seen.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::usage::{LONGEST_USAGE, Tokens};

/// Counts above this are nonsense: JSON's numbers are exact up to here.
const MOST: u64 = 1 << 53;

impl Tokens {
    /// What a JSON object, all of it, says in its usage; none if it is no object.
    pub fn of_document(body: &[u8]) -> Option<Self> {
        let mut tokens = Self::default();
        let members = Members { of: Level::Document, into: &mut tokens };
        members.read(std::str::from_utf8(body).ok()?).then_some(tokens)
    }

    /// Takes in one usage object. What is not JSON changes nothing.
    pub fn take_in(&mut self, json: &[u8]) {
        if let Ok(text) = std::str::from_utf8(json) {
            self.take_in_text(text);
        }
    }

    fn take_in_text(&mut self, json: &str) {
        let mut read = *self;
        if (Members { of: Level::Usage, into: &mut read }).read(json) {
            *self = read;
        }
    }
}

/// Which object's members are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Document,
    Usage,
    InputDetails,
    OutputDetails,
}

/// A member that counts.
#[derive(Clone, Copy)]
enum Member {
    Usage,
    Prompt,
    Input,
    Output,
    Total,
    CachedInput,
    CacheWrite,
    CacheRead,
    CacheCreation,
    Reasoning,
    Details(Level),
}

impl Member {
    fn of(level: Level, name: &str) -> Option<Self> {
        Some(match (level, name) {
            (Level::Document, "usage") => Self::Usage,
            (Level::Usage, "prompt_tokens") => Self::Prompt,
            (Level::Usage, "input_tokens") => Self::Input,
            (Level::Usage, "completion_tokens" | "output_tokens") => Self::Output,
            (Level::Usage, "total_tokens") => Self::Total,
            (Level::InputDetails | Level::Usage, "cached_tokens") => Self::CachedInput,
            (Level::Usage, "prompt_cache_hit_tokens") => Self::CachedInput,
            (Level::InputDetails, "cache_write_tokens" | "cache_creation_tokens") => Self::CacheWrite,
            (Level::Usage, "cache_read_input_tokens") => Self::CacheRead,
            (Level::Usage, "cache_creation_input_tokens") => Self::CacheCreation,
            (Level::OutputDetails, "reasoning_tokens") => Self::Reasoning,
            (Level::Usage, "prompt_tokens_details" | "input_tokens_details") => {
                Self::Details(Level::InputDetails)
            }
            (Level::Usage, "completion_tokens_details" | "output_tokens_details") => {
                Self::Details(Level::OutputDetails)
            }
            _ => return None,
        })
    }
}

struct Members<'t> {
    of: Level,
    into: &'t mut Tokens,
}

impl Members<'_> {
    /// Whether the text is an object.
    fn read(self, text: &str) -> bool {
        let mut json = serde_json::Deserializer::from_str(text);
        json.deserialize_map(self).and_then(|()| json.end()).is_ok()
    }

    fn take_in(&mut self, member: Member, value: &str) {
        let into = &mut *self.into;
        let count = match member {
            Member::Usage => {
                if value.len() <= LONGEST_USAGE {
                    into.take_in_text(value);
                }
                return;
            }
            Member::Details(of) => {
                Members { of, into }.read(value);
                return;
            }
            Member::CacheRead | Member::CacheCreation => {
                let Some(seen) = whole(value) else { return };
                let cache = into.anthropic.get_or_insert_default();
                let count =
                    if matches!(member, Member::CacheRead) { &mut cache.read } else { &mut cache.written };
                *count = (*count).max(seen);
                return;
            }
            Member::Prompt => {
                into.as_prompt |= whole(value).is_some();
                &mut into.input
            }
            Member::Input => &mut into.input,
            Member::Output => &mut into.output,
            Member::Total => &mut into.total,
            Member::CachedInput => &mut into.cached_input,
            Member::CacheWrite => &mut into.cache_write,
            Member::Reasoning => &mut into.reasoning,
        };
        *count = (*count).max(whole(value));
    }
}

impl<'u> Visitor<'u> for Members<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<M: MapAccess<'u>>(mut self, mut map: M) -> Result<(), M::Error> {
        while let Some(Name(name)) = map.next_key::<Name<'u>>()? {
            // The scanner knows no `usage` that is written with an escape; both must count alike.
            let is_seen = self.of != Level::Document || matches!(name, Cow::Borrowed(_));
            match Member::of(self.of, &name).filter(|_| is_seen) {
                Some(member) => self.take_in(member, map.next_value::<&'u RawValue>()?.get()),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Name<'u>(#[serde(borrow)] Cow<'u, str>);

fn whole(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|count| is_number && *count <= MOST)
}
