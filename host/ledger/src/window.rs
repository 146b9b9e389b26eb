//! The rule of a window: never more than `limit` units in any trailing period.
//!
//! Units are counted in buckets a thirtieth of the period wide, and a bucket counts until the last moment it could
//! stand for is a whole period ago. So a unit is never forgotten early, and at most a thirtieth of the period late,
//! and a cell remembers at most 31 buckets whatever passes through it. Only buckets that hold units take room.
//!
//! Time is the latest `now` the cell was shown. A clock that goes back by up to a period stands still for the cell
//! until it catches up; one that goes back further is believed, and what was counted then ages from there. Neither
//! admits early. A clock that jumps ahead is believed.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::{Fit, MOST_UNITS, Standing};

/// Buckets per period.
const BUCKETS: u64 = 30;

/// What a window cell remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Window {
    period_ms: u64,
    latest_ms: u64,
    /// How often buckets were moved: a mark made before no longer says where its units are.
    moves: u32,
    /// In ascending order, none empty. Most windows are seldom used: the first needs no room of its own.
    buckets: SmallVec<[Bucket; 1]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Bucket {
    /// It stands for the moments from `index * width` up to the next bucket's first.
    index: u64,
    units: u64,
}

/// Where a window counted a hold, for its settlement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mark {
    /// When: milliseconds since the epoch.
    pub at_ms: u64,
    /// How often the window's buckets had been moved by then.
    pub moves: u32,
}

impl Window {
    /// A window with index and units of each bucket. None: they do not ascend, or one is empty.
    pub(crate) fn restored(
        period_ms: u64,
        latest_ms: u64,
        moves: u32,
        buckets: Vec<(u64, u64)>,
    ) -> Option<Self> {
        let sound = buckets.is_sorted_by(|(before, _), (index, _)| before < index)
            && buckets.iter().all(|(_, units)| *units > 0);
        let buckets = buckets.into_iter().map(|(index, units)| Bucket { index, units }).collect();
        sound.then_some(Self { period_ms, latest_ms, moves, buckets })
    }

    pub(crate) fn latest_ms(&self) -> u64 {
        self.latest_ms
    }

    pub(crate) fn moves(&self) -> u32 {
        self.moves
    }

    /// Index and units of each bucket.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.buckets.iter().map(|bucket| (bucket.index, bucket.units))
    }

    /// The window as a claim of this period finds it: itself, unless the period moves its buckets.
    #[must_use]
    pub fn seen(&self, period_ms: u64, now: u64) -> Cow<'_, Self> {
        if period_ms.max(1) == self.period_ms {
            return Cow::Borrowed(self);
        }
        let mut seen = self.clone();
        seen.observe(period_ms, now);
        Cow::Owned(seen)
    }

    /// Believes a clock that went back by more than a period. Comes before every question, or a full window would
    /// never age. True: its buckets were moved.
    pub fn follow(&mut self, now: u64) -> bool {
        let is_back = now.saturating_add(self.period_ms) < self.latest_ms;
        if is_back {
            self.go_back(now);
        }
        is_back
    }

    /// Shows the cell the time and the period of a claim, and forgets what has passed. Comes before
    /// [`Window::take`].
    pub fn observe(&mut self, period_ms: u64, now: u64) {
        let period_ms = period_ms.max(1);
        if period_ms != self.period_ms {
            self.change_period(period_ms);
        }
        self.follow(now);
        self.latest_ms = self.latest_ms.max(now);
        let passed = self.buckets.iter().take_while(|b| self.expiry(b.index) <= self.latest_ms).count();
        if passed > 0 {
            self.buckets.drain(..passed);
        }
    }

    /// Whether `amount` more units keep to `limit`, and else the true wait from `now` until they do if nothing else
    /// happens.
    #[must_use]
    pub fn fit(&self, limit: u64, amount: u64, now: u64) -> Fit {
        if amount > limit {
            return Fit::Never;
        }
        // What may stay counted for the amount to fit: the newest buckets, as long as they have room.
        let room = limit.saturating_sub(amount);
        let mut stays = 0_u64;
        for bucket in self.counted(now) {
            stays = stays.saturating_add(bucket.units);
            if stays > room {
                return Fit::After(self.expiry(bucket.index).saturating_sub(now));
            }
        }
        Fit::Now
    }

    /// Counts `amount` units at the latest moment observed. The caller has asked [`Window::fit`].
    pub fn take(&mut self, amount: u64) -> Mark {
        self.count(self.bucket_of(self.latest_ms), amount);
        Mark { at_ms: self.latest_ms, moves: self.moves }
    }

    /// Replaces the `held` units counted at `mark` by the `real` amount, if they are still counted.
    pub fn correct(&mut self, mark: Mark, held: u64, real: u64) {
        let index = self.bucket_of(mark.at_ms);
        if self.expiry(index) <= self.latest_ms {
            return;
        }
        let moved = mark.moves != self.moves;
        if let Some(more) = real.checked_sub(held) {
            // Units that were moved may be in any bucket: the newest one forgets last.
            self.count(if moved { self.bucket_of(self.latest_ms) } else { index }, more);
        } else if !moved {
            // never over-admit: units are given back only to the very bucket they were counted in.
            self.give_back(index, held.saturating_sub(real));
        }
    }

    /// What is left of `limit`.
    #[must_use]
    pub fn standing(&self, limit: u64, now: u64) -> Standing {
        let newest = self.counted(now).next();
        let reset_ms = newest.map_or(0, |bucket| self.expiry(bucket.index).saturating_sub(now));
        Standing { remaining: limit.saturating_sub(self.used(now)), reset_ms }
    }

    /// Units settled and held that the window still counts.
    #[must_use]
    pub fn used(&self, now: u64) -> u64 {
        self.counted(now).fold(0_u64, |sum, bucket| sum.saturating_add(bucket.units)).min(MOST_UNITS)
    }

    /// From when on nothing that was ever counted or claimed here counts: milliseconds since the epoch. The cell is
    /// then as good as a new one.
    #[must_use]
    pub fn end_ms(&self) -> u64 {
        self.expiry(self.bucket_of(self.latest_ms))
    }

    /// Whether units counted at `mark` are surely still counted.
    #[must_use]
    pub fn counts(&self, mark: Mark, now: u64) -> bool {
        mark.moves == self.moves && self.expiry(self.bucket_of(mark.at_ms)) > self.latest_ms.max(now)
    }

    /// Whether units counted at these marks are counted in one bucket, or both no more: they are forgotten together.
    #[must_use]
    pub fn together(&self, one: Mark, other: Mark) -> bool {
        let (a, b) = (self.bucket_of(one.at_ms), self.bucket_of(other.at_ms));
        let is_past = |index| self.expiry(index) <= self.latest_ms;
        one.moves == other.moves && (a == b || is_past(a) && is_past(b))
    }

    /// Milliseconds, as claimed last.
    #[must_use]
    pub const fn period_ms(&self) -> u64 {
        self.period_ms
    }

    fn width(&self) -> u64 {
        self.period_ms.div_ceil(BUCKETS).max(1)
    }

    fn bucket_of(&self, at_ms: u64) -> u64 {
        at_ms.checked_div(self.width()).unwrap_or(0)
    }

    /// The last moment the bucket stands for.
    fn last_moment(&self, index: u64) -> u64 {
        index.saturating_add(1).saturating_mul(self.width()).saturating_sub(1)
    }

    /// The first moment that no longer counts the bucket.
    fn expiry(&self, index: u64) -> u64 {
        self.last_moment(index).saturating_add(self.period_ms)
    }

    /// The buckets that count at `now`, the newest first.
    fn counted(&self, now: u64) -> impl Iterator<Item = &Bucket> {
        self.buckets.iter().rev().take_while(move |bucket| self.expiry(bucket.index) > now)
    }

    fn count(&mut self, index: u64, units: u64) {
        if units == 0 {
            return;
        }
        // Nearly always the last one, or past it.
        let place = self.buckets.iter().rposition(|bucket| bucket.index <= index);
        match place.and_then(|at| self.buckets.get_mut(at)) {
            Some(bucket) if bucket.index == index => {
                bucket.units = bucket.units.saturating_add(units).min(MOST_UNITS);
            }
            _ => {
                self.buckets.reserve_exact(1);
                self.buckets.insert(
                    place.map_or(0, |at| at.saturating_add(1)),
                    Bucket { index, units: units.min(MOST_UNITS) },
                );
            }
        }
    }

    fn give_back(&mut self, index: u64, units: u64) {
        if let Ok(at) = self.buckets.binary_search_by_key(&index, |bucket| bucket.index)
            && let Some(bucket) = self.buckets.get_mut(at)
        {
            bucket.units = bucket.units.saturating_sub(units);
            if bucket.units == 0 {
                self.buckets.remove(at);
            }
        }
    }

    /// Counts on with buckets of another width. Each bucket goes where its last moment is: never early.
    fn change_period(&mut self, period_ms: u64) {
        let moments: Vec<(u64, u64)> =
            self.buckets.iter().map(|b| (self.last_moment(b.index).min(self.latest_ms), b.units)).collect();
        self.period_ms = period_ms;
        self.moves = self.moves.wrapping_add(1);
        self.buckets.clear();
        for (moment, units) in moments {
            self.count(self.bucket_of(moment), units);
        }
    }

    /// Moves the buckets with the clock: every bucket keeps at least its distance to the latest moment.
    fn go_back(&mut self, now: u64) {
        let distance = self.latest_ms.saturating_sub(now).checked_div(self.width()).unwrap_or(0);
        let newest = self.bucket_of(now);
        let buckets = std::mem::take(&mut self.buckets);
        self.latest_ms = now;
        self.moves = self.moves.wrapping_add(1);
        for bucket in buckets {
            self.count(bucket.index.saturating_sub(distance).min(newest), bucket.units);
        }
    }
}

#[cfg(test)]
mod tests;
