//! The format of a price list: `prices/catalogue.json`, which is built in, and the file of `[prices] file`.
//!
//! The format is described in `prices/README.md`. The build script reads the catalogue with this and writes it out
//! as a table, so that an instance has nothing to read when it starts.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::rates::{Rates, Tier, Written, rate};

/// One price of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// `provider/model`.
    pub name: Cow<'a, str>,
    /// The day from which it counts: `2026-01-31`.
    pub since: Cow<'a, str>,
    /// ISO 4217.
    pub currency: Cow<'a, str>,
    /// Where it was read, in words.
    pub source: Cow<'a, str>,
    pub rates: Rates,
    /// By the number of tokens from which they count.
    pub tiers: Cow<'a, [Tier]>,
    /// Percent less for what goes through the provider's batches.
    pub batch_discount: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List<'a> {
    /// For readers.
    #[serde(default, rename = "about")]
    _about: serde::de::IgnoredAny,
    #[serde(borrow)]
    prices: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    provider: String,
    model: String,
    currency: String,
    source: String,
    since: String,
    input: String,
    output: String,
    cached_input: Option<String>,
    cache_write: Option<String>,
    reasoning: Option<String>,
    #[serde(default)]
    batch_discount: u8,
    #[serde(default, borrow)]
    tiers: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryTier {
    above_input_tokens: u64,
    input: String,
    output: String,
    cached_input: Option<String>,
    cache_write: Option<String>,
    reasoning: Option<String>,
}

/// Reads a list, sorted by name and day; or everything that is wrong with it, a sentence for each.
pub fn read(text: &str) -> Result<Vec<Listed<'static>>, Vec<String>> {
    let list: List<'_> = object(text)
        .map_err(|error| vec![format!("is no price list such as `prices/catalogue.json`: {error}")])?;
    let mut prices = Vec::new();
    let mut mistakes = Vec::new();
    for (number, json) in (1_u32..).zip(&list.prices) {
        match object::<Entry<'_>>(json.get()) {
            // The line and the column are those within the entry.
            Err(error) => mistakes.push(format!("price {number} {error}")),
            Ok(entry) => {
                let place = format!("price {number} (`{}/{}`)", entry.provider, entry.model);
                prices.extend(entry.read(&place, &mut mistakes));
            }
        }
    }
    prices.sort_by(|one: &Listed<'_>, other| key(one).cmp(&key(other)));
    for pair in prices.windows(2) {
        if let [one, other] = pair
            && key(one) == key(other)
        {
            mistakes.push(format!("`{}` has two prices since {}", one.name, one.since));
        }
    }
    if mistakes.is_empty() { Ok(prices) } else { Err(mistakes) }
}

/// Reads an object. Serde would take an array for one too.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, String> {
    if !json.trim_ascii_start().starts_with('{') {
        return Err("is no object".to_owned());
    }
    serde_json::from_str(json).map_err(|error| format!("cannot be read: {error}"))
}

fn key<'l>(listed: &'l Listed<'_>) -> (&'l str, &'l str) {
    (&listed.name, &listed.since)
}

/// The prices of a name in a sorted list.
pub fn named<'l, 'a>(list: &'l [Listed<'a>], name: &str) -> &'l [Listed<'a>] {
    let start = list.partition_point(|listed| *listed.name < *name);
    let end = list.partition_point(|listed| *listed.name <= *name);
    list.get(start..end).unwrap_or_default()
}

impl Entry<'_> {
    fn read(self, place: &str, mistakes: &mut Vec<String>) -> Option<Listed<'static>> {
        let before = mistakes.len();
        let mut wrong = |what: &str, message: &str| mistakes.push(format!("{place}: `{what}` {message}"));
        for (what, text) in [("provider", &self.provider), ("model", &self.model), ("source", &self.source)] {
            if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
                wrong(what, "must have 1 to 256 bytes and no control characters");
            }
        }
        let is_code = self.currency.len() == 3 && self.currency.bytes().all(|byte| byte.is_ascii_uppercase());
        if !is_code || self.currency == "XXX" {
            wrong("currency", "must be three upper-case letters of ISO 4217 such as `USD`");
        }
        if !is_day(&self.since) {
            wrong("since", "must be a day such as `2026-01-31`");
        }
        if self.batch_discount > 100 {
            wrong("batch_discount", "must be a percentage from 0 to 100");
        }
        let Self { input, output, cached_input, cache_write, reasoning, .. } = self;
        let texts = [Some(input), Some(output), cached_input, cache_write, reasoning];
        let base = rates(texts, &mut wrong);
        let mut tiers = Vec::new();
        for (number, json) in (1_u32..).zip(self.tiers) {
            let tier: EntryTier = match object(json.get()) {
                Ok(tier) => tier,
                Err(error) => {
                    wrong("tiers", &format!("has one, number {number}, that {error}"));
                    continue;
                }
            };
            let EntryTier { above_input_tokens: above, input, output, cached_input, cache_write, reasoning } =
                tier;
            let texts = [Some(input), Some(output), cached_input, cache_write, reasoning];
            let rates = rates(texts, |what, message| wrong(&format!("tiers.{what}"), message));
            tiers.extend(rates.map(|rates| Tier { above, rates }));
        }
        if !are_ascending(&tiers) {
            wrong("tiers", "must be in the order of their `above_input_tokens`, each above 0 and given once");
        }
        let sound = mistakes.len() == before;
        let listed = Listed {
            name: format!("{}/{}", self.provider, self.model).into(),
            since: self.since.into(),
            currency: self.currency.into(),
            source: self.source.into(),
            rates: base?,
            tiers: tiers.into(),
            batch_discount: self.batch_discount,
        };
        sound.then_some(listed)
    }
}

/// Reads rates in the order of their names.
fn rates(texts: [Option<String>; 5], mut wrong: impl FnMut(&str, &str)) -> Option<Rates> {
    const NAMES: [&str; 5] = ["input", "output", "cached_input", "cache_write", "reasoning"];
    let mut read = [None; 5];
    for ((name, text), into) in NAMES.into_iter().zip(texts).zip(&mut read) {
        let Some(text) = text else { continue };
        match rate(&text) {
            Ok(rate) => *into = Some(rate),
            Err(message) => wrong(name, &message),
        }
    }
    let [input, output, cached_input, cache_write, reasoning] = read;
    Written { input, output, cached_input, cache_write, reasoning }.complete()
}

/// Whether each begins after the one before, and the first after 0.
pub fn are_ascending(tiers: &[Tier]) -> bool {
    let after_zero = tiers.first().is_none_or(|tier| tier.above > 0);
    after_zero && tiers.windows(2).all(|pair| matches!(pair, [one, other] if one.above < other.above))
}

/// Whether it is a day of the calendar, as `2026-01-31`.
fn is_day(text: &str) -> bool {
    let mut parts = text.split('-').map(|part| (part.len(), part.parse::<u16>().ok()));
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let (Some((4, Some(year))), Some((2, Some(month))), Some((2, Some(day))), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let leaps = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leaps => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    };
    all_digits && year >= 1970 && (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entry: &str) -> Result<Vec<Listed<'static>>, Vec<String>> {
        read(&format!(r#"{{"prices":[{entry}]}}"#))
    }

    fn entry(more: &str) -> String {
        format!(
            r#"{{"provider":"p","model":"m","currency":"USD","source":"s","since":"2026-01-31",
            "input":"2.5","output":"10"{more}}}"#
        )
    }

    #[test]
    fn what_is_not_written_follows_from_what_is() {
        let all = list(&entry("")).expect("a list");
        let rates = Rates {
            input: 2_500_000,
            cached_input: 2_500_000,
            cache_write: 2_500_000,
            output: 10_000_000,
            reasoning: 10_000_000,
        };
        assert_eq!((&*all[0].name, all[0].rates, all[0].batch_discount), ("p/m", rates, 0));
        let full = r#","cached_input":"0.25","cache_write":"3.125","reasoning":"12","batch_discount":50,
            "tiers":[{"above_input_tokens":200000,"input":"5","output":"20","cached_input":"0.5"}]"#;
        let all = list(&entry(full)).expect("a list");
        assert_eq!((all[0].rates.cache_write, all[0].rates.reasoning), (3_125_000, 12_000_000));
        let tier = all[0].tiers[0];
        assert_eq!(
            (tier.above, tier.rates.cached_input, tier.rates.cache_write),
            (200_000, 500_000, 5_000_000)
        );
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (more, expected) in [
            (r#","inputs":"1""#, "price 1 cannot be read: unknown field `inputs`"),
            (
                r#","tiers":[{"above_input_tokens":0,"input":"1","output":"1"}]"#,
                "price 1 (`p/m`): `tiers` must",
            ),
            (r#","cached_input":"1e-3""#, "price 1 (`p/m`): `cached_input` must be a decimal number"),
            (r#","reasoning":"0.0000001""#, "price 1 (`p/m`): `reasoning` has more than 6 digits"),
            (r#","cached_input":1"#, "price 1 cannot be read: invalid type: integer `1`, expected a string"),
            (r#","tiers":[[5,"1","1"]]"#, "price 1 (`p/m`): `tiers` has one, number 1, that is no object"),
            (r#","batch_discount":101"#, "price 1 (`p/m`): `batch_discount` must be a percentage"),
        ] {
            let mistakes = list(&entry(more)).expect_err("mistakes");
            assert!(mistakes.len() == 1 && mistakes[0].starts_with(expected), "{mistakes:?}");
        }
        for (from, to, expected) in [
            ("2026-01-31", "2026-02-29", "`since` must be a day"),
            ("2026-01-31", "2026-1-31", "`since` must be a day"),
            ("2026-01-31", "+026-01-31", "`since` must be a day"),
            ("USD", "usd", "`currency` must be three"),
            ("USD", "XXX", "`currency` must be three"),
            ("\"s\"", "\"\"", "`source` must have"),
            ("\"10\"", "\"-1\"", "`output` must not be negative"),
        ] {
            let mistakes = list(&entry("").replace(from, to)).expect_err("mistakes");
            assert!(mistakes.len() == 1 && mistakes[0].contains(expected), "{mistakes:?}");
        }
        let two = list(&format!("{},{}", entry(""), entry(""))).expect_err("mistakes");
        assert_eq!(two, ["`p/m` has two prices since 2026-01-31"]);
        for text in ["[]", "[null,[]]", "5", "{}", r#"{"prices":[[]]}"#, r#"{"prices":[],"more":1}"#] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(
            is_day("2028-02-29") && is_day("2000-02-29") && !is_day("1900-02-29") && !is_day("2026-13-01")
        );
    }

    #[test]
    fn prices_of_a_name_are_found() {
        let since = |model: &str, day: &str| {
            entry("").replace("\"m\"", &format!("\"{model}\"")).replace("2026-01-31", day)
        };
        let all = [since("b", "2026-01-02"), since("a", "2026-01-01"), since("b", "2026-01-01")].join(",");
        let list = list(&all).expect("a list");
        let found = |name| named(&list, name).iter().map(|listed| &*listed.since).collect::<Vec<_>>();
        assert_eq!(found("p/b"), ["2026-01-01", "2026-01-02"]);
        assert_eq!(found("p/a"), ["2026-01-01"]);
        assert!(found("p/c").is_empty() && found("p").is_empty());
    }
}
