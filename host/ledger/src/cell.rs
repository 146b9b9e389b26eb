//! A cell under whichever rule it has: what a store keeps under a name.
//!
//! `&mut self` spells `(cell, operation, now) -> (cell, answer)`. A store loads a cell (or makes a new one), asks
//! `fit` for every claim, and only if all fit lets each cell `take`. A question changes nothing but what `follow`
//! does, so a store keeps cells only when something is held, moved or settled. It never decides anything itself.

use std::sync::Arc;

use crate::budget::Budget;
use crate::slots::Slots;
use crate::window::{Mark, Window};
use crate::{Fit, MOST_UNITS, Rule, Standing};

/// How long a budget is kept after its period, in milliseconds: no exchange lasts longer.
pub const BUDGET_STAYS_MS: u64 = 86_400_000;

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

    /// Believes a clock that went back far, so that what was counted ages from there. Comes before every question;
    /// true, very seldom: the cell has changed.
    pub fn follow(&mut self, now: u64) -> bool {
        match self {
            Self::Window(window) => window.follow(now),
            Self::Budget(_) | Self::Slots(_) => false,
        }
    }

    /// Whether `amount` more units keep to the limit. To a claim of another kind of rule the cell is a new one.
    #[must_use]
    pub fn fit(&self, rule: Rule, amount: u64, now: u64) -> Fit {
        let limit = rule.limit();
        match (self, rule) {
            (Self::Window(window), Rule::Window { period_ms, .. }) => {
                window.seen(period_ms, now).fit(limit, amount, now)
            }
            (Self::Budget(budget), Rule::Budget { end_ms, .. }) => budget.fit(limit, amount, end_ms, now),
            (Self::Slots(slots), Rule::Slots { .. }) => slots.fit(limit, amount, now),
            _ => Self::new(rule).fit(rule, amount, now),
        }
    }

    /// Counts units that fit, for a hold whose lease ends at `until_ms`. The mark is kept with the hold, for its
    /// settlement.
    pub fn take(&mut self, rule: Rule, amount: u64, hold: &Arc<str>, until_ms: u64, now: u64) -> Mark {
        match (&mut *self, rule) {
            (Self::Window(window), Rule::Window { period_ms, .. }) => {
                window.observe(period_ms, now);
                return window.take(amount);
            }
            (Self::Budget(budget), Rule::Budget { end_ms, .. }) => {
                budget.observe(end_ms);
                budget.take(amount);
            }
            (Self::Slots(slots), Rule::Slots { .. }) => {
                slots.observe(now);
                slots.take(amount, hold, until_ms);
            }
            _ => {
                *self = Self::new(rule);
                return self.take(rule, amount, hold, until_ms, now);
            }
        }
        Mark::default()
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

    /// Whether units held at these marks are forgotten together.
    #[must_use]
    pub fn together(&self, one: Mark, other: Mark) -> bool {
        match self {
            Self::Window(window) => window.together(one, other),
            Self::Budget(_) | Self::Slots(_) => true,
        }
    }

    /// What is left of the limit. To a claim of another kind of rule the cell is a new one.
    #[must_use]
    pub fn standing(&self, rule: Rule, now: u64) -> Standing {
        let limit = rule.limit();
        match (self, rule) {
            (Self::Window(window), Rule::Window { period_ms, .. }) => {
                window.seen(period_ms, now).standing(limit, now)
            }
            (Self::Budget(budget), Rule::Budget { end_ms, .. }) => budget.standing(limit, end_ms, now),
            (Self::Slots(slots), Rule::Slots { .. }) => slots.standing(limit, now),
            _ => Self::new(rule).standing(rule, now),
        }
    }

    /// Units settled and held.
    #[must_use]
    pub fn used(&self, now: u64) -> u64 {
        match self {
            Self::Window(window) => window.used(now),
            Self::Budget(budget) => budget.used(),
            Self::Slots(slots) => slots.used(now),
        }
    }

    /// Whether what was held at `mark` is still among them.
    #[must_use]
    pub fn counts(&self, mark: Mark, now: u64) -> bool {
        match self {
            Self::Window(window) => window.counts(mark, now),
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

    /// Whether nothing in the cell counts at `now`, so that it may be dropped. A budget stays for a day after its
    /// period: holds that were made in it may still be open, and raised. When it was dropped it must not be begun
    /// again: see [`Cell::closed`].
    #[must_use]
    pub fn is_over(&self, now: u64) -> bool {
        match self {
            Self::Budget(budget) => budget.end_ms().saturating_add(BUDGET_STAYS_MS) <= now,
            Self::Window(_) | Self::Slots(_) => self.end_ms() <= now,
        }
    }

    /// What stands for a budget whose cell was dropped when its period had ended, should the clock go back into it:
    /// what was spent is not known any more, so nothing is granted.
    #[must_use]
    pub fn closed(end_ms: u64) -> Self {
        Self::Budget(Budget::new(MOST_UNITS, end_ms))
    }
}
