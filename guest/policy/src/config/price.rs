//! A `price` of the configuration: what is written there, before it is known which target it is for.
//!
//! Each number is read from the characters of the file: none of them passes through a float.

use tollgate_document::{DeValue, Node, Problems, Section};

use super::value::moment;
use crate::money::Currency;
use crate::price::listed::are_ascending;
use crate::price::rates::{Written, rate};
use crate::price::{Rates, Tier};

/// What a `price` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<'d> {
    /// Nothing is charged.
    Free,
    /// What the catalogue has for the target's upstream and model.
    OfTarget,
    /// What the catalogue has for this name.
    Named(&'d str),
    /// These, in the order of their beginnings.
    Own(Vec<Dated>),
}

/// One price, as it is written there or in a price list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    /// From when on it counts: milliseconds since the epoch.
    pub since_ms: Option<u64>,
    pub currency: Currency,
    pub source: Option<String>,
    pub rates: Rates,
    pub tiers: Vec<Tier>,
    /// Percent.
    pub batch_discount: u8,
}

const RATES: [&str; 5] = ["input", "output", "cached_input", "cache_write", "reasoning"];

/// Reads a price: `"free"`, `"catalogue"`, `{ catalogue = NAME }`, a table of rates, or several of these with dates.
pub fn read<'d>(node: &Node<'d>, problems: &mut Problems<'_>) -> Option<Said<'d>> {
    if let DeValue::String(text) = node.value() {
        return match text.as_ref() {
            "free" => Some(Said::Free),
            "catalogue" => Some(Said::OfTarget),
            _ => {
                let form = "must be `\"free\"`, `\"catalogue\"` or a table such as `{ currency = \"JPY\", \
                            input = 2.5, output = 10 }`";
                node.wrong(problems, form);
                None
            }
        };
    }
    if let DeValue::Array(_) = node.value() {
        return several(node, problems);
    }
    let section = node.section(problems)?;
    if let Some(name) = section.get("catalogue") {
        section.only(&["catalogue"], problems);
        return name.text(problems).map(Said::Named);
    }
    dated(&section, problems).map(|dated| Said::Own(vec![dated]))
}

fn several<'d>(node: &Node<'d>, problems: &mut Problems<'_>) -> Option<Said<'d>> {
    let nodes = node.list(problems)?;
    if nodes.is_empty() {
        node.wrong(problems, "needs at least one price");
        return None;
    }
    let mut all: Vec<Dated> = Vec::new();
    let mut sound = true;
    for node in &nodes {
        let Some(dated) = node.section(problems).and_then(|section| dated(&section, problems)) else {
            sound = false;
            continue;
        };
        if all.iter().any(|known| known.since_ms == dated.since_ms) {
            node.wrong(
                problems,
                "begins when one before does: each price but one needs a `since` of its own",
            );
            sound = false;
        }
        let place = all.partition_point(|known: &Dated| known.since_ms <= dated.since_ms);
        all.insert(place, dated);
    }
    sound.then_some(Said::Own(all))
}

fn dated(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Dated> {
    const BESIDE: [&str; 5] = ["currency", "batch_discount", "tiers", "since", "source"];
    let known: Vec<&str> = RATES.into_iter().chain(BESIDE).collect();
    section.only(&known, problems);
    let currency = section
        .need("currency", "three letters of ISO 4217 such as `JPY`", problems)
        .and_then(|node| currency(&node, problems));
    let rates = rates(section, problems);
    let batch_discount = match section.get("batch_discount") {
        Some(node) => node.whole(0, 100, problems).and_then(|percent| u8::try_from(percent).ok()),
        None => Some(0),
    };
    let tiers = section.get("tiers").map_or(Some(Vec::new()), |node| tiers(&node, problems));
    let since_ms = match section.get("since") {
        Some(node) => Some(moment(&node, problems)?),
        None => None,
    };
    let source = match section.get("source") {
        Some(node) => {
            Some(node.text(problems)?.chars().filter(|letter| !letter.is_control()).take(256).collect())
        }
        None => None,
    };
    let (currency, rates, tiers, batch_discount) = (currency?, rates?, tiers?, batch_discount?);
    Some(Dated { since_ms, currency, source, rates, tiers, batch_discount })
}

/// A currency in which something can be priced.
pub fn currency(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<Currency> {
    let currency = Currency::real(node.text(problems)?);
    if currency.is_none() {
        node.wrong(problems, "must be three upper-case letters of ISO 4217 such as `JPY`");
    }
    currency
}

fn rates(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Rates> {
    let mut sound = true;
    let mut read = |name: &str| {
        let amount = section.get(name).map(|node| amount(&node, problems));
        sound = sound && amount != Some(None);
        amount.flatten()
    };
    let [input, output, cached_input, cache_write, reasoning] = RATES.map(&mut read);
    for (name, missing) in [("input", input.is_none()), ("output", output.is_none())] {
        if missing {
            section.need(name, "currency units for a million tokens", problems);
        }
    }
    let written = Written { input, output, cached_input, cache_write, reasoning };
    written.complete().filter(|_| sound)
}

fn tiers(list: &Node<'_>, problems: &mut Problems<'_>) -> Option<Vec<Tier>> {
    let mut tiers = Vec::new();
    let mut sound = true;
    for node in list.list(problems)? {
        let tier = node.section(problems).and_then(|section| tier(&section, problems));
        sound = sound && tier.is_some();
        tiers.extend(tier);
    }
    if sound && !are_ascending(&tiers) {
        list.wrong(problems, "must be in the order of their `above_input_tokens`, each given once");
        return None;
    }
    sound.then_some(tiers)
}

fn tier(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Tier> {
    let known: Vec<&str> = RATES.into_iter().chain(["above_input_tokens"]).collect();
    section.only(&known, problems);
    let above = section
        .need("above_input_tokens", "the input tokens above which these rates count", problems)
        .and_then(|node| node.whole(1, 1 << 53, problems));
    let rates = rates(section, problems);
    Some(Tier { above: above?, rates: rates? })
}

/// A rate, however it is written.
fn amount(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<u64> {
    rate(number(node)).map_err(|message| node.wrong(problems, message)).ok()
}

/// The characters of a decimal number, which may be a text of the file; empty if it is something else.
pub fn number<'d>(node: &Node<'d>) -> &'d str {
    match node.value() {
        DeValue::String(text) => text.as_ref(),
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
        DeValue::Float(float) => float.as_str(),
        _ => "",
    }
}
