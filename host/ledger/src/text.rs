//! Cells and breakers as one line of text: what stores keep, and what a person reads there.
//!
//! ```text
//! window <period ms> <latest ms> <moves> <bucket>:<units> <bucket>:<units> ..
//! budget <end ms> <used>
//! slots <until ms>:<units>:<hold> ..
//! closed <generation> <failures>
//! open <generation> <until ms>
//! probing <generation> <until ms>
//! ```
//!
//! The buckets of a window are in ascending order and none is empty. Every number is a decimal integer.

use std::fmt;
use std::str::FromStr;

use crate::breaker::{Breaker, State};
use crate::budget::Budget;
use crate::cell::Cell;
use crate::slots::{Lease, Slots};
use crate::window::Window;

/// A line that is none of a cell's, or of a breaker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAState;

impl fmt::Display for NotAState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a state as the ledger writes it")
    }
}

impl std::error::Error for NotAState {}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window(window) => {
                write!(f, "window {} {} {}", window.period_ms(), window.latest_ms(), window.moves())?;
                window.buckets().try_for_each(|(index, units)| write!(f, " {index}:{units}"))
            }
            Self::Budget(budget) => write!(f, "budget {} {}", budget.end_ms(), budget.used()),
            Self::Slots(slots) => {
                f.write_str("slots")?;
                let mut leases = slots.leases().iter();
                leases.try_for_each(|lease| write!(f, " {}:{}:{}", lease.until_ms, lease.units, lease.hold))
            }
        }
    }
}

impl FromStr for Cell {
    type Err = NotAState;

    fn from_str(text: &str) -> Result<Self, NotAState> {
        let mut words = text.split(' ');
        match words.next() {
            Some("window") => {
                let (period_ms, latest_ms) = (number(words.next())?, number(words.next())?);
                let moves = number(words.next())?;
                let mut buckets: Vec<(u64, u64)> = Vec::new();
                for word in words {
                    let (index, units) = word.split_once(':').ok_or(NotAState)?;
                    buckets.push((number(Some(index))?, number(Some(units))?));
                }
                let window = Window::restored(period_ms, latest_ms, moves, buckets);
                window.map(Self::Window).ok_or(NotAState)
            }
            Some("budget") => {
                let (end_ms, used) = (number(words.next())?, number(words.next())?);
                end(words.next())?;
                Ok(Self::Budget(Budget::new(used, end_ms)))
            }
            Some("slots") => words.map(lease).collect::<Result<_, _>>().map(Slots::new).map(Self::Slots),
            _ => Err(NotAState),
        }
    }
}

fn lease(word: &str) -> Result<Lease, NotAState> {
    let mut parts = word.splitn(3, ':');
    let (until_ms, units) = (number(parts.next())?, number(parts.next())?);
    let hold = parts.next().filter(|hold| !hold.is_empty()).ok_or(NotAState)?;
    Ok(Lease { hold: hold.into(), until_ms, units })
}

impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = self.generation;
        match self.state {
            State::Closed { failures } => write!(f, "closed {generation} {failures}"),
            State::Open { until_ms } => write!(f, "open {generation} {until_ms}"),
            State::Probing { until_ms } => write!(f, "probing {generation} {until_ms}"),
        }
    }
}

impl FromStr for Breaker {
    type Err = NotAState;

    fn from_str(text: &str) -> Result<Self, NotAState> {
        let mut words = text.split(' ');
        let kind = words.next();
        let generation = number(words.next())?;
        let last = words.next();
        end(words.next())?;
        let state = match kind {
            Some("closed") => State::Closed { failures: number(last)? },
            Some("open") => State::Open { until_ms: number(last)? },
            Some("probing") => State::Probing { until_ms: number(last)? },
            _ => return Err(NotAState),
        };
        Ok(Self { generation, state })
    }
}

fn number<N: FromStr>(word: Option<&str>) -> Result<N, NotAState> {
    let word = word.filter(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()));
    word.and_then(|word| word.parse().ok()).ok_or(NotAState)
}

fn end(word: Option<&str>) -> Result<(), NotAState> {
    word.map_or(Ok(()), |_| Err(NotAState))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_they_are_written() {
        for line in [
            "window 60000 1700000000000 0",
            "window 60000 1700000000000 3 28333:5 28334:18446744073709551615",
            "budget 1796083200000 35000",
            "slots",
            "slots 100:1:req_1 200:3:req_2",
        ] {
            assert_eq!(line.parse::<Cell>().map(|cell| cell.to_string()), Ok(line.to_owned()));
        }
        for line in ["closed 0 2", "open 7 1700000000000", "probing 18446744073709551615 5"] {
            assert_eq!(line.parse::<Breaker>().map(|breaker| breaker.to_string()), Ok(line.to_owned()));
        }
    }

    #[test]
    fn what_is_not_a_state_is_refused() {
        for line in [
            "",
            "window",
            "window 1 2",
            "window 1 2 3 4",
            "window 1 2 3 5:1 5:1",
            "window 1 2 3 5:0",
            "window 1 2 3 ",
            "budget 1",
            "budget 1 -2",
            "budget 1 +2",
            "budget 1 2 3",
            "slots 1:2:",
            "slots x",
            "other",
        ] {
            assert_eq!(line.parse::<Cell>(), Err(NotAState), "{line}");
        }
        for line in ["", "closed 1", "closed 1 2 3", "open 1 x", "shut 1 2"] {
            assert_eq!(line.parse::<Breaker>(), Err(NotAState), "{line}");
        }
    }
}
