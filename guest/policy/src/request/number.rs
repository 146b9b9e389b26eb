//! Numbers compared as they are written: no float comes between a client's `1e-1` and a limit.

/// A limit of decimals, in thousandths.
pub type Thousandths = i64;

/// Fractions are kept to 10^-9; what is finer only counts as a little more.
const PLACES: i64 = 9;
const THOUSANDTH: i128 = 1_000_000;

/// A number of JSON: the largest multiple of 10^-9 that is not above it, and whether it is more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    floor: i128,
    more: bool,
}

impl Number {
    /// Reads a number of JSON; none: it is none. What is beyond every limit saturates.
    pub fn read(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = || whole.bytes().chain(fraction.bytes());
        if whole.is_empty() || !digits().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let exponent = exponent_of(exponent)?;
        // Digits that stand before 10^-9, as many as count; all after only tell whether there is more.
        let shift = exponent.saturating_add(PLACES);
        let whole_digits = i64::try_from(whole.len()).unwrap_or(i64::MAX);
        let kept = whole_digits.saturating_add(shift);
        let (mut value, mut run, mut more) = (0_i128, Run::default(), false);
        for (place, digit) in (0_i64..).zip(digits()) {
            if place >= kept {
                more |= digit != b'0';
            } else if !run.push(digit) {
                value = run.behind(value);
                run = Run::default();
                run.push(digit);
            }
        }
        value = run.behind(value);
        let read = i64::try_from(whole.len().saturating_add(fraction.len())).unwrap_or(i64::MAX);
        let mut zeros = usize::try_from(kept.saturating_sub(read).clamp(0, 64)).unwrap_or(0);
        while zeros > 0 {
            let length = zeros.min(Run::MOST);
            value = Run { value: 0, length }.behind(value);
            zeros = zeros.saturating_sub(length);
        }
        if negative {
            value = value.saturating_neg();
            if more {
                value = value.saturating_sub(1);
            }
        }
        Some(Self { floor: value, more })
    }

    /// Whether it is less than a limit.
    pub fn is_below(self, least: Thousandths) -> bool {
        self.floor < i128::from(least).saturating_mul(THOUSANDTH)
    }

    /// Whether it is more than a limit.
    pub fn is_above(self, most: Thousandths) -> bool {
        let most = i128::from(most).saturating_mul(THOUSANDTH);
        self.floor > most || (self.floor == most && self.more)
    }

    /// Whether it has no fraction.
    pub fn is_whole(self) -> bool {
        !self.more && self.floor.checked_rem(THOUSANDTH.saturating_mul(1_000)) == Some(0)
    }

    /// In thousandths, if that is exact.
    pub fn thousandths(self) -> Option<Thousandths> {
        let whole = !self.more && self.floor.checked_rem(THOUSANDTH) == Some(0);
        i64::try_from(self.floor.checked_div(THOUSANDTH)?).ok().filter(|_| whole)
    }
}

/// Digits in a row. Where a product of 128 bits is a call, one for all of them is cheaper than one for each.
#[derive(Clone, Copy, Default)]
struct Run {
    value: u64,
    length: usize,
}

impl Run {
    /// So many digits fit.
    const MOST: usize = 19;
    const TENS: [u64; Self::MOST + 1] = {
        let mut tens = [1_u64; Self::MOST + 1];
        let mut rest = tens.as_mut_slice();
        while let [before, after @ ..] = rest {
            if let [next, ..] = after {
                *next = before.wrapping_mul(10);
            }
            rest = after;
        }
        tens
    };

    /// Adds a digit, unless there is no room for one.
    fn push(&mut self, digit: u8) -> bool {
        let fits = self.length < Self::MOST;
        if fits {
            self.value = self.value.wrapping_mul(10).wrapping_add(digit.saturating_sub(b'0').into());
            self.length = self.length.saturating_add(1);
        }
        fits
    }

    /// The number whose last digits these are.
    fn behind(self, before: i128) -> i128 {
        let tens = Self::TENS.get(self.length).copied().unwrap_or(1);
        let before = if before == 0 { 0 } else { before.saturating_mul(tens.into()) };
        before.saturating_add(self.value.into())
    }
}

/// An exponent; those that lead beyond every limit are all alike.
fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000);
    Some(if text.starts_with('-') { size.saturating_neg() } else { size })
}

/// Thousandths as they are written: `0.5`, `-2`.
pub fn shown(limit: Thousandths) -> String {
    let (whole, part) = (limit.unsigned_abs() / 1_000, limit.unsigned_abs() % 1_000);
    let sign = if limit < 0 { "-" } else { "" };
    if part == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{}", format!("{part:03}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_compared_as_they_are_written() {
        let within = |text: &str| {
            let number = Number::read(text).expect(text);
            (number.is_below(0), number.is_above(2_000))
        };
        for text in
            ["0", "-0", "0.0", "2", "2.0", "2e0", "20e-1", "0.2E+1", "1e-400", "0e999999999999", "2.000"]
        {
            assert_eq!(within(text), (false, false), "{text}");
        }
        for text in
            ["2.0000000000000000001", "3", "2e1", "1e308", "200000000000000000000000000000000000000000"]
        {
            assert_eq!(within(text), (false, true), "{text}");
        }
        for text in ["-1", "-0.0000000000000000001", "-1e-300", "-1e300"] {
            assert_eq!(within(text), (true, false), "{text}");
        }
        for text in ["", "-", ".5", "1e", "1.2.3", "x", "1,5", "+1"] {
            assert_eq!(Number::read(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_and_thousandths_are_told() {
        let number = |text: &str| Number::read(text).expect(text);
        assert!(number("5.0").is_whole() && number("50e-1").is_whole() && !number("5.1").is_whole());
        assert!(!number("5.00000000000001").is_whole());
        assert_eq!(number("0.25").thousandths(), Some(250));
        assert_eq!(number("-1.5").thousandths(), Some(-1_500));
        assert_eq!(number("0.0001").thousandths(), None);
        assert_eq!([250, -1_500, 2_000, 5].map(shown), ["0.25", "-1.5", "2", "0.005"]);
    }

    proptest! {
        #[test]
        fn however_long_a_number_is_its_digits_count_each_in_its_place(
            whole in "[0-9]{1,40}", fraction in "[0-9]{0,30}", power in -40..30_i32
        ) {
            let point = if fraction.is_empty() { "" } else { "." };
            let number = Number::read(&format!("{whole}{point}{fraction}e{power}")).expect("a number");
            // All digits, with the point put where 10^-9 is.
            let digits = format!("{whole}{fraction}{}", "0".repeat(40));
            let kept = i32::try_from(whole.len()).expect("a length").saturating_add(power).saturating_add(9);
            let (before, after) = digits.split_at(usize::try_from(kept).unwrap_or(0));
            let floor = before.trim_start_matches('0');
            let floor = if floor.is_empty() { 0 } else { floor.parse().unwrap_or(i128::MAX) };
            prop_assert_eq!(number, Number { floor, more: after.bytes().any(|digit| digit != b'0') });
        }

        #[test]
        fn small_decimals_are_ordered_like_their_thousandths(thousandths in -5_000..5_000_i64, limit in -5_000..5_000_i64, power in 0..6_u32) {
            let text = shown(thousandths);
            let scaled = format!("{}e{power}", shown(thousandths * 1000 / 10_i64.pow(power.min(3))));
            let number = Number::read(&text).expect("a number");
            prop_assert_eq!(number.is_below(limit), thousandths < limit);
            prop_assert_eq!(number.is_above(limit), thousandths > limit);
            prop_assert!(Number::read(&scaled).is_some());
        }
    }
}
