//! What one token costs, by what kind of token it is.
//!
//! Rates are integers: pico-units (10^-12) of a currency for one token, which is the same number as micro-units for
//! a million tokens, so that `0.0028` per million is exact. The build script reads the catalogue with this.

use crate::decimal::{NotDecimal, decimal};

/// The highest rate accepted: a million units for a million tokens, in pico-units for one token.
pub const MOST_RATE: u64 = 1_000_000_000_000;

/// Digits after the point that a rate for a million tokens may have.
pub const RATE_DIGITS: u32 = 6;

/// Rates in pico-units for one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// An input token that has nothing to do with the provider's cache.
    pub input: u64,
    /// An input token that came from the cache.
    pub cached_input: u64,
    /// An input token that was written to the cache.
    pub cache_write: u64,
    /// An output token that is no reasoning.
    pub output: u64,
    /// An output token that is reasoning.
    pub reasoning: u64,
}

/// Rates that hold for all tokens of a request with many input tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Requests of more input tokens than this are in it.
    pub above: u64,
    /// Its rates.
    pub rates: Rates,
}

/// The rates as they are written, where two are needed and the others follow from these.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub input: Option<u64>,
    pub output: Option<u64>,
    /// None: as input.
    pub cached_input: Option<u64>,
    /// None: as input.
    pub cache_write: Option<u64>,
    /// None: as output.
    pub reasoning: Option<u64>,
}

impl Written {
    /// All rates, if those that are needed are there.
    pub fn complete(&self) -> Option<Rates> {
        let (input, output) = (self.input?, self.output?);
        Some(Rates {
            input,
            cached_input: self.cached_input.unwrap_or(input),
            cache_write: self.cache_write.unwrap_or(input),
            output,
            reasoning: self.reasoning.unwrap_or(output),
        })
    }
}

/// Reads currency units for a million tokens, such as `2.5`; or what is wrong with them.
pub fn rate(text: &str) -> Result<u64, String> {
    match decimal(text, RATE_DIGITS) {
        Ok(rate) if rate <= MOST_RATE => Ok(rate),
        Ok(_) | Err(NotDecimal::TooLarge) => {
            Err("is absurd: a price is at most 1000000 for a million tokens".to_owned())
        }
        Err(NotDecimal::Negative) => Err("must not be negative".to_owned()),
        Err(NotDecimal::TooFine) => Err(format!("has more than {RATE_DIGITS} digits after the point")),
        Err(NotDecimal::Malformed) => {
            Err("must be a decimal number such as 2.5, without an exponent".to_owned())
        }
    }
}
