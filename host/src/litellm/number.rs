//! Costs for one token as they stand in a file, as decimal text for a million tokens.

/// Digits after the point that a price list may have.
const DIGITS: i64 = 6;

/// The largest price for a million tokens: a million units.
const WHOLE_DIGITS: usize = 6;

/// Reads a number of JSON, such as `2.5e-06` for a token, into decimal text for a million, such as `2.5`; or says why
/// that cannot be.
pub(super) fn per_million(text: &str) -> Result<String, &'static str> {
    const NO_NUMBER: &str = "is not a number";
    if text.starts_with('-') && text.bytes().any(|byte| matches!(byte, b'1'..=b'9')) {
        return Err("is negative");
    }
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| NO_NUMBER)?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NO_NUMBER);
    }
    let kept = digits.trim_end_matches('0');
    let dropped = digits.len().saturating_sub(kept.len());
    let kept = kept.trim_start_matches('0');
    if kept.is_empty() {
        return Ok("0".into());
    }
    // The number is `kept` times ten to the minus `scale`, for a million tokens.
    let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let scale = length(fraction.len())
        .saturating_sub(length(dropped))
        .saturating_sub(i64::from(exponent))
        .saturating_sub(6);
    if scale > DIGITS {
        return Err("is finer than a millionth of a unit for a million tokens");
    }
    let (whole, fraction) = match usize::try_from(scale) {
        // At most six digits after the point.
        Ok(scale) => match kept.len().checked_sub(scale) {
            Some(at) => {
                let (whole, fraction) = kept.split_at_checked(at).ok_or(NO_NUMBER)?;
                (whole.to_owned(), fraction.to_owned())
            }
            None => (String::new(), format!("{kept:0>scale$}")),
        },
        Err(_) => match usize::try_from(scale.unsigned_abs()) {
            Ok(zeros) if zeros <= WHOLE_DIGITS => (format!("{kept}{}", "0".repeat(zeros)), String::new()),
            _ => return Err(TOO_LARGE),
        },
    };
    if whole.len() > WHOLE_DIGITS && !(whole == "1000000" && fraction.is_empty()) {
        return Err(TOO_LARGE);
    }
    let whole = if whole.is_empty() { "0".to_owned() } else { whole };
    Ok(if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") })
}

const TOO_LARGE: &str = "is more than a million units for a million tokens";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_exactly() {
        for (cost, expected) in [
            ("2.5e-06", "2.5"),
            ("2.5E-6", "2.5"),
            ("0.0000025", "2.5"),
            ("25e-07", "2.5"),
            ("0.00000250000", "2.5"),
            ("1e-07", "0.1"),
            ("7.5e-08", "0.075"),
            ("2.8e-09", "0.0028"),
            ("1e-12", "0.000001"),
            ("1.25e-6", "1.25"),
            ("1", "1000000"),
            ("0.015", "15000"),
            ("1e-05", "10"),
            ("1.5e+0", "is more"),
            ("0", "0"),
            ("-0.0", "0"),
            ("0.0", "0"),
            ("0e99", "0"),
            ("3.0e-06", "3"),
            ("6.00000000000000e-07", "0.6"),
            ("1e-13", "is finer"),
            ("1.0000001e-06", "is finer"),
            ("3.3333333333333335e-07", "is finer"),
            ("1e-400", "is finer"),
            ("2", "is more"),
            ("1e400", "is more"),
            ("1e99999999999", "is not a number"),
            ("1.000001", "is more"),
            ("-1e-06", "is negative"),
            ("", "is not a number"),
            ("free", "is not a number"),
            ("true", "is not a number"),
            (".5", "is not a number"),
        ] {
            let found = per_million(cost).unwrap_or_else(str::to_owned);
            assert!(
                found == expected || expected.starts_with("is ") && found.starts_with(expected),
                "{cost}: {found}"
            );
        }
    }
}
