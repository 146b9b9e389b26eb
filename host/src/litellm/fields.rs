//! The fields of a model in LiteLLM's list.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::number::per_million;
use super::{Entry, Rates, Tier};

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

/// Who serves a model, if it is one.
pub(super) fn provider(json: &RawValue) -> Option<String> {
    let Pairs(fields) = serde_json::from_str(json.get()).ok()?;
    let (_, value) = fields.iter().find(|(name, _)| name == "litellm_provider")?;
    serde_json::from_str(value.get()).ok()
}

/// The rates that a price list knows, by their names in LiteLLM's.
const RATES: [&str; 5] = [
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
    "output_cost_per_reasoning_token",
];

/// Reads a model: its price, and which of its fields a price list cannot say; or why it must be left out.
pub(super) fn read(name: &str, json: &RawValue, since: &str) -> Result<(Entry, Vec<String>), String> {
    let provider = provider(json).ok_or("it has no `litellm_provider`")?;
    let Pairs(fields) = serde_json::from_str(json.get()).map_err(|error| error.to_string())?;
    let mut values: BTreeMap<&str, &str> = BTreeMap::new();
    for (field, value) in &fields {
        if values.insert(field, value.get()).is_some() {
            return Err(format!("`{}` is there twice", field.escape_debug()));
        }
    }
    let costs: BTreeMap<&str, Cow<'_, str>> = values
        .iter()
        .filter(|(field, _)| field.contains("cost") || field.contains("pric"))
        .map(|(field, value)| (*field, unquoted(value)))
        .filter(|(_, value)| value != "null")
        .collect();

    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut rates = |suffix: &str| -> Result<[Option<String>; 5], String> {
        let mut found = [const { None }; 5];
        for (rate, into) in RATES.into_iter().zip(&mut found) {
            let wanted = format!("{rate}{suffix}");
            let Some((field, cost)) = costs.get_key_value(wanted.as_str()) else { continue };
            used.insert(field);
            let read = per_million(cost).map_err(|why| format!("`{field}` ({}) {why}", brief(cost)));
            *into = Some(read?);
        }
        Ok(found)
    };
    let [input, output, cached_input, cache_write, reasoning] = rates("")?;
    let mut tiers = Vec::new();
    for (above, suffix) in suffixes(costs.keys().copied()) {
        // What a tier does not say is as it is below.
        let [one, two, three, four, five] = rates(suffix)?;
        let (input, output) = (one.or_else(|| input.clone()), two.or_else(|| output.clone()));
        let rates = Rates {
            input: input.unwrap_or_default(),
            output: output.unwrap_or_default(),
            cached_input: three.or_else(|| cached_input.clone()),
            cache_write: four.or_else(|| cache_write.clone()),
            reasoning: five.or_else(|| reasoning.clone()),
        };
        tiers.push(Tier { above_input_tokens: above, rates });
    }
    let mode = values.get("mode").map_or(Cow::Borrowed("chat"), |mode| unquoted(mode));
    let output = output.or_else(|| (mode == "embedding").then(|| "0".to_owned()));
    let other = || match costs.keys().find(|field| !RATES.contains(field)) {
        Some(field) => format!("; it is charged by `{field}`"),
        None => String::new(),
    };
    let input = input.ok_or_else(|| format!("it has no `input_cost_per_token`{}", other()))?;
    let output = output.ok_or_else(|| format!("it has no `output_cost_per_token`{}", other()))?;
    for tier in &mut tiers {
        // An embedding's tier has no output either.
        if tier.rates.output.is_empty() {
            tier.rates.output.clone_from(&output);
        }
    }

    let mut lost = Vec::new();
    let batches = ["input_cost_per_token_batches", "output_cost_per_token_batches"];
    let batch_discount = match batches.map(|field| costs.get(field)) {
        [None, None] => None,
        [in_batch, out_batch] => {
            let discount = discount(&input, in_batch, &output, out_batch);
            used.extend(discount.is_some().then_some(batches).into_iter().flatten());
            discount.filter(|percent| *percent > 0)
        }
    };
    for (field, cost) in &costs {
        if used.contains(field) || is_nothing(cost) {
            continue;
        }
        lost.push(format!("`{}` ({}): {}", field.escape_debug(), brief(cost), why(field)));
    }
    let model = name.strip_prefix(&provider).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
    for text in [&*provider, model] {
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            return Err("its name, or its provider's, is empty, too long or no text".into());
        }
    }
    let entry = Entry {
        provider: provider.clone(),
        model: model.to_owned(),
        currency: "USD",
        source: "LiteLLM's model_prices_and_context_window.json",
        since: since.to_owned(),
        rates: Rates { input, output, cached_input, cache_write, reasoning },
        batch_discount,
        tiers,
    };
    Ok((entry, lost))
}

/// The tiers that fields name, by their beginnings: `_above_200k_tokens` is 200,000.
fn suffixes<'f>(fields: impl Iterator<Item = &'f str>) -> BTreeMap<u64, &'f str> {
    let tier = |field: &'f str| {
        let rate = RATES
            .into_iter()
            .find(|rate| field.strip_prefix(rate).is_some_and(|rest| rest.starts_with('_')))?;
        let suffix = field.strip_prefix(rate)?;
        let number = suffix.strip_prefix("_above_")?.strip_suffix("_tokens")?;
        let (number, scale) = number.strip_suffix('k').map_or((number, 1), |number| (number, 1_000));
        let above = number.parse::<u64>().ok()?.checked_mul(scale).filter(|above| *above > 0)?;
        Some((above, suffix))
    };
    fields.filter_map(tier).collect()
}

/// The whole percentage by which both costs are lower in batches, if there is one.
fn discount(
    input: &str,
    in_batch: Option<&Cow<'_, str>>,
    output: &str,
    out_batch: Option<&Cow<'_, str>>,
) -> Option<u8> {
    let micro = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        format!("{whole}{fraction:0<6}").parse::<u128>().ok()
    };
    let percent = |full: &str, batch: Option<&Cow<'_, str>>| {
        let (full, batch) = (micro(full)?, micro(&per_million(batch?).ok()?)?);
        (0..=100_u8).find(|percent| {
            full.checked_mul(u128::from(100_u8.saturating_sub(*percent))) == batch.checked_mul(100)
        })
    };
    // What costs nothing costs nothing in batches either.
    if micro(output) == Some(0) && out_batch.is_none_or(|cost| is_nothing(cost)) {
        return percent(input, in_batch);
    }
    percent(input, in_batch).filter(|found| percent(output, out_batch) == Some(*found))
}

/// A number as it is written, also if it is written as text.
fn unquoted(json: &str) -> Cow<'_, str> {
    serde_json::from_str::<String>(json)
        .map_or(Cow::Borrowed(json), |text| Cow::Owned(text.trim().to_owned()))
}

/// Whether a cost of it is no cost.
fn is_nothing(cost: &str) -> bool {
    matches!(cost, "" | "{}" | "[]" | "false") || per_million(cost).is_ok_and(|cost| cost == "0")
}

/// Why a price list has no such field.
fn why(field: &str) -> &'static str {
    let has = |word: &str| field.contains(word);
    if has("_batches") {
        "batches are not a whole percentage cheaper for input and output alike"
    } else if has("_priority") || has("_flex") {
        "it is for another class of service"
    } else if has("above_1hr") || has("_1h") {
        "what is written to the cache has one rate"
    } else if ["audio", "image", "video", "character", "second", "pixel", "page", "query", "session", "gb_"]
        .into_iter()
        .any(has)
    {
        "it is no rate for text tokens"
    } else {
        "a price list has nothing like it"
    }
}

/// A value as it may stand in a message.
fn brief(value: &str) -> String {
    const LONGEST: usize = 60;
    let mut text: String = value.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(at);
        text.push('…');
    }
    text
}
