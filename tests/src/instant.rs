//! Instants as vectors write them, and the present one.

use std::fmt;
use std::time::UNIX_EPOCH;

use serde::Deserialize;

/// An instant, written as `2026-11-23T12:00:00Z` or with milliseconds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct Instant {
    /// Milliseconds since the epoch.
    pub ms: u64,
}

impl Default for Instant {
    /// Noon of a Monday.
    fn default() -> Self {
        Self::try_from("2026-11-23T12:00:00Z".to_owned()).unwrap()
    }
}

impl TryFrom<String> for Instant {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not like 2026-11-23T12:00:00Z");
        let parsed: toml::value::Datetime = text.parse().map_err(|_| wrong())?;
        let (Some(date), Some(time), Some(toml::value::Offset::Z)) =
            (parsed.date, parsed.time, parsed.offset)
        else {
            return Err(wrong());
        };
        let days = days_from_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day));
        let seconds = days * 86_400
            + i64::from(time.hour) * 3_600
            + i64::from(time.minute) * 60
            + i64::from(time.second.unwrap_or(0));
        let ms = seconds * 1_000 + i64::from(time.nanosecond.unwrap_or(0) / 1_000_000);
        Ok(Self { ms: u64::try_from(ms).map_err(|_| wrong())? })
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(i64::try_from(self.ms / 86_400_000).unwrap());
        let (seconds, ms) = (self.ms % 86_400_000 / 1_000, self.ms % 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if ms > 0 { write!(out, ".{ms:03}Z") } else { out.write_str("Z") }
    }
}

/// The machine's clock, for what happens beside a program that reads it: milliseconds since the epoch.
pub fn now_ms() -> u64 {
    UNIX_EPOCH.elapsed().unwrap().as_millis().try_into().unwrap()
}

/// The reverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days since 1970-01-01 of a proleptic Gregorian date (Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_milliseconds_since_the_epoch() {
        assert_eq!(Instant::default().ms, 1_795_435_200_000);
        let leap = Instant::try_from("2028-02-29T23:59:59.999Z".to_owned()).unwrap();
        assert_eq!(leap.ms, 1_835_481_599_999);
        assert!(Instant::try_from("2026-11-23".to_owned()).is_err());
        for text in ["2026-11-23T12:00:00Z", "2028-02-29T23:59:59.999Z", "1970-01-01T00:00:00Z"] {
            assert_eq!(Instant::try_from(text.to_owned()).unwrap().to_string(), text);
        }
    }
}
