//! Values written as text: durations, windows, budgets and prices.
//!
//! Each is read from the characters of the file: no number of a configuration passes through a float.

use tollgate_document::{DeValue, Node, Problems, Section, duration};

use crate::calendar::Period;
use crate::money::{
    Currency, MONEY_DIGITS, MOST_MONEY, MOST_PRICE, NotDecimal, PRICE_DIGITS, Price, decimal,
};

/// At most `limit` units in any trailing `period_ms`, as `100/1m` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Units; never 0.
    pub limit: u64,
    /// Milliseconds; never 0.
    pub period_ms: u64,
    /// The period as it was written: `1m`.
    pub period: String,
}

/// At most `limit` in each period of the calendar, as `1000 JPY/month` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Nano-units; never 0.
    pub limit: u64,
    /// Of what.
    pub currency: Currency,
    /// When it starts anew.
    pub period: Period,
    /// As it was written.
    pub text: String,
}

/// No limit is larger: far above every use, far below 2^53.
const MOST_UNITS: u64 = 1_000_000_000_000;

/// A window such as `"100/1m"`.
pub fn window(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<Window> {
    let text = node.text(problems)?;
    let read = || {
        let (limit, period) = text.split_once('/')?;
        let is_number = limit.bytes().all(|byte| byte.is_ascii_digit());
        let limit = limit.parse().ok().filter(|_| is_number)?;
        Some(Window { limit, period_ms: duration(period)?, period: period.to_owned() })
    };
    let Some(window) = read() else {
        let form =
            "must be a number and a duration such as `100/1m` (units `ms`, `s`, `m`, `h`, `d`; at most 366d)";
        node.wrong(problems, form);
        return None;
    };
    if !(1..=MOST_UNITS).contains(&window.limit) {
        node.wrong(
            problems,
            format!("the limit must be from 1 to {MOST_UNITS}; to forbid all, remove the key"),
        );
        return None;
    }
    Some(window)
}

/// A budget such as `"1000 JPY/month"`.
pub fn budget(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<Budget> {
    const FORM: &str = "must be an amount, a currency and a calendar period such as `1000 JPY/month` \
                        (`day`, `week` or `month`)";
    let text = node.text(problems)?;
    let read = || {
        let (money, period) = text.split_once('/')?;
        let (amount, currency) = money.split_once(' ')?;
        Some((
            amount,
            Currency::parse(currency).filter(|found| *found != Currency::NONE)?,
            Period::parse(period)?,
        ))
    };
    let Some((amount, currency, period)) = read() else {
        node.wrong(problems, FORM);
        return None;
    };
    let message = match decimal(amount, MONEY_DIGITS) {
        Ok(limit) if (1..=MOST_MONEY).contains(&limit) => {
            return Some(Budget { limit, currency, period, text: text.to_owned() });
        }
        Ok(0) => "the amount must be more than 0; to forbid all, remove the key".to_owned(),
        Ok(_) | Err(NotDecimal::TooLarge) => "the amount must be at most 9000000".to_owned(),
        Err(NotDecimal::Negative) => "the amount must not be negative".to_owned(),
        Err(NotDecimal::TooFine) => format!("the amount has more than {MONEY_DIGITS} digits after the point"),
        Err(NotDecimal::Malformed) => FORM.to_owned(),
    };
    node.wrong(problems, message);
    None
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
