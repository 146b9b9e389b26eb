//! A cell under whichever rule it has: what a store keeps under a name.
//!
//! `&mut self` spells `(cell, operation, now) -> (cell, answer)`. A store loads a cell (or makes a new one), calls
//! `observe`, asks `fit` for every claim, and only then lets each cell `take`. It never decides anything itself.

use std::sync::Arc;

use crate::budget::Budget;
use crate::slots::Slots;
use crate::window::{Mark, Window};
use crate::{Fit, Rule, Standing};

/// The units one name has settled and holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// Under [`Rule::Window`].
    Window(Window),
    /// Under [`Rule::Budget`].
    Budget(Budget),
    /// Under [`Rule::Slots`].
    Slots(Slots),
}

impl Cell {
    /// An empty cell for this rule.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        match rule {
            Rule::Window { .. } => Self::Window(Window::default()),
            Rule::Budget { .. } => Self::Budget(Budget::default()),
            Rule::Slots { .. } => Self::Slots(Slots::default()),
        }
    }

    /// Shows the cell the rule of a claim and the time. A cell of another kind of rule begins anew.
    pub fn observe(&mut self, rule: Rule, now: u64) {
        match (self, rule) {
            (Self::Window(window), Rule::Window { period_ms, .. }) => window.observe(period_ms, now),
            (Self::Budget(budget), Rule::Budget { end_ms, .. }) => budget.observe(end_ms),
            (Self::Slots(slots), Rule::Slots { .. }) => slots.observe(now),
            (other, _) => {
                *other = Self::new(rule);
                other.observe(rule, now);
            }
        }
    }

    /// Whether `amount` more units keep to `limit`.
    #[must_use]
    pub fn fit(&self, limit: u64, amount: u64, now: u64) -> Fit {
        match self {
            Self::Window(window) => window.fit(limit, amount, now),
            Self::Budget(budget) => budget.fit(limit, amount, now),
            Self::Slots(slots) => slots.fit(limit, amount, now),
        }
    }

    /// Counts units that fit, for a hold whose lease ends at `until_ms`. The mark is kept with the hold, for its
    /// settlement.
    pub fn take(&mut self, amount: u64, hold: &Arc<str>, until_ms: u64) -> Mark {
        match self {
            Self::Window(window) => window.take(amount),
            Self::Budget(budget) => {
                budget.take(amount);
                Mark::default()
            }
            Self::Slots(slots) => {
                slots.take(amount, hold, until_ms);
                Mark::default()
            }
        }
    }

    /// Moves the end of a hold's lease. True: the cell has changed.
    pub fn renew(&mut self, hold: &str, until_ms: u64) -> bool {
        match self {
            Self::Slots(slots) => {
                slots.renew(hold, until_ms);
                true
            }
            // What they count does not depend on the lease.
            Self::Window(_) | Self::Budget(_) => false,
        }
    }

    /// Replaces what a hold held by the real amount.
    pub fn correct(&mut self, mark: Mark, hold: &str, held: u64, real: u64) {
        match self {
            Self::Window(window) => window.correct(mark, held, real),
            Self::Budget(budget) => budget.correct(held, real),
            Self::Slots(slots) => slots.free(hold),
        }
    }

    /// What is left of `limit`.
    #[must_use]
    pub fn standing(&self, limit: u64, now: u64) -> Standing {
        match self {
            Self::Window(window) => window.standing(limit, now),
            Self::Budget(budget) => budget.standing(limit, now),
            Self::Slots(slots) => slots.standing(limit, now),
        }
    }

    /// Units settled and held.
    #[must_use]
    pub fn used(&self) -> u64 {
        match self {
            Self::Window(window) => window.used(),
            Self::Budget(budget) => budget.used(),
            Self::Slots(slots) => slots.used(),
        }
    }

    /// Whether what was held at `mark` is still among them.
    #[must_use]
    pub fn counts(&self, mark: Mark) -> bool {
        match self {
            Self::Window(window) => window.counts(mark),
            Self::Budget(_) | Self::Slots(_) => true,
        }
    }

    /// From when on nothing in the cell counts: milliseconds since the epoch.
    #[must_use]
    pub fn end_ms(&self) -> u64 {
        match self {
            Self::Window(window) => window.end_ms(),
            Self::Budget(budget) => budget.end_ms(),
            Self::Slots(slots) => slots.end_ms(),
        }
    }

    /// Whether nothing in the cell counts at `now`, so that it may be dropped. A budget that was dropped must not be
    /// begun again: see [`Cell::closed`].
    #[must_use]
    pub fn is_over(&self, now: u64) -> bool {
        self.end_ms() <= now
    }

    /// What stands for a budget whose cell was dropped when its period had ended, should the clock go back into it:
    /// what was spent is not known any more, so nothing is granted.
    #[must_use]
    pub fn closed(end_ms: u64) -> Self {
        let mut budget = Budget::default();
        budget.observe(end_ms);
        budget.take(u64::MAX);
        Self::Budget(budget)
    }

    /// The same cell as `now` finds it.
    #[must_use]
    pub fn seen(&self, now: u64) -> Self {
        let mut cell = self.clone();
        match &mut cell {
            Self::Window(window) => window.observe(window.period_ms(), now),
            Self::Slots(slots) => slots.observe(now),
            Self::Budget(_) => {}
        }
        cell
    }
}
