//! `tiered_pricing`: rates by how many input tokens a request has, each for all of its tokens.
//!
//! A range begins above its first number: the tier of `[32000, 128000]` is that of 32,001 tokens. What a range does not
//! say is as the model says it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::number::per_million;
use super::written::{Pairs, RATES, Told, brief, is_nothing, unquoted};

/// The rates of one range, in the order of [`RATES`].
pub(super) struct Range {
    /// The tokens above which it begins.
    pub above: u64,
    pub rates: Told,
}

/// Reads the ranges, in their order, the first of which begins at 0; and what of them a price list cannot say. Or why
/// none of it can be said.
pub(super) fn read(json: &str) -> Result<(Vec<Range>, Vec<String>), String> {
    const FORM: &str = "`tiered_pricing` is no list of ranges that follow each other";
    let list: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| FORM)?;
    let mut ranges = Vec::new();
    let mut lost = Vec::new();
    for json in list {
        let Pairs(fields) = serde_json::from_str(json.get()).map_err(|_| FORM)?;
        let mut bounds = None;
        let mut rates = [const { None }; 5];
        for (field, value) in &fields {
            let value = unquoted(value.get());
            if field == "range" {
                let [begin, end]: [&RawValue; 2] = serde_json::from_str(&value).map_err(|_| FORM)?;
                bounds = Some((whole(begin.get()).ok_or(FORM)?, whole(end.get())));
            } else if let Some((_, rate)) = RATES.into_iter().zip(&mut rates).find(|(name, _)| name == field)
            {
                if value != "null" {
                    let read = per_million(&value);
                    let wrong = |why| format!("`tiered_pricing.{field}` ({}) {why}", brief(&value));
                    if rate.replace(read.map_err(wrong)?).is_some() {
                        return Err(format!("`tiered_pricing.{field}` is there twice"));
                    }
                }
            } else if !is_nothing(&value) && value != "null" {
                lost.push(format!(
                    "`tiered_pricing.{}` ({}): a tier has nothing like it",
                    field.escape_debug(),
                    brief(&value)
                ));
            }
        }
        let (above, end) = bounds.ok_or(FORM)?;
        ranges.push((Range { above, rates }, end));
    }
    ranges.sort_by_key(|(range, _)| range.above);
    let begins = [0].into_iter().map(Some).chain(ranges.iter().map(|(_, end)| *end));
    if ranges.is_empty() || ranges.iter().zip(begins).any(|((range, _), begin)| Some(range.above) != begin) {
        return Err(FORM.into());
    }
    Ok((ranges.into_iter().map(|(range, _)| range).collect(), lost))
}

/// A whole number, also if it is written with a point: `256000.0`.
fn whole(json: &str) -> Option<u64> {
    let text: Cow<'_, str> = unquoted(json);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    fraction.bytes().all(|byte| byte == b'0').then(|| whole.parse().ok()).flatten()
}
