//! What an open hold holds in one cell, and when it was taken. A reservation takes once; each time the hold is raised
//! it takes again, and a window counts from then. Decides nothing but how a real amount is laid on what was taken.

use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::cell::Cell;
use crate::window::Mark;

/// What a hold holds in one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The cell.
    pub cell: Arc<str>,
    /// The oldest first. Nearly always one.
    takes: SmallVec<[Take; 1]>,
}

/// Units that were taken at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// Units.
    pub amount: u64,
    /// Where a window counted them.
    pub mark: Mark,
}

impl Part {
    /// What was taken in the cell, the oldest first.
    pub fn new(cell: Arc<str>, takes: impl IntoIterator<Item = Take>) -> Self {
        Self { cell, takes: takes.into_iter().collect() }
    }

    /// What was taken, the oldest first.
    #[must_use]
    pub fn takes(&self) -> &[Take] {
        &self.takes
    }

    /// Units held: all that was taken.
    #[must_use]
    pub fn amount(&self) -> u64 {
        self.takes.iter().fold(0, |sum, take| sum.saturating_add(take.amount))
    }

    /// Adds what was taken now. Takes that the cell forgets together become one, so there are never more than a
    /// window has buckets, and one for all that has passed.
    pub(crate) fn add(&mut self, take: Take, cell: &Cell) {
        let mut takes: SmallVec<[Take; 1]> = SmallVec::new();
        for take in self.takes.drain(..).chain([take]) {
            match takes.last_mut() {
                Some(last) if cell.together(last.mark, take.mark) => {
                    last.amount = last.amount.saturating_add(take.amount);
                    last.mark = take.mark;
                }
                _ => takes.push(take),
            }
        }
        self.takes = takes;
    }

    /// Replaces what is held in the cell by the real amount. It was used in the order in which it was taken, so what
    /// is given back was taken last; what exceeds the hold counts there too.
    pub(crate) fn settle(&self, cell: &mut Cell, hold: &str, real: u64) {
        let mut rest = real;
        let last = self.takes.len().saturating_sub(1);
        for (index, take) in self.takes.iter().enumerate() {
            let used = if index == last { rest } else { rest.min(take.amount) };
            cell.correct(take.mark, hold, take.amount, used);
            rest = rest.saturating_sub(used);
        }
    }
}

/// As stores keep it: a list of the cell, and of three numbers for each time it took: units, time and moves.
impl Serialize for Part {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(self.takes.len().saturating_mul(3).saturating_add(1)))?;
        list.serialize_element(&*self.cell)?;
        for Take { amount, mark } in &self.takes {
            list.serialize_element(amount)?;
            list.serialize_element(&mark.at_ms)?;
            list.serialize_element(&mark.moves)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let words = Vec::<Word>::deserialize(from)?;
        let part = || {
            let (Word::Cell(cell), numbers) = words.split_first()? else { return None };
            let (triples, rest) = numbers.as_chunks::<3>();
            let take = |triple: &[Word; 3]| match triple {
                [Word::Number(amount), Word::Number(at_ms), Word::Number(moves)] => {
                    let mark = Mark { at_ms: *at_ms, moves: u32::try_from(*moves).ok()? };
                    Some(Take { amount: *amount, mark })
                }
                _ => None,
            };
            let takes: Vec<Take> = triples.iter().map(take).collect::<Option<_>>()?;
            (rest.is_empty() && !takes.is_empty()).then(|| Self::new(cell.as_str().into(), takes))
        };
        part().ok_or_else(|| D::Error::custom("a part is a counter and three numbers for each time it took"))
    }
}

/// What the list of a part is made of.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Number(u64),
    Cell(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rule;

    const PERIOD: u64 = 30_000;

    fn raised(takes: &[(u64, u64)]) -> (Cell, Part) {
        let rule = Rule::Window { limit: 1_000, period_ms: PERIOD };
        let (mut cell, id) = (Cell::new(rule), Arc::from("one"));
        let mut part = Part::new("w".into(), []);
        for (now, amount) in takes {
            let mark = cell.take(rule, *amount, &id, u64::MAX, *now);
            part.add(Take { amount: *amount, mark }, &cell);
        }
        (cell, part)
    }

    #[test]
    fn what_is_forgotten_together_is_one_take() {
        let (_, part) = raised(&[(0, 5), (400, 6), (2_000, 7), (2_999, 8), (3_000, 9)]);
        assert_eq!(part.takes().iter().map(|take| take.amount).collect::<Vec<_>>(), [11, 15, 9]);
        assert_eq!(part.amount(), 35);
        let slices: Vec<_> = (0..350_000).step_by(700).map(|now| (now, 1)).collect();
        let (_, part) = raised(&slices);
        assert!(part.takes().len() <= 32, "{}", part.takes().len());
        assert_eq!(part.amount(), 500);
    }

    #[test]
    fn what_was_taken_last_is_given_back_first() {
        for (real, left) in [(20, "0:5 2:6 4:9"), (12, "0:5 2:6 4:1"), (11, "0:5 2:6"), (3, "0:3"), (0, "")] {
            let (mut cell, part) = raised(&[(0, 5), (2_000, 6), (4_000, 7)]);
            part.settle(&mut cell, "one", real);
            assert_eq!(cell.to_string(), format!("window 30000 4000 1 {left}").trim_end(), "{real}");
        }
    }
}
