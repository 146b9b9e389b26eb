//! What a gateway may grant by itself while Redis is down: a share of each window and of the slots, never a budget.
//!
//! The share is kept in memory by the same rules ([`tollgate_ledger::share`]). Exchanges that began here end here, whatever
//! Redis does meanwhile; their rows wait until they are taken.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_ledger::{
    Books, Charge, Claim, Entry, Event, Hold, Journal, Position, Raise, Reservation, Rule, Settled, Standing,
    Unavailable, share,
};

use tollgate_scripts::is_plain;

use crate::known::Added;

/// The local books.
pub struct Share {
    books: Books<Local>,
    percent: u64,
}

/// Which holds are open here, and the rows of those that were closed.
#[derive(Default)]
struct Local(Mutex<State>);

#[derive(Default)]
struct State {
    open: HashSet<String>,
    rows: Vec<Arc<Entry>>,
}

impl Local {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Local {
    const KEEPS_CELLS: bool = false;

    fn note(&self, event: Event<'_>) -> Position {
        match event {
            Event::Reserved { entry, .. } => {
                self.state().open.insert(entry.request_id.clone());
            }
            Event::Closed { entry, .. } => {
                let mut state = self.state();
                // An addition to a hold in Redis has no row of its own.
                state.open.remove(&entry.request_id);
                if is_plain(&entry.request_id) {
                    state.rows.push(Arc::clone(entry));
                }
            }
            Event::Renewed { .. } | Event::Raised { .. } => {}
        }
        Position::default()
    }

    fn position(&self) -> Position {
        Position::default()
    }
}

impl Share {
    /// A share of so many percent of each limit.
    pub fn new(percent: u8) -> Self {
        Self { books: Books::new(Local::default()), percent: u64::from(percent) }
    }

    /// Whether a hold is open here.
    pub fn has(&self, hold: &str) -> bool {
        self.books.journal().state().open.contains(hold)
    }

    /// Holds every claim of an exchange that no budget limits. `down` says why Redis is not asked.
    pub fn reserve(&self, hold: Hold<'_>, down: Unavailable, now: u64) -> Result<Reservation, Unavailable> {
        let Some(claims) = self.scaled(hold.claims) else { return Err(down) };
        let answer = self.books.reserve(Hold { claims: &claims, ..hold }, now);
        if let Reservation::Limited { claim, retry_after_ms: None, .. } = answer
            && hold.claims.get(claim).is_some_and(|claim| claim.amount <= claim.rule.limit())
        {
            // It fits its limit, only not this share of it: to wait helps, to ask for less is not called for.
            return Err(down);
        }
        Ok(answer)
    }

    /// Raises a hold that is open here.
    pub fn raise(&self, hold: Hold<'_>, down: Unavailable, now: u64) -> Result<Raise, Unavailable> {
        let Some(claims) = self.scaled(hold.claims) else { return Err(down) };
        match self.books.raise(Hold { claims: &claims, ..hold }, now) {
            // It may fit its limit, only not this share of it.
            Raise::Limited { retry_after_ms: None, .. } => Err(down),
            answer => Ok(answer),
        }
    }

    /// Holds what a hold in Redis is to hold more than it holds there, as an addition of its own. Slots stay as they
    /// are.
    pub fn add(&self, hold: Hold<'_>, to: &Added, down: Unavailable, now: u64) -> Result<Raise, Unavailable> {
        let mut claims = hold.claims.to_vec();
        for (index, claim) in claims.iter_mut().enumerate() {
            let below = to.below.get(index).copied().unwrap_or(0);
            let is_slots = matches!(claim.rule, Rule::Slots { .. });
            claim.amount = if is_slots { 0 } else { claim.amount.saturating_sub(below) };
        }
        let entry = &addition(hold.entry, to);
        let hold = Hold { entry, claims: &claims, ..hold };
        if self.has(&to.name) {
            return self.raise(hold, down, now);
        }
        Ok(match self.reserve(hold, down, now)? {
            Reservation::Granted { standings, position } => Raise::Granted { standings, position },
            Reservation::Limited { claim, retry_after_ms, standings } => {
                Raise::Limited { claim, retry_after_ms, standings }
            }
        })
    }

    /// Settles an addition: a hold in Redis is charged the rest.
    pub fn settle_added(&self, entry: &Entry, added: &Added, charge: Charge<'_>, now: u64) {
        let amounts = added.share_of(charge);
        // One whose lease has passed stays charged as held.
        let _: Settled = self.books.settle(&addition(entry, added), Charge::Amounts(&amounts), now);
    }

    /// What is left for each claim of an exchange that no budget limits.
    pub fn standings(
        &self,
        claims: &[Claim],
        down: Unavailable,
        now: u64,
    ) -> Result<Vec<Standing>, Unavailable> {
        self.scaled(claims).map(|claims| self.books.standings(&claims, now)).ok_or(down)
    }

    /// Moves the lease of a hold that is open here.
    pub fn renew(&self, hold: &str, lease_ms: u64, now: u64) -> bool {
        self.books.renew(hold, lease_ms, now)
    }

    /// Settles a hold that was made here; `Unknown` for every other.
    pub fn settle(&self, entry: &Arc<Entry>, charge: Charge<'_>, now: u64) -> Settled {
        self.books.settle(entry, charge, now)
    }

    /// Closes holds whose lease has passed.
    pub fn expire(&self, now: u64) -> usize {
        self.books.expire(now)
    }

    /// Hands over the rows of closed holds.
    pub fn take_rows(&self) -> Vec<Arc<Entry>> {
        std::mem::take(&mut self.books.journal().state().rows)
    }

    /// Takes rows back that found no place.
    pub fn return_rows(&self, rows: Vec<Arc<Entry>>) {
        self.books.journal().state().rows.extend(rows);
    }

    /// The claims with the limits of this share. None: a budget is among them.
    fn scaled(&self, claims: &[Claim]) -> Option<Vec<Claim>> {
        share::scaled(claims, self.percent)
    }
}

/// The row by which the books know an addition.
fn addition(entry: &Entry, added: &Added) -> Arc<Entry> {
    Arc::new(Entry { request_id: added.name.clone(), ..entry.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(limit: u64, amount: u64) -> Claim {
        Claim { cell: "w".into(), rule: Rule::Window { limit, period_ms: 60_000 }, amount }
    }

    fn reserve(share: &Share, id: &str, claims: &[Claim]) -> Result<Reservation, Unavailable> {
        let entry = Arc::new(Entry { request_id: id.to_owned(), ..Entry::default() });
        share.reserve(Hold { entry: &entry, claims, lease_ms: 1_000 }, Unavailable::new("down"), 5)
    }

    #[test]
    fn a_share_is_a_part_of_the_limit_and_at_least_one() {
        for (limit, percent, granted) in [(100, 25, 25), (10, 25, 2), (3, 25, 1), (1, 1, 1), (0, 100, 0)] {
            let share = Share::new(percent);
            let grants = (0..200).filter(|number| {
                matches!(
                    reserve(&share, &number.to_string(), &[window(limit, 1)]),
                    Ok(Reservation::Granted { .. })
                )
            });
            assert_eq!(grants.count(), granted, "{percent} percent of {limit}");
        }
    }

    #[test]
    fn a_budget_is_never_granted_and_what_fits_the_whole_is_not_called_too_large() {
        let share = Share::new(25);
        let budget = Rule::Budget { limit: 100, start_ms: 0, end_ms: 1_000 };
        let claims = [window(100, 1), Claim { cell: "b".into(), rule: budget, amount: 1 }];
        assert!(reserve(&share, "one", &claims).is_err());
        assert!(reserve(&share, "two", &[window(100, 26)]).is_err());
        let never = reserve(&share, "three", &[window(100, 101)]);
        assert!(matches!(never, Ok(Reservation::Limited { retry_after_ms: None, .. })));
    }

    #[test]
    fn rows_of_closed_holds_are_handed_over_once() {
        let share = Share::new(100);
        for id in ["settled", "lost"] {
            reserve(&share, id, &[window(100, 1)]).unwrap();
        }
        let entry = Arc::new(Entry { request_id: "settled".to_owned(), status: 200, ..Entry::default() });
        assert_eq!(share.settle(&entry, Charge::Held, 6), Settled::Done);
        assert!(share.has("lost") && !share.has("settled"));
        assert_eq!(share.expire(5_000), 1);
        let rows = share.take_rows();
        let rows: Vec<_> = rows.iter().map(|row| (row.request_id.as_str(), row.status)).collect();
        assert_eq!(rows, [("settled", 200), ("lost", 0)]);
        assert!(share.take_rows().is_empty() && !share.has("lost"));
    }
}
