//! Calendar periods of a budget, in UTC, from milliseconds since 1970.
//!
//! The arithmetic is the proleptic Gregorian calendar's (Hinnant, "chrono-compatible low-level date algorithms");
//! weeks are those of ISO 8601: they start on Monday and belong to the year of their Thursday.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "instants are cut at the end of year 9999 first: no step comes near the ends of i64"
)]

use std::fmt;

/// How long a budget lasts before it starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
}

/// One period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    label: Label,
    /// Its first millisecond.
    pub start_ms: u64,
    /// The first millisecond of the next one.
    pub end_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Day { year: i64, month: i64, day: i64 },
    Week { year: i64, week: i64 },
    Month { year: i64, month: i64 },
}

const DAY_MS: u64 = 86_400_000;

/// 9999-12-31. A clock beyond it is broken; all of its instants count as this day.
const LAST_DAY: i64 = 2_932_896;

impl Period {
    /// `day`, `week` or `month`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "day" => Some(Self::Day),
            "week" => Some(Self::Week),
            "month" => Some(Self::Month),
            _ => None,
        }
    }

    /// The period that `now_ms` lies in.
    pub fn around(self, now_ms: u64) -> Span {
        let today = i64::try_from(now_ms / DAY_MS).unwrap_or(LAST_DAY).min(LAST_DAY);
        let (year, month, day) = date(today);
        let (label, first, next) = match self {
            Self::Day => (Label::Day { year, month, day }, today, today + 1),
            Self::Week => {
                // 1970-01-01 was a Thursday.
                let monday = today - (today + 3) % 7;
                let thursday = monday + 3;
                let (year, _, _) = date(thursday);
                let week = (thursday - day_number(year, 1, 1)) / 7 + 1;
                (Label::Week { year, week }, monday, monday + 7)
            }
            Self::Month => {
                let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                let label = Label::Month { year, month };
                (label, day_number(year, month, 1), day_number(next_year, next_month, 1))
            }
        };
        Span { label, start_ms: milliseconds(first), end_ms: milliseconds(next) }
    }
}

/// `2026-11-23`, `2026-W48` or `2026-11`: the name of the period in a ledger's cell.
impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label {
            Label::Day { year, month, day } => write!(out, "{year:04}-{month:02}-{day:02}"),
            Label::Week { year, week } => write!(out, "{year:04}-W{week:02}"),
            Label::Month { year, month } => write!(out, "{year:04}-{month:02}"),
        }
    }
}

/// The week of 1970-01-01 began before 1970: cut.
fn milliseconds(day: i64) -> u64 {
    u64::try_from(day).unwrap_or(0) * DAY_MS
}

/// Year, month and day of a day counted from 1970-01-01, which must not be negative.
fn date(day: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, a leap day is the last of its year, and of its era of 400 years.
    let day = day + 719_468;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The reverse of [`date`].
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let of_era = year % 400;
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(now_ms: u64) -> [String; 3] {
        [Period::Day, Period::Week, Period::Month].map(|period| period.around(now_ms).to_string())
    }

    #[test]
    fn periods_have_the_names_of_iso_8601() {
        assert_eq!(names(0), ["1970-01-01", "1970-W01", "1970-01"]);
        assert_eq!(names(1_795_424_400_000), ["2026-11-23", "2026-W48", "2026-11"]);
        assert_eq!(names(1_609_459_200_000), ["2021-01-01", "2020-W53", "2021-01"]);
        assert_eq!(names(1_735_516_800_000), ["2024-12-30", "2025-W01", "2024-12"]);
        assert_eq!(names(1_709_164_800_000), ["2024-02-29", "2024-W09", "2024-02"]);
        assert_eq!(names(u64::MAX), ["9999-12-31", "9999-W52", "9999-12"]);
    }

    #[test]
    fn a_month_lasts_until_the_first() {
        let span = Period::Month.around(1_709_251_199_999);
        assert_eq!((span.start_ms, span.end_ms), (1_706_745_600_000, 1_709_251_200_000));
        assert_eq!(Period::Month.around(span.end_ms).to_string(), "2024-03");
        let span = Period::Month.around(1_733_011_200_000);
        assert_eq!((span.to_string().as_str(), span.end_ms), ("2024-12", 1_735_689_600_000));
    }

    #[test]
    fn periods_follow_one_another_without_a_gap() {
        for period in [Period::Day, Period::Week, Period::Month] {
            let mut span = period.around(0);
            while span.end_ms < 4_102_444_800_000 {
                let next = period.around(span.end_ms);
                assert_eq!(next.start_ms, span.end_ms);
                assert_eq!(period.around(next.end_ms - 1), next);
                assert_ne!(next.to_string(), span.to_string());
                span = next;
            }
        }
    }

    #[test]
    fn a_date_is_the_day_it_came_from() {
        for day in 0..LAST_DAY {
            let (year, month, of_month) = date(day);
            assert_eq!(day_number(year, month, of_month), day);
        }
        assert_eq!(date(LAST_DAY), (9999, 12, 31));
    }
}
