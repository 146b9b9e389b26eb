//! Decimal numbers as text, read into whole numbers of a fixed size, exactly. No float comes near them.
//!
//! The build script reads the catalogue of prices with it: nothing here knows the rest of the crate.

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
}
