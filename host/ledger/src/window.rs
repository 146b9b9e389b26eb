//! The rule of a window: never more than `limit` units in any trailing period.
//!
//! Units are counted in buckets a thirtieth of the period wide, and a bucket counts until the last moment it could
//! stand for is a whole period ago. So a unit is never forgotten early, and at most a thirtieth of the period late,
//! and a cell remembers at most 31 buckets whatever passes through it. Only buckets that hold units take room.
//!
//! Time is the latest `now` the cell was shown. A clock that goes back by up to a period stands still for the cell
//! until it catches up; one that goes back further is believed, and what was counted then ages from there. Neither
//! admits early. A clock that jumps ahead is believed.

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
    /// In ascending order, none empty.
    buckets: Vec<Bucket>,
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
    pub(crate) fn new(period_ms: u64, latest_ms: u64, moves: u32, buckets: Vec<(u64, u64)>) -> Self {
        let buckets = buckets.into_iter().map(|(index, units)| Bucket { index, units }).collect();
        Self { period_ms, latest_ms, moves, buckets }
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

    /// Shows the cell the time and the period of the latest claim, and forgets what has passed. Comes before every
    /// other operation of a claim.
    pub fn observe(&mut self, period_ms: u64, now: u64) {
        let period_ms = period_ms.max(1);
        if period_ms != self.period_ms {
            self.change_period(period_ms);
        }
        if now.saturating_add(period_ms) < self.latest_ms {
            self.go_back(now);
        }
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
        for bucket in self.buckets.iter().rev() {
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
        let reset_ms = self.buckets.last().map_or(0, |bucket| self.expiry(bucket.index).saturating_sub(now));
        Standing { remaining: limit.saturating_sub(self.used()), reset_ms }
    }

    /// Units settled and held that the window still counts.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.buckets.iter().fold(0_u64, |sum, bucket| sum.saturating_add(bucket.units)).min(MOST_UNITS)
    }

    /// Whether nothing that was ever counted or claimed here counts at `now`: such a cell is as good as a new one.
    #[must_use]
    pub fn is_over(&self, now: u64) -> bool {
        self.expiry(self.bucket_of(self.latest_ms)) <= now
    }

    /// Whether units counted at `mark` are surely still counted.
    #[must_use]
    pub fn counts(&self, mark: Mark) -> bool {
        mark.moves == self.moves && self.expiry(self.bucket_of(mark.at_ms)) > self.latest_ms
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

    /// Believes a clock that went back: every bucket keeps at least its distance to the latest moment.
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
mod tests {
    use super::*;

    /// One minute: buckets of two seconds.
    const MINUTE: u64 = 60_000;

    fn at(now: u64, taken: &[(u64, u64)]) -> Window {
        let mut window = Window::default();
        for (moment, amount) in taken {
            window.observe(MINUTE, *moment);
            window.take(*amount);
        }
        window.observe(MINUTE, now);
        window
    }

    #[test]
    fn never_over_admit_until_a_whole_period_has_passed() {
        let start = 1_000_000;
        let taken = [(start, 10)];
        assert_eq!(at(start, &taken).fit(10, 1, start), Fit::After(61_999));
        assert_eq!(at(start + MINUTE - 1, &taken).fit(10, 1, start + MINUTE - 1), Fit::After(2_000));
        assert_eq!(at(start + 61_998, &taken).fit(10, 1, start + 61_998), Fit::After(1));
        assert_eq!(at(start + 61_999, &taken).fit(10, 10, start + 61_999), Fit::Now);
    }

    #[test]
    fn a_unit_is_forgotten_at_most_a_thirtieth_of_the_period_late() {
        for period in [1, 2, 29, 30, 31, 59, 61, 1_000, MINUTE, 86_400_000] {
            for moment in [0, 1, 12_345, 1_999, 2_000, 1_700_000_000_123] {
                let mut window = Window::default();
                window.observe(period, moment);
                window.take(1);
                let Fit::After(wait) = window.fit(1, 1, moment) else { panic!("{window:?} admits early") };
                assert!(wait >= period && wait - period <= period / 30, "{wait} for {period} at {moment}");
            }
        }
    }

    #[test]
    fn the_wait_ends_when_enough_has_passed_not_when_all_has() {
        let window = at(40_000, &[(0, 3), (10_000, 3), (20_000, 3)]);
        assert_eq!(window.fit(10, 1, 40_000), Fit::Now);
        assert_eq!(window.fit(10, 2, 40_000), Fit::After(61_999 - 40_000));
        assert_eq!(window.fit(10, 7, 40_000), Fit::After(71_999 - 40_000));
        assert_eq!(window.fit(10, 10, 40_000), Fit::After(81_999 - 40_000));
        assert_eq!(window.fit(10, 11, 40_000), Fit::Never);
    }

    #[test]
    fn at_most_31_buckets_are_remembered() {
        for period in [1, 7, 30, 31, 899, MINUTE] {
            let mut window = Window::default();
            for moment in 0..(period * 3).min(200_000) {
                window.observe(period, moment);
                window.take(1);
                assert!(window.buckets.len() <= 31, "{} for {period}", window.buckets.len());
            }
        }
    }

    #[test]
    fn a_settlement_gives_back_in_the_bucket_of_the_hold() {
        let mut window = at(0, &[]);
        let early = window.take(6);
        window.observe(MINUTE, 30_000);
        window.take(4);
        window.correct(early, 6, 1);
        assert_eq!(window.used(), 5);
        assert_eq!(window.fit(10, 5, 30_000), Fit::Now);
        assert_eq!(window.fit(10, 6, 30_000), Fit::After(31_999));
        assert_eq!(window.fit(10, 7, 30_000), Fit::After(61_999));
    }

    #[test]
    fn a_settlement_above_the_hold_counts_from_the_hold() {
        let mut window = at(0, &[]);
        let mark = window.take(1);
        window.observe(MINUTE, 30_000);
        window.correct(mark, 1, 21);
        assert_eq!(window.standing(10, 30_000), Standing { remaining: 0, reset_ms: 31_999 });
        window.observe(MINUTE, 61_999);
        assert_eq!(window.used(), 0);
    }

    #[test]
    fn a_settlement_after_the_period_changes_nothing() {
        let mut window = at(0, &[]);
        let mark = window.take(5);
        window.observe(MINUTE, 70_000);
        window.take(2);
        for real in [0, 5, 9] {
            window.correct(mark, 5, real);
            assert_eq!(window.used(), 2);
        }
    }

    #[test]
    fn a_clock_that_steps_back_within_a_period_stands_still() {
        let mut window = at(100_000, &[(100_000, 10)]);
        window.observe(MINUTE, 99_000);
        assert_eq!(window.fit(10, 1, 99_000), Fit::After(161_999 - 99_000));
        let mark = window.take(0);
        assert_eq!(mark.at_ms, 100_000);
    }

    #[test]
    fn a_clock_that_steps_back_further_is_believed_and_blocks_one_period() {
        for back in [0, 999, 1_000, 1_001, 55_555] {
            let mut window = at(10_000_000, &[(9_990_000, 4), (10_000_000, 6)]);
            window.observe(MINUTE, back);
            assert_eq!(window.used(), 10);
            let Fit::After(wait) = window.fit(10, 10, back) else { panic!("admits early") };
            assert!((MINUTE..MINUTE + 2_000).contains(&wait), "{wait}");
            let Fit::After(wait) = window.fit(10, 4, back) else { panic!("admits early") };
            assert!((MINUTE - 10_000..MINUTE + 2_000).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn a_hold_from_before_the_clock_went_back_is_not_given_back_elsewhere() {
        let mut window = at(10_000_000, &[]);
        let mark = window.take(6);
        window.observe(MINUTE, 1_000);
        window.correct(mark, 6, 0);
        assert_eq!(window.used(), 6);
        window.correct(mark, 6, 7);
        assert_eq!(window.used(), 7);
    }

    #[test]
    fn another_period_forgets_nothing_early() {
        for period in [1_000, 45_000, 90_000, 3_600_000] {
            let taken = [(1_000, 1), (25_000, 2), (59_000, 4)];
            let mut window = at(59_000, &taken);
            window.observe(period, 59_000);
            for now in 59_000..59_000 + 2 * period.min(200_000) {
                window.observe(period, now);
                let live = taken.iter().filter(|(moment, _)| moment + period > now).map(|(_, units)| units);
                assert!(window.used() >= live.sum(), "at {now} of {period}");
            }
        }
    }

    #[test]
    fn extreme_numbers_neither_wrap_nor_admit() {
        let mut window = Window::default();
        window.observe(u64::MAX, u64::MAX);
        window.take(u64::MAX);
        window.take(u64::MAX);
        assert_eq!(window.used(), MOST_UNITS);
        assert!(window.fit(MOST_UNITS, 1, u64::MAX) > Fit::Now);
        window.observe(0, 5);
        assert_eq!(window.period_ms(), 1);
    }

    #[test]
    fn a_cell_is_over_when_all_it_could_hold_has_passed() {
        let window = at(1_000, &[(1_000, 1)]);
        assert!(!window.is_over(61_998));
        assert!(window.is_over(61_999));
    }
}
