//! What is written in LiteLLM's list, taken as it stands there.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::number::per_million;

/// The rates that a price list knows, by their names in LiteLLM's.
pub(super) const RATES: [&str; 5] = [
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
    "output_cost_per_reasoning_token",
];

/// Rates in the order of their names, as far as they are told.
pub(super) type Told = [Option<String>; 5];

/// The members of an object, in their order: also those of one name.
pub(super) struct Pairs<'t>(pub Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Pairs<'t> {
    fn deserialize<D: Deserializer<'t>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'t> Visitor<'t> for Members {
            type Value = Pairs<'t>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<M: MapAccess<'t>>(self, mut map: M) -> Result<Pairs<'t>, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Members)
    }
}

/// A number as it is written, also if it is written as text.
pub(super) fn unquoted(json: &str) -> Cow<'_, str> {
    serde_json::from_str::<String>(json)
        .map_or(Cow::Borrowed(json), |text| Cow::Owned(text.trim().to_owned()))
}

/// Whether a cost of it is no cost.
pub(super) fn is_nothing(cost: &str) -> bool {
    matches!(cost, "" | "{}" | "[]" | "false") || per_million(cost).is_ok_and(|cost| cost == "0")
}

/// A value as it may stand in a message.
pub(super) fn brief(value: &str) -> String {
    const LONGEST: usize = 60;
    let mut text: String = value.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(at);
        text.push('…');
    }
    text
}
