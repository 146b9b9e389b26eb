//! How the clocks of a place go.

use jiff_core::Timestamp;
use jiff_core::civil::DateTime;
use jiff_core::tz::{AmbiguousOffset, AmbiguousTimestamp, Offset, Transition, posix, tzif};

/// How the clocks of a place go.
#[derive(Clone, Debug)]
pub enum Zone {
    /// By a rule that holds for ever.
    Rule(posix::TimeZone),
    /// As a table says.
    Table(tzif::TimeZone),
}

impl Zone {
    /// A rule of POSIX, or a table of TZif.
    pub fn read(clocks: &[u8]) -> Option<Self> {
        if clocks.starts_with(b"TZif") {
            return tzif::TimeZone::parse(clocks).ok().map(Self::Table);
        }
        posix::TimeZone::parse(clocks).ok().map(Self::Rule)
    }

    /// When clocks first show this, or where they skip it the instant they do.
    pub fn first_instant(&self, shown: DateTime) -> Timestamp {
        let when = self.when(shown);
        let offset = when.offset();
        // Of two the first, and of none that which clocks would have shown had they not been changed.
        let instant = when.compatible().unwrap_or(Timestamp::MAX);
        let changed = match offset {
            AmbiguousOffset::Gap { .. } => self.changed_at_or_before(instant),
            _ => None,
        };
        changed.unwrap_or(instant)
    }

    fn changed_at_or_before(&self, instant: Timestamp) -> Option<Timestamp> {
        // Clocks change at whole seconds.
        let after = instant.checked_add_seconds(1).ok()?;
        self.last_change_before(after).map(|change| change.timestamp())
    }

    /// How far clocks are from UTC at an instant.
    pub fn offset(&self, at: Timestamp) -> Offset {
        match self {
            Self::Rule(rule) => rule.to_offset(at),
            Self::Table(table) => table.to_offset(at),
        }
    }

    /// When clocks show this: once, never, or twice.
    fn when(&self, shown: DateTime) -> AmbiguousTimestamp {
        match self {
            Self::Rule(rule) => rule.to_ambiguous_timestamp(shown),
            Self::Table(table) => table.to_ambiguous_timestamp(shown),
        }
    }

    /// When clocks were changed last.
    pub fn last_change_before(&self, at: Timestamp) -> Option<Transition> {
        match self {
            Self::Rule(rule) => rule.previous_transition(at),
            Self::Table(table) => table.previous_transition(at),
        }
    }
}
