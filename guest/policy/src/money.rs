//! What tokens cost.
//!
//! Prices are integers: pico-units (10^-12) of a currency for one token, which is the same number as micro-units
//! for a million tokens, so that `0.0028` per million is exact. A charge is summed in 128 bits and rounded up
//! once, to nano-units (10^-9). No float comes near money, and no rate of exchange exists.

use serde::{Deserialize, Serialize};

use crate::message;

/// The largest amount of money the books can hold, in nano-units: 9 million units, which stays below 2^53 so that
/// a ledger may count in doubles.
pub const MOST_MONEY: u64 = 9_000_000_000_000_000;

/// The highest price accepted: a million units for a million tokens, in pico-units for one token.
pub const MOST_PRICE: u64 = 1_000_000_000_000;

/// Digits after the point that a price may have.
pub const PRICE_DIGITS: u32 = 6;

/// Digits after the point that an amount of money may have.
pub const MONEY_DIGITS: u32 = 9;

const PICO_IN_NANO: u128 = 1_000;

/// An ISO 4217 code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Currency([u8; 3]);

impl Currency {
    /// `XXX`, which ISO 4217 keeps for "no currency": what is free is priced in it.
    pub const NONE: Self = Self(*b"XXX");

    /// Three upper-case letters, or nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 3] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        // `parse` lets nothing but ASCII in.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

/// What one token of a target costs, in pico-units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Of what.
    pub currency: Currency,
    /// An input token that came from no cache.
    pub input: u64,
    /// An input token from the provider's cache.
    pub cached_input: u64,
    /// An output token, reasoning included.
    pub output: u64,
}

impl Price {
    /// No charge.
    pub const FREE: Self = Self { currency: Currency::NONE, input: 0, cached_input: 0, output: 0 };

    /// As the books show it.
    pub fn shown(&self) -> message::Price {
        message::Price { input: self.input, cached_input: self.cached_input, output: self.output }
    }

    /// Whether nothing is ever charged.
    pub fn is_free(&self) -> bool {
        self.currency == Currency::NONE
    }

    /// The charge in nano-units, rounded up once. `cached` is the part of `input` that came from a cache.
    pub fn charge(&self, input: u64, cached: u64, output: u64) -> u64 {
        let cached = cached.min(input);
        let fresh = input.saturating_sub(cached);
        // Nothing but a provider's nonsense costs more than the books can hold: it is charged as much as they can.
        nano([(fresh, self.input), (cached, self.cached_input), (output, self.output)]).min(MOST_MONEY)
    }

    /// The most that so many tokens can cost, in nano-units. Not cut to what the books can hold: a ledger must be
    /// able to see that no budget covers it.
    pub fn bound(&self, input: u64, output: u64) -> u64 {
        nano([(input, self.input.max(self.cached_input)), (output, self.output)])
    }
}

fn nano<const N: usize>(parts: [(u64, u64); N]) -> u64 {
    let pico = parts
        .into_iter()
        // A product of two 64-bit numbers fits. Their sum might not, and then is far above every budget.
        .map(|(tokens, price)| u128::from(tokens).saturating_mul(u128::from(price)))
        .fold(0, u128::saturating_add);
    u64::try_from(pico.div_ceil(PICO_IN_NANO)).unwrap_or(u64::MAX)
}

/// Why a text is not a decimal number of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDecimal {
    /// Something else than digits and a point; exponents are not read.
    Malformed,
    /// Below zero.
    Negative,
    /// More digits after the point than are kept.
    TooFine,
    /// Too large for 64 bits.
    TooLarge,
}

/// Reads `12.5` as a number of 10^-`digits`, exactly.
pub fn decimal(text: &str, digits: u32) -> Result<u64, NotDecimal> {
    if text.starts_with('-') {
        return Err(NotDecimal::Negative);
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return Err(NotDecimal::Malformed);
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = u32::try_from(fraction.len()).ok().and_then(|length| digits.checked_sub(length));
    let missing = missing.ok_or(NotDecimal::TooFine)?;
    let scale = |number: u64, by: u32| 10_u64.checked_pow(by).and_then(|factor| number.checked_mul(factor));
    let whole = whole.parse().ok().and_then(|number| scale(number, digits));
    let fraction = match fraction {
        "" => Some(0),
        fraction => fraction.parse().ok().and_then(|number| scale(number, missing)),
    };
    whole.zip(fraction).and_then(|(whole, fraction)| whole.checked_add(fraction)).ok_or(NotDecimal::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal("2.5", 6), Ok(2_500_000));
        assert_eq!(decimal("0.0028", 6), Ok(2_800));
        assert_eq!(decimal("10", 6), Ok(10_000_000));
        assert_eq!(decimal("+1.50000000", 6), Ok(1_500_000));
        assert_eq!(decimal("-1", 6), Err(NotDecimal::Negative));
        assert_eq!(decimal("-0.0", 6), Err(NotDecimal::Negative));
        assert_eq!(decimal("0.0000001", 6), Err(NotDecimal::TooFine));
        assert_eq!(decimal("99999999999999999999", 6), Err(NotDecimal::TooLarge));
        for text in ["", ".", "1.", ".5", "1e3", "inf", "nan", "1_000", "1,5", "0x10", "1.2.3", "+-1"] {
            assert_eq!(decimal(text, 6), Err(NotDecimal::Malformed), "{text}");
        }
    }

    #[test]
    fn a_charge_is_rounded_up_once() {
        let price = Price { currency: Currency::NONE, input: 70_000, cached_input: 1, output: 420_001 };
        assert_eq!(price.charge(0, 0, 0), 0);
        assert_eq!(price.charge(1, 1, 0), 1);
        assert_eq!(price.charge(3, 1, 2), 981, "140,000 + 1 + 840,002 pico-units");
        assert_eq!(price.charge(1, 9, 0), 1, "no more can be cached than was sent");
    }

    #[test]
    fn absurd_counts_are_clamped_and_absurd_bounds_are_not() {
        let price =
            Price { currency: Currency::NONE, input: MOST_PRICE, cached_input: 0, output: MOST_PRICE };
        assert_eq!(price.charge(u64::MAX, 0, u64::MAX), MOST_MONEY);
        assert!(price.bound(u64::MAX, u64::MAX) > MOST_MONEY);
        assert_eq!(price.bound(1_000, 1), 1_001_000_000_000, "1,001 tokens at a unit each");
    }
}
