//! The rule of a budget: at most `limit` units between two instants of the calendar.
//!
//! The cell is one number: units settled and units held weigh the same. Nothing comes back before the period ends
//! except by settlement, so the wait is the rest of the period. Which period it is, is part of the cell's name; a
//! claim made in the last moment of a period counts in that period, whenever the store gets to it.

use crate::{Fit, MOST_UNITS, Standing};

/// What a budget cell remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    used: u64,
    end_ms: u64,
}

impl Budget {
    pub(crate) fn new(used: u64, end_ms: u64) -> Self {
        Self { used, end_ms }
    }

    /// Takes over the period of a claim. Comes before [`Budget::take`].
    pub fn observe(&mut self, end_ms: u64) {
        self.end_ms = end_ms;
    }

    /// Whether `amount` more units keep to `limit`.
    #[must_use]
    pub fn fit(&self, limit: u64, amount: u64, end_ms: u64, now: u64) -> Fit {
        if amount > limit {
            return Fit::Never;
        }
        // What may have been used for the amount to fit: no sum, so nothing can overflow.
        if self.used <= limit.saturating_sub(amount) {
            Fit::Now
        } else {
            Fit::After(end_ms.saturating_sub(now))
        }
    }

    /// Counts `amount` units. The caller has asked [`Budget::fit`].
    pub fn take(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount).min(MOST_UNITS);
    }

    /// Replaces `held` units by the `real` amount, which may be more.
    pub fn correct(&mut self, held: u64, real: u64) {
        self.used = self.used.saturating_sub(held).saturating_add(real).min(MOST_UNITS);
    }

    /// What is left of `limit`.
    #[must_use]
    pub fn standing(&self, limit: u64, end_ms: u64, now: u64) -> Standing {
        let reset_ms = if self.used == 0 { 0 } else { end_ms.saturating_sub(now) };
        Standing { remaining: limit.saturating_sub(self.used), reset_ms }
    }

    /// Units settled and held.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// When the period ends.
    #[must_use]
    pub const fn end_ms(&self) -> u64 {
        self.end_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u64 = 1_000;

    fn budget(used: u64) -> Budget {
        Budget { used, end_ms: END }
    }

    #[test]
    fn the_last_unit_fits_and_the_next_waits_for_the_end_of_the_period() {
        assert_eq!(budget(9).fit(10, 1, END, 0), Fit::Now);
        assert_eq!(budget(10).fit(10, 1, END, 400), Fit::After(600));
        assert_eq!(budget(10).fit(10, 0, END, 400), Fit::Now);
    }

    #[test]
    fn more_than_the_limit_never_fits() {
        assert_eq!(budget(0).fit(10, 11, END, 0), Fit::Never);
        assert_eq!(budget(0).fit(0, 1, END, 0), Fit::Never);
    }

    #[test]
    fn the_largest_sum_is_refused_not_wrapped() {
        assert_eq!(budget(MOST_UNITS).fit(MOST_UNITS, 1, END, 0), Fit::After(END));
        let mut full = budget(MOST_UNITS);
        full.correct(0, 5);
        full.take(u64::MAX);
        assert_eq!(full.used(), MOST_UNITS);
    }

    #[test]
    fn a_settlement_may_exceed_the_hold_and_the_limit() {
        let mut cell = budget(0);
        cell.take(10);
        cell.correct(10, 25);
        assert_eq!(cell.used(), 25);
        assert_eq!(cell.standing(10, END, 400), Standing { remaining: 0, reset_ms: 600 });
        assert_eq!(cell.fit(10, 1, END, 400), Fit::After(600));
    }

    #[test]
    fn a_settlement_below_the_hold_is_free_at_once() {
        let mut cell = budget(0);
        cell.take(10);
        cell.correct(10, 4);
        assert_eq!(cell.fit(10, 6, END, 1), Fit::Now);
    }

    #[test]
    fn a_lower_limit_applies_to_what_was_counted() {
        assert_eq!(budget(8).fit(5, 1, END, 400), Fit::After(600));
        assert_eq!(budget(8).standing(5, END, 400).remaining, 0);
        assert_eq!(budget(8).fit(20, 12, END, 400), Fit::Now);
    }
}
