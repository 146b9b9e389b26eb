//! Values of a configuration that are more than a word: instants and time zones.

use jiff_core::civil::{self, DateTime, Time};
use tollgate_document::{Date, Datetime, DeValue, Node, Offset, Problems, Section, shown};

use crate::calendar::Calendar;

/// An instant such as `2027-01-01T00:00:00Z`, as a date of TOML or as text: milliseconds since the epoch.
pub fn instant(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<u64> {
    let read = || {
        let written: Datetime = match node.value() {
            DeValue::Datetime(written) => *written,
            DeValue::String(text) => text.parse().ok()?,
            _ => return None,
        };
        milliseconds(&written)
    };
    let instant = read();
    if instant.is_none() {
        node.wrong(problems, "must be a date and a time with its offset such as `2027-01-01T00:00:00Z`");
    }
    instant
}

fn milliseconds(written: &Datetime) -> Option<u64> {
    let (date, time) = (written.date?, written.time?);
    let seconds_east = match written.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i32::from(minutes).checked_mul(60)?,
    };
    let part = |number: u8| i8::try_from(number).ok();
    // A leap second is the last one of its minute: clocks count no other.
    let second = part(time.second.unwrap_or(0))?.min(59);
    let nanosecond = i32::try_from(time.nanosecond.unwrap_or(0)).ok()?;
    let time = Time::new(part(time.hour)?, part(time.minute)?, second, nanosecond).ok()?;
    let offset = jiff_core::tz::Offset::from_seconds(seconds_east).ok()?;
    let instant = offset.to_timestamp(DateTime::from_parts(day_of(date)?, time)).ok()?;
    u64::try_from(instant.as_millisecond()).ok()
}

/// The calendar of a `[calendar]` table.
pub fn calendar(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Calendar> {
    section.only(&["time_zone"], problems);
    let node = section.get("time_zone")?;
    let name = node.text(problems)?;
    let calendar = Calendar::named(name);
    if calendar.is_none() {
        let message = match Calendar::probably(name) {
            Some(near) => format!("there is no time zone `{}`; did you mean `{near}`?", shown(name)),
            None => {
                format!("there is no time zone `{}`; it needs an IANA name such as `Asia/Tokyo`", shown(name))
            }
        };
        node.wrong(problems, message);
    }
    calendar
}

/// An instant, or a day of TOML: midnight in UTC. Milliseconds since the epoch.
pub fn moment(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<u64> {
    let read = || {
        let written: Datetime = match node.value() {
            DeValue::Datetime(written) => *written,
            DeValue::String(text) => text.parse().ok()?,
            _ => return None,
        };
        match written {
            Datetime { date: Some(date), time: None, offset: None } => midnight(date),
            _ => milliseconds(&written),
        }
    };
    let moment = read();
    if moment.is_none() {
        node.wrong(problems, "must be a day such as `2026-01-31`, or a date and a time with its offset");
    }
    moment
}

/// A day, `2026-01-31`: its midnight in UTC.
pub fn day(text: &str) -> Option<u64> {
    let written: Datetime = text.parse().ok()?;
    let Datetime { date: Some(date), time: None, offset: None } = written else { return None };
    midnight(date)
}

fn midnight(date: Date) -> Option<u64> {
    let instant = day_of(date)?.at(0, 0, 0, 0).to_timestamp(jiff_core::tz::Offset::UTC).ok()?;
    u64::try_from(instant.as_millisecond()).ok()
}

fn day_of(date: Date) -> Option<civil::Date> {
    let part = |number: u8| i8::try_from(number).ok();
    civil::Date::new(i16::try_from(date.year).ok()?, part(date.month)?, part(date.day)?).ok()
}
