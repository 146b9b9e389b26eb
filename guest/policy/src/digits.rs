//! Writes numbers in decimal digits. Names of cells and waits stand in every exchange, and formatting them with the
//! standard library's machinery took longer than deciding them.

/// Adds a number to a text, with zeros in front until it has `least` digits.
pub fn push(text: &mut String, number: u64, least: u32) {
    if number >= 10 || least > 1 {
        push(text, number / 10, least.saturating_sub(1));
    }
    text.extend(u32::try_from(number % 10).ok().and_then(|digit| char::from_digit(digit, 10)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_usual() {
        for (number, least, expected) in [
            (0, 1, "0"),
            (7, 0, "7"),
            (7, 3, "007"),
            (1_234, 2, "1234"),
            (u64::MAX, 1, "18446744073709551615"),
        ] {
            let mut text = String::new();
            push(&mut text, number, least);
            assert_eq!(text, expected);
        }
    }
}
