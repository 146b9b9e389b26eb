//! Reads LiteLLM's list of prices (`model_prices_and_context_window.json`) into a price list of ours, exactly.
//!
//! Numbers are taken from their characters in the file, exponents and all, and never become floats. What a price list
//! cannot say is told, each with the name of its model: nothing is lost silently. A model of which a rate for tokens
//! cannot be said is left out, so that it stays without a price; charges for anything but tokens are left out alone.

mod fields;
mod number;
#[cfg(test)]
mod tests;
mod tiers;
mod written;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

use self::written::Pairs;

/// The file is no such list.
#[derive(Debug)]
pub struct NotACatalogue(String);

impl fmt::Display for NotACatalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is not LiteLLM's list of prices: {}", self.0)
    }
}

impl std::error::Error for NotACatalogue {}

/// What was read.
#[derive(Debug, Default)]
pub struct Import {
    /// The prices, in the order of the file.
    pub prices: Vec<Entry>,
    /// What could not be taken over, a line for each.
    pub lost: Vec<String>,
    /// How many models were left out.
    pub left_out: usize,
}

/// One entry of a price list; `prices/README.md` says what its fields mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "prices/README.md describes the fields")]
pub struct Entry {
    pub provider: String,
    pub model: String,
    pub currency: &'static str,
    pub source: &'static str,
    pub since: String,
    #[serde(flatten)]
    pub rates: Rates,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_discount: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<Tier>,
}

/// Units of the currency for a million tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "prices/README.md describes the fields")]
pub struct Rates {
    pub input: String,
    pub output: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
}

/// Rates of requests with many input tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "prices/README.md describes the fields")]
pub struct Tier {
    pub above_input_tokens: u64,
    #[serde(flatten)]
    pub rates: Rates,
}

/// An entry of the file that explains its format.
const SAMPLE: &str = "sample_spec";

/// Reads a list. `since` is the day from which its prices count, such as `2026-01-31`; `models` are patterns of the
/// models that are wanted, with `*` for any characters and `?` for one: none stands for all.
///
/// # Errors
/// When the text is no such list.
pub fn import(text: &str, since: &str, models: &[String]) -> Result<Import, NotACatalogue> {
    let Pairs(all) = serde_json::from_str(text).map_err(|error| NotACatalogue(error.to_string()))?;
    let is_model = |(name, json): &(String, &RawValue)| name != SAMPLE && fields::provider(json).is_some();
    if !all.iter().any(is_model) {
        return Err(NotACatalogue("none of its values is a model with a `litellm_provider`".into()));
    }
    let mut import = Import::default();
    for pattern in models.iter().filter(|pattern| !all.iter().any(|(name, _)| is_like(name, pattern))) {
        import.lost.push(format!("no model is like `{pattern}`"));
    }
    let is_wanted = |name: &str| models.is_empty() || models.iter().any(|pattern| is_like(name, pattern));
    let mut seen: BTreeMap<(String, String), (String, usize)> = BTreeMap::new();
    for (name, json) in all.into_iter().filter(|(name, _)| name != SAMPLE && is_wanted(name)) {
        let read = fields::read(&name, json, since).and_then(|(entry, lost)| {
            let key = (entry.provider.clone(), entry.model.clone());
            match seen.get(&key).map(|(first, index)| (first, import.prices.get(*index))) {
                // The same price under another name: nothing is lost.
                Some((_, Some(before))) if *before == entry => Ok((None, lost)),
                Some((first, _)) => Err(format!("is the model of `{first}`, with another price")),
                None => {
                    seen.insert(key, (name.clone(), import.prices.len()));
                    Ok((Some(entry), lost))
                }
            }
        });
        match read {
            Ok((entry, lost)) => {
                import.prices.extend(entry);
                import.lost.extend(lost.into_iter().map(|what| format!("{}: without {what}", shown(&name))));
            }
            Err(why) => {
                import.left_out = import.left_out.saturating_add(1);
                import.lost.push(format!("{}: left out: {why}", shown(&name)));
            }
        }
    }
    Ok(import)
}

impl Import {
    /// The price list, as a file.
    #[must_use]
    pub fn file(&self) -> String {
        #[derive(Serialize)]
        struct File<'i> {
            about: &'static str,
            prices: &'i [Entry],
        }
        let about =
            "From LiteLLM's model_prices_and_context_window.json. Compare what you use with your provider.";
        // Writing strings to memory does not fail.
        serde_json::to_string_pretty(&File { about, prices: &self.prices }).unwrap_or_default() + "\n"
    }
}

/// A name from the file, on one line.
fn shown(name: &str) -> String {
    name.escape_debug().to_string()
}

/// Whether a name is like a pattern: `*` is any characters, `?` is one.
#[must_use]
pub fn is_like(name: &str, pattern: &str) -> bool {
    // For each place in the pattern, whether what was read of the name reaches it.
    let pattern: Vec<char> = pattern.chars().collect();
    let spread = |reached: &mut Vec<bool>| {
        let mut before = false;
        for (at, letter) in reached.iter_mut().zip([None].into_iter().chain(pattern.iter().map(Some))) {
            *at = *at || before && letter == Some(&'*');
            before = *at;
        }
    };
    let mut reached: Vec<bool> = [true].into_iter().chain(pattern.iter().map(|_| false)).collect();
    spread(&mut reached);
    for letter in name.chars() {
        let steps =
            reached.iter().zip(&pattern).map(|(at, wanted)| *at && (*wanted == letter || *wanted == '?'));
        let stays = reached.iter().zip([None].into_iter().chain(pattern.iter().map(Some)));
        let stays = stays.map(|(at, star)| *at && star == Some(&'*'));
        reached = [false].into_iter().chain(steps).zip(stays).map(|(step, stay)| step || stay).collect();
        spread(&mut reached);
    }
    reached.last() == Some(&true)
}
