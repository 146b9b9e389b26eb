//! The fields of a model in LiteLLM's list.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::number::per_million;
use super::written::{Pairs, RATES, Told, brief, is_nothing, unquoted};
use super::{Entry, Rates, Tier, tiers};

/// Who serves a model, if it is one.
pub(super) fn provider(json: &RawValue) -> Option<String> {
    let Pairs(fields) = serde_json::from_str(json.get()).ok()?;
    let (_, value) = fields.iter().find(|(name, _)| name == "litellm_provider")?;
    serde_json::from_str(value.get()).ok()
}

/// The fields of a model that cost something, or could.
struct Costs<'t> {
    all: BTreeMap<&'t str, Cow<'t, str>>,
    /// Those that are in its price.
    used: BTreeSet<&'t str>,
}

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
    let model = name.strip_prefix(&provider).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
    for text in [&*provider, model] {
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            return Err("its name, or its provider's, is empty, too long or no text".into());
        }
    }
    let mut costs = Costs::of(&values);
    let told = costs.rates("")?;
    let (ranges, mut lost) = costs.ranges()?;
    let writes = values.get("mode").is_none_or(|mode| unquoted(mode) != "embedding");
    let rates = |found: &Told| costs.complete(found, &told, writes);
    let base = rates(ranges.get(&0).unwrap_or(&told))?;
    let after = ranges.iter().filter(|(above, _)| **above > 0);
    let tier = |(above, found): (&u64, &Told)| Ok(Tier { above_input_tokens: *above, rates: rates(found)? });
    let tiers = after.map(tier).collect::<Result<_, String>>()?;
    let batch_discount = costs.batch_discount(&base);
    lost.extend(costs.lost());
    let entry = Entry {
        provider: provider.clone(),
        model: model.to_owned(),
        currency: "USD",
        source: "LiteLLM's model_prices_and_context_window.json",
        since: since.to_owned(),
        rates: base,
        batch_discount,
        tiers,
    };
    Ok((entry, lost))
}

impl<'t> Costs<'t> {
    fn of(values: &BTreeMap<&'t str, &'t str>) -> Self {
        let is_cost = |field: &str| {
            ["cost", "pric", "multiplier"].into_iter().any(|word| field.contains(word))
                // Factors for regions and classes of service.
                || field == "provider_specific_entry"
        };
        let costs = values.iter().filter(|(field, _)| is_cost(field));
        let all = costs.map(|(field, value)| (*field, unquoted(value))).filter(|(_, value)| value != "null");
        Self { all: all.collect(), used: BTreeSet::new() }
    }

    /// The rates whose names end so.
    fn rates(&mut self, suffix: &str) -> Result<Told, String> {
        let mut told = [const { None }; 5];
        for (rate, into) in RATES.into_iter().zip(&mut told) {
            let wanted = format!("{rate}{suffix}");
            let Some((field, cost)) = self.all.get_key_value(wanted.as_str()) else { continue };
            self.used.insert(field);
            let read = per_million(cost).map_err(|why| format!("`{field}` ({}) {why}", brief(cost)));
            *into = Some(read?);
        }
        Ok(told)
    }

    /// What is told of requests with so many input tokens and more, and what of that is lost.
    fn ranges(&mut self) -> Result<(BTreeMap<u64, Told>, Vec<String>), String> {
        let mut ranges = BTreeMap::new();
        for (above, suffix) in suffixes(self.all.keys().copied()) {
            ranges.insert(above, self.rates(suffix)?);
        }
        let Some((field, json)) = self.all.get_key_value("tiered_pricing") else {
            return Ok((ranges, Vec::new()));
        };
        if !ranges.is_empty() {
            return Err("it tells its tiers in two ways, as `tiered_pricing` and by `_above_`".into());
        }
        let (list, lost) = tiers::read(json)?;
        self.used.insert(field);
        Ok((list.into_iter().map(|range| (range.above, range.rates)).collect(), lost))
    }

    /// Rates as a price list has them: what is not told is as it is told of the model as a whole.
    fn complete(&self, told: &Told, of_model: &Told, writes: bool) -> Result<Rates, String> {
        let mut all =
            told.iter().zip(of_model).map(|(rate, of_model)| rate.as_ref().or(of_model.as_ref()).cloned());
        let [input, output, cached_input, cache_write, reasoning] = [(); 5].map(|()| all.next().flatten());
        let other = || match self.all.keys().find(|field| !RATES.contains(field)) {
            Some(field) => format!("; it is charged by `{}`", field.escape_debug()),
            None => String::new(),
        };
        // An embedding has no output that could cost anything.
        let output = output.or_else(|| (!writes).then(|| "0".to_owned()));
        let input = input.ok_or_else(|| format!("it has no `input_cost_per_token`{}", other()))?;
        let output = output.ok_or_else(|| format!("it has no `output_cost_per_token`{}", other()))?;
        Ok(Rates { input, output, cached_input, cache_write, reasoning })
    }

    /// The whole percentage by which batches are cheaper, if they are.
    fn batch_discount(&mut self, base: &Rates) -> Option<u8> {
        let batches = ["input_cost_per_token_batches", "output_cost_per_token_batches"];
        let [in_batch, out_batch] = batches.map(|field| self.all.get(field));
        let percent = discount(&base.input, in_batch, &base.output, out_batch)?;
        self.used.extend(batches);
        Some(percent).filter(|percent| *percent > 0)
    }

    /// What was not used and is not nothing.
    fn lost(&self) -> impl Iterator<Item = String> {
        let rest = self.all.iter().filter(|(field, cost)| !self.used.contains(*field) && !is_nothing(cost));
        rest.map(|(field, cost)| format!("`{}` ({}): {}", field.escape_debug(), brief(cost), why(field)))
    }
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
