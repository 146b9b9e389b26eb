//! The date that HTTP writes: `Mon, 23 Nov 2026 12:00:11 GMT` (RFC 9110, 5.6.7).

use jiff_core::civil::Date;
use jiff_core::tz::Offset;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Milliseconds since the epoch. The name of the weekday says nothing that the day does not: it is not read. The forms
/// that nobody writes any more are none.
pub fn parse(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let day = number(words.next()?, 2)?;
    let month = words.next()?;
    let month = MONTHS.iter().zip(1_i8..).find_map(|(name, number)| (*name == month).then_some(number))?;
    let year = number(words.next()?, 4)?;
    let mut clock = words.next()?.split(':');
    let mut part = || number(clock.next()?, 2).and_then(|part| i8::try_from(part).ok());
    let (hour, minute, second) = (part()?, part()?, part()?);
    let is_time = hour < 24 && minute < 60 && second <= 60;
    if (words.next(), words.next(), clock.next()) != (Some("GMT"), None, None) || !is_time {
        return None;
    }
    // A leap second is the last one of its minute: clocks count no other.
    let second = second.min(59);
    let date = Date::new(year, month, i8::try_from(day).ok()?).ok()?;
    let instant = date.at(hour, minute, second, 0).to_timestamp(Offset::UTC).ok()?;
    u64::try_from(instant.as_millisecond()).ok()
}

fn number(text: &str, digits: usize) -> Option<i16> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_mail_would_read() {
        for text in [
            "Mon, 23 Nov 2026 12:00:11 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Tue, 29 Feb 2028 23:59:59 GMT",
            "Thu, 31 Dec 9998 23:59:59 GMT",
        ] {
            let mail = jiff::fmt::rfc2822::parse(text).expect("a date").timestamp().as_millisecond();
            assert_eq!(parse(text), u64::try_from(mail).ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "Mon, 23 Nov 2026 12:00:11",
            "Mon, 23 Nov 2026 12:00:11 UTC",
            "Mon, 23 Nov 2026 12:00:11 GMT ",
            "Mon, 23 Nov 2026 24:00:00 GMT",
            "Mon, 23 Nov 2026 12:60:00 GMT",
            "Mon, 23 Nov 2026 12:00:61 GMT",
            "Mon, 23 Nov 2026 12:00 GMT",
            "Mon, 23 Nov 2026 12:00:00:00 GMT",
            "Mon, 30 Feb 2026 12:00:11 GMT",
            "Mon, 3 Nov 2026 12:00:11 GMT",
            "Mon, +3 Nov 2026 12:00:11 GMT",
            "Monday, 23-Nov-26 12:00:11 GMT",
            "Mon Nov 23 12:00:11 2026",
            "Wed, 31 Dec 1969 23:59:59 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
