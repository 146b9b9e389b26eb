//! Values of a configuration that are more than a word: instants, time zones and prices.
//!
//! Each price is read from the characters of the file: no number of a configuration passes through a float.

use jiff::civil::{Date, Time};
use tollgate_document::{Datetime, DeValue, Node, Offset, Problems, Section, shown};

use crate::calendar::Calendar;
use crate::money::{Currency, MOST_PRICE, NotDecimal, PRICE_DIGITS, Price, decimal};

/// An instant such as `2027-01-01T00:00:00Z`, as a date of TOML or as text: milliseconds since the epoch.
pub fn instant(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<u64> {
    let read = || {
        let written: Datetime = match node.value() {
            DeValue::Datetime(written) => *written,
            DeValue::String(text) => text.parse().ok()?,
            _ => return None,
        };
        milliseconds(&written)
    };
    let instant = read();
    if instant.is_none() {
        node.wrong(problems, "must be a date and a time with its offset such as `2027-01-01T00:00:00Z`");
    }
    instant
}

fn milliseconds(written: &Datetime) -> Option<u64> {
    let (date, time) = (written.date?, written.time?);
    let seconds_east = match written.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i32::from(minutes).checked_mul(60)?,
    };
    let part = |number: u8| i8::try_from(number).ok();
    let date = Date::new(i16::try_from(date.year).ok()?, part(date.month)?, part(date.day)?).ok()?;
    // A leap second is the last one of its minute: clocks count no other.
    let second = part(time.second.unwrap_or(0))?.min(59);
    let nanosecond = i32::try_from(time.nanosecond.unwrap_or(0)).ok()?;
    let time = Time::new(part(time.hour)?, part(time.minute)?, second, nanosecond).ok()?;
    let offset = jiff::tz::Offset::from_seconds(seconds_east).ok()?;
    let instant = offset.to_timestamp(date.to_datetime(time)).ok()?;
    u64::try_from(instant.as_millisecond()).ok()
}

/// The calendar of a `[calendar]` table.
pub fn calendar(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Calendar> {
    section.only(&["time_zone"], problems);
    let node = section.get("time_zone")?;
    let name = node.text(problems)?;
    let calendar = Calendar::named(name);
    if calendar.is_none() {
        let message = match Calendar::probably(name) {
            Some(near) => format!("there is no time zone `{}`; did you mean `{near}`?", shown(name)),
            None => {
                format!("there is no time zone `{}`; it needs an IANA name such as `Asia/Tokyo`", shown(name))
            }
        };
        node.wrong(problems, message);
    }
    calendar
}

/// A price: a table of currency units for a million tokens, or `"free"`.
pub fn price(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<Price> {
    if let DeValue::String(text) = node.value() {
        if text == "free" {
            return Some(Price::FREE);
        }
        let form = "must be `\"free\"` or a table such as `{ currency = \"JPY\", input = 2.5, output = 10 }`";
        node.wrong(problems, form);
        return None;
    }
    let section = node.section(problems)?;
    section.only(&["currency", "input", "output", "cached_input"], problems);
    let currency = currency(&section, problems);
    let input = rate(&section, "input", problems);
    let output = rate(&section, "output", problems);
    let cached_input = match section.get("cached_input") {
        Some(node) => amount(&node, problems),
        None => input,
    };
    Some(Price { currency: currency?, input: input?, cached_input: cached_input?, output: output? })
}

fn currency(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Currency> {
    let node = section.need("currency", "three letters of ISO 4217 such as `JPY`", problems)?;
    let currency = Currency::parse(node.text(problems)?).filter(|found| *found != Currency::NONE);
    if currency.is_none() {
        node.wrong(problems, "must be three upper-case letters of ISO 4217 such as `JPY`");
    }
    currency
}

fn rate(section: &Section<'_>, name: &str, problems: &mut Problems<'_>) -> Option<u64> {
    let node = section.need(name, "currency units for a million tokens", problems)?;
    amount(&node, problems)
}

fn amount(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<u64> {
    let text = match node.value() {
        DeValue::String(text) => text.as_ref(),
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
        DeValue::Float(float) => float.as_str(),
        _ => "",
    };
    let message = match decimal(text, PRICE_DIGITS) {
        Ok(price) if price <= MOST_PRICE => return Some(price),
        Ok(_) | Err(NotDecimal::TooLarge) => {
            "is absurd: a price is at most 1000000 for a million tokens".to_owned()
        }
        Err(NotDecimal::Negative) => "must not be negative".to_owned(),
        Err(NotDecimal::TooFine) => format!("has more than {PRICE_DIGITS} digits after the point"),
        Err(NotDecimal::Malformed) => "must be a decimal number such as 2.5, without an exponent".to_owned(),
    };
    node.wrong(problems, message);
    None
}
