//! Amounts of money: whole numbers of nano-units (10^-9) of a currency.

use serde::{Deserialize, Serialize};

/// The largest amount of money the books can hold, in nano-units: 9 million units, which stays below 2^53 so that
/// a ledger may count in doubles.
pub const MOST_MONEY: u64 = 9_000_000_000_000_000;

/// Digits after the point that an amount of money may have.
pub const MONEY_DIGITS: u32 = 9;

/// An ISO 4217 code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Currency([u8; 3]);

impl Currency {
    /// `XXX`, which ISO 4217 keeps for "no currency": what is free is priced in it.
    pub const NONE: Self = Self(*b"XXX");

    /// Three upper-case letters, or nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 3] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    /// The code of a currency in which something can be priced.
    pub fn real(text: &str) -> Option<Self> {
        Self::parse(text).filter(|found| *found != Self::NONE)
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        // `parse` lets nothing but ASCII in.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}
