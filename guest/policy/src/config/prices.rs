//! What a configuration says of prices as a whole: `[prices]`, `[[exchange_rates]]` and the price list beside it; and
//! with that, what a target costs over time.
//!
//! A price in another currency is converted here, once, rounded up to the pico-unit: so no exchange is charged less
//! than the exact conversion. What is charged when is fixed when the configuration is read; later calls only look at
//! the time.

use std::collections::BTreeSet;

use tollgate_document::{Node, Problems, Section, nearest, shown};

use super::price::{Dated, Said, currency, number};
use super::value::{day, moment};
use crate::decimal::{NotDecimal, decimal};
use crate::money::Currency;
use crate::price::built_in::CATALOGUE;
use crate::price::listed::{self, Listed, named};
use crate::price::{Price, Prices, Rates, Tier};

/// What is said of prices as a whole.
#[derive(Debug, Default)]
pub struct Terms<'d> {
    /// Whether what has no price is free; else it is a problem.
    unknown_is_free: bool,
    /// What prices are charged in, where the model says nothing else.
    currency: Option<Currency>,
    exchange_rates: Vec<ExchangeRate<'d>>,
    /// The price list that comes before the catalogue.
    list: Vec<Listed<'static>>,
}

#[derive(Debug)]
struct ExchangeRate<'d> {
    from: Currency,
    to: Currency,
    /// How many of one for one of the other, in 10^-9.
    nano: u64,
    text: &'d str,
    since_ms: Option<u64>,
}

/// Digits after the point that a rate of exchange may have.
const EXCHANGE_DIGITS: u32 = 9;
const EXCHANGE_SCALE: u128 = 1_000_000_000;

/// A rate after a conversion, in pico-units for one token: still exact in a double.
const MOST_CONVERTED: u64 = 1_000_000_000_000_000;

/// What a target says of its price.
pub struct Asked<'s, 'd> {
    /// Where problems are noted: the price, or the target that has none.
    pub node: &'s Node<'d>,
    /// None: no price is written.
    pub said: Option<&'s Said<'d>>,
    pub upstream: &'s str,
    pub model: &'s str,
    /// What the model is charged in; none: as `[prices]` says.
    pub charge_in: Option<Currency>,
    /// Whether the provider's discount for batches applies.
    pub batch: bool,
}

impl<'d> Terms<'d> {
    /// Reads the tables, and the text of the price list that the shell found.
    pub fn read(root: &Section<'d>, list: Option<&str>, problems: &mut Problems<'_>) -> Self {
        let mut terms = Terms::default();
        let table = root.get("prices").and_then(|node| node.section(problems));
        if let Some(section) = &table {
            // `file` is the shell's to read.
            section.only(&["unknown", "currency", "file"], problems);
            if let Some(node) = section.get("unknown") {
                match node.text(problems) {
                    Some("free") => terms.unknown_is_free = true,
                    Some("refuse") | None => {}
                    Some(_) => node.wrong(problems, "must be `refuse` or `free`"),
                }
            }
            terms.currency = section.get("currency").and_then(|node| currency(&node, problems));
        }
        match list.map(listed::read) {
            None => {}
            Some(Ok(list)) => terms.list = list,
            Some(Err(mistakes)) => {
                let place = table.and_then(|section| section.get("file"));
                for mistake in mistakes {
                    match &place {
                        Some(node) => node.wrong(problems, mistake),
                        None => problems.add("prices.file", None, mistake),
                    }
                }
            }
        }
        for node in root.get("exchange_rates").and_then(|list| list.list(problems)).unwrap_or_default() {
            let rate = node.section(problems).and_then(|section| exchange_rate(&section, problems));
            let Some(rate) = rate else { continue };
            let key = |rate: &ExchangeRate<'_>| (rate.from, rate.to, rate.since_ms);
            if terms.exchange_rates.iter().any(|known| key(known) == key(&rate)) {
                node.wrong(problems, "begins when another one of these currencies does");
            }
            let place = terms.exchange_rates.partition_point(|known| known.since_ms <= rate.since_ms);
            terms.exchange_rates.insert(place, rate);
        }
        terms
    }

    /// What a target costs over time. What is free because nothing is known of its price is noted.
    pub fn resolve(
        &self,
        asked: &Asked<'_, '_>,
        problems: &mut Problems<'_>,
        notes: &mut Problems<'_>,
    ) -> Option<Prices> {
        let dated = match asked.said {
            Some(Said::Free) => return Some(Prices::FREE),
            Some(Said::Own(dated)) => dated.clone(),
            Some(Said::Named(name)) => self.listed(name),
            Some(Said::OfTarget) => self.listed(&format!("{}/{}", asked.upstream, asked.model)),
            None => Vec::new(),
        };
        if dated.is_empty() {
            let why = self.why_unknown(asked);
            if self.unknown_is_free {
                asked
                    .node
                    .wrong(notes, format!("nothing is charged for it, as `[prices] unknown` says: {why}"));
                return Some(Prices::FREE);
            }
            asked.node.wrong(problems, why);
            return None;
        }
        let over_time = self.over_time(asked, &dated);
        let prices = over_time.and_then(|all| {
            let several = "has prices in several currencies over time: charge them in one, with `charge_in` and \
                           exchange rates";
            Prices::new(all).ok_or_else(|| several.to_owned())
        });
        prices.map_err(|message| asked.node.wrong(problems, message)).ok()
    }

    fn why_unknown(&self, asked: &Asked<'_, '_>) -> String {
        let (name, mend) = match asked.said {
            Some(Said::Named(name)) => ((*name).to_owned(), "write the price itself"),
            Some(Said::OfTarget) => (
                format!("{}/{}", asked.upstream, asked.model),
                "name an entry with `price = { catalogue = \"provider/model\" }`, or write the price itself",
            ),
            _ => {
                return "has no price: give the model or the target a `price`, or `price = \"free\"`"
                    .to_owned();
            }
        };
        let known: Vec<&str> = self.list.iter().chain(CATALOGUE).map(|listed| &*listed.name).collect();
        match nearest(&name, &known) {
            Some(near) => format!("no price list has `{}`; did you mean `{near}`?", shown(&name)),
            None => format!("no price list has `{}`: {mend}", shown(&name)),
        }
    }

    /// The prices of a name in the order of their days: those of the file if it has any, else of the catalogue.
    fn listed(&self, name: &str) -> Vec<Dated> {
        let own = named(&self.list, name);
        let found = if own.is_empty() { named(CATALOGUE, name) } else { own };
        found.iter().filter_map(dated).collect()
    }

    /// One price for each time at which the price or the rate of exchange changes.
    fn over_time(&self, asked: &Asked<'_, '_>, dated: &[Dated]) -> Result<Vec<(u64, Price)>, String> {
        let charged_in = |price: &Dated| asked.charge_in.or(self.currency).unwrap_or(price.currency);
        let mut starts = BTreeSet::new();
        for price in dated {
            let rates = self.exchange(price.currency, charged_in(price)).map(|rate| rate.since_ms);
            starts.extend([price.since_ms].into_iter().chain(rates).map(Option::unwrap_or_default));
        }
        let in_force = |start| {
            let price = begun(dated.iter(), |price| price.since_ms, start).ok_or("has no price")?;
            let to = charged_in(price);
            if price.currency == to {
                return Ok((start, converted(price, None, asked.batch)?));
            }
            let rates = self.exchange(price.currency, to);
            let rate = begun(rates, |rate| rate.since_ms, start).ok_or_else(|| {
                let (from, to) = (price.currency.as_str(), to.as_str());
                format!(
                    "is priced in {from} and charged in {to}, and there is no exchange rate: add \
                     `[[exchange_rates]]` with `from = \"{from}\"`, `to = \"{to}\"` and a `rate`"
                )
            })?;
            Ok((start, converted(price, Some(rate), asked.batch)?))
        };
        starts.into_iter().map(in_force).collect()
    }

    /// The rates from one currency to another, in the order of their beginnings.
    fn exchange(&self, from: Currency, to: Currency) -> impl Iterator<Item = &ExchangeRate<'d>> {
        self.exchange_rates.iter().filter(move |rate| rate.from == from && rate.to == to)
    }
}

/// The last that has begun at a time; the first one counts from ever.
fn begun<'t, T>(
    in_order: impl Iterator<Item = &'t T>,
    since_ms: impl Fn(&T) -> Option<u64>,
    at_ms: u64,
) -> Option<&'t T> {
    in_order.fold(None, |found, next| match found {
        Some(_) if since_ms(next).is_some_and(|since| since > at_ms) => found,
        _ => Some(next),
    })
}

/// A price as it is charged: with the discount for batches, in the currency of the rate's other side.
fn converted(price: &Dated, rate: Option<&ExchangeRate<'_>>, batch: bool) -> Result<Price, String> {
    if batch && price.batch_discount == 0 {
        return Err("is for batches, but its price has no `batch_discount`".to_owned());
    }
    let percent = 100_u8.saturating_sub(if batch { price.batch_discount } else { 0 });
    let (nano, scale) = rate.map_or((1, 1), |rate| (u128::from(rate.nano), EXCHANGE_SCALE));
    let one = |pico: u64| {
        // 64, 7 and 64 bits: too much for a product only where the rate is absurd.
        let exact = u128::from(pico).checked_mul(u128::from(percent))?.checked_mul(nano)?;
        let rounded = exact.div_ceil(scale.saturating_mul(100));
        u64::try_from(rounded).ok().filter(|pico| *pico <= MOST_CONVERTED)
    };
    let all = |rates: &Rates| {
        Some(Rates {
            input: one(rates.input)?,
            cached_input: one(rates.cached_input)?,
            cache_write: one(rates.cache_write)?,
            output: one(rates.output)?,
            reasoning: one(rates.reasoning)?,
        })
    };
    let absurd = "is absurd at that exchange rate: a price is at most 1000000000 for a million tokens";
    let tier = |tier: &Tier| Some(Tier { above: tier.above, rates: all(&tier.rates)? });
    let exchanged = rate.map(|rate| format!("1 {} = {} {}", rate.from.as_str(), rate.text, rate.to.as_str()));
    let source = match (&price.source, exchanged) {
        (Some(source), Some(exchanged)) => Some(format!("{source}; {exchanged}")),
        (source, exchanged) => exchanged.or_else(|| source.clone()),
    };
    Ok(Price {
        currency: rate.map_or(price.currency, |rate| rate.to),
        rates: all(&price.rates).ok_or(absurd)?,
        tiers: price.tiers.iter().map(tier).collect::<Option<_>>().ok_or(absurd)?,
        since_ms: price.since_ms,
        source,
    })
}

/// A price of a list, as if it stood in the configuration. Lists are sound: none is left out.
fn dated(listed: &Listed<'_>) -> Option<Dated> {
    Some(Dated {
        since_ms: Some(day(&listed.since)?),
        currency: Currency::real(&listed.currency)?,
        source: Some(listed.source.to_string()),
        rates: listed.rates,
        tiers: listed.tiers.to_vec(),
        batch_discount: listed.batch_discount,
    })
}

fn exchange_rate<'d>(section: &Section<'d>, problems: &mut Problems<'_>) -> Option<ExchangeRate<'d>> {
    section.only(&["from", "to", "rate", "since"], problems);
    let hint = "three letters of ISO 4217 such as `USD`";
    let [from, to] = ["from", "to"]
        .map(|name| section.need(name, hint, problems).and_then(|node| currency(&node, problems)));
    let node = section.need("rate", "how many units of `to` one unit of `from` is", problems);
    let text = node.as_ref().map_or("", number);
    let nano = match decimal(text, EXCHANGE_DIGITS) {
        Ok(nano) if nano > 0 => Ok(nano),
        Ok(_) | Err(NotDecimal::Negative) => Err("must be more than 0".to_owned()),
        Err(NotDecimal::TooFine) => Err(format!("has more than {EXCHANGE_DIGITS} digits after the point")),
        Err(NotDecimal::TooLarge) => Err("is absurd".to_owned()),
        Err(NotDecimal::Malformed) => Err("must be a decimal number such as \"150.2\"".to_owned()),
    };
    let nano = nano.map_err(|message| {
        if let Some(node) = &node {
            node.wrong(problems, message);
        }
    });
    let since_ms = match section.get("since") {
        Some(node) => Some(moment(&node, problems)?),
        None => None,
    };
    let (from, to, nano) = (from?, to?, nano.ok()?);
    if from == to {
        section.get("to")?.wrong(problems, "must be another currency than `from`");
        return None;
    }
    Some(ExchangeRate { from, to, nano, text, since_ms })
}
