//! The rule of slots: at most `limit` units held at once.
//!
//! Only holds count here. A unit is free again when its hold is settled, whatever it cost, or when its lease has
//! passed. A cell remembers one lease for each hold it has, so at most `limit` of them.

use std::sync::Arc;

use crate::{Fit, Standing};

/// What a slots cell remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slots {
    leases: Vec<Lease>,
}

/// The units of one hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub hold: Arc<str>,
    pub until_ms: u64,
    pub units: u64,
}

impl Slots {
    pub(crate) fn new(leases: Vec<Lease>) -> Self {
        Self { leases }
    }

    pub(crate) fn leases(&self) -> &[Lease] {
        &self.leases
    }

    /// Forgets leases that have passed. Comes before [`Slots::take`].
    pub fn observe(&mut self, now: u64) {
        self.leases.retain(|lease| lease.until_ms > now);
    }

    /// no phantom refusal: a hold blocks no longer than its lease.
    fn counted(&self, now: u64) -> impl Iterator<Item = &Lease> {
        self.leases.iter().filter(move |lease| lease.until_ms > now)
    }

    /// Whether `amount` more units keep to `limit`, and else how long until they do if no hold ends before its lease.
    #[must_use]
    pub fn fit(&self, limit: u64, amount: u64, now: u64) -> Fit {
        if amount > limit {
            return Fit::Never;
        }
        let room = limit.saturating_sub(amount);
        let mut used = self.used(now);
        if used <= room {
            return Fit::Now;
        }
        let mut ends: Vec<(u64, u64)> =
            self.counted(now).map(|lease| (lease.until_ms, lease.units)).collect();
        ends.sort_unstable();
        for (until_ms, units) in ends {
            used = used.saturating_sub(units);
            if used <= room {
                return Fit::After(until_ms.saturating_sub(now));
            }
        }
        Fit::Never
    }

    /// Counts `amount` units until the hold is settled or its lease has passed. The caller has asked [`Slots::fit`].
    pub fn take(&mut self, amount: u64, hold: &Arc<str>, until_ms: u64) {
        if amount > 0 {
            self.leases.push(Lease { hold: Arc::clone(hold), until_ms, units: amount });
        }
    }

    /// Moves the end of a hold's lease.
    pub fn renew(&mut self, hold: &str, until_ms: u64) {
        self.leases
            .iter_mut()
            .filter(|lease| *lease.hold == *hold)
            .for_each(|lease| lease.until_ms = until_ms);
    }

    /// Frees a hold's units.
    pub fn free(&mut self, hold: &str) {
        self.leases.retain(|lease| *lease.hold != *hold);
    }

    /// What is left of `limit`.
    #[must_use]
    pub fn standing(&self, limit: u64, now: u64) -> Standing {
        let last = self.counted(now).map(|lease| lease.until_ms).max();
        Standing {
            remaining: limit.saturating_sub(self.used(now)),
            reset_ms: last.map_or(0, |until_ms| until_ms.saturating_sub(now)),
        }
    }

    /// Units held.
    #[must_use]
    pub fn used(&self, now: u64) -> u64 {
        self.counted(now).fold(0, |sum, lease| sum.saturating_add(lease.units))
    }

    /// From when on nothing counts: milliseconds since the epoch.
    #[must_use]
    pub fn end_ms(&self) -> u64 {
        self.leases.iter().map(|lease| lease.until_ms).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_after_settlement_or_lease() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut slots = Slots::default();
        slots.take(1, &a, 100);
        slots.take(1, &b, 300);
        assert_eq!(slots.fit(2, 1, 0), Fit::After(100));
        assert_eq!(slots.fit(2, 2, 0), Fit::After(300));
        assert_eq!(slots.fit(2, 3, 0), Fit::Never);
        assert_eq!(slots.standing(2, 50), Standing { remaining: 0, reset_ms: 250 });
        slots.renew("a", 200);
        assert_eq!(slots.used(199), 2);
        slots.observe(200);
        assert_eq!(slots.fit(2, 1, 200), Fit::Now);
        slots.free("b");
        assert_eq!((slots.used(0), slots.end_ms()), (0, 0));
    }

    #[test]
    fn a_lower_limit_waits_for_enough_of_them() {
        let mut slots = Slots::default();
        for (hold, until) in [("a", 30), ("b", 10), ("c", 20)] {
            slots.take(1, &Arc::from(hold), until);
        }
        assert_eq!(slots.fit(1, 1, 0), Fit::After(30));
        assert_eq!(slots.fit(2, 1, 0), Fit::After(20));
    }
}
