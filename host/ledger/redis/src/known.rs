//! What this gateway knows of the holds it made in Redis: their cells, so that a settlement is one round trip, and
//! what they hold, so that the local share can add to it while Redis is down. What is not known is asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tollgate_ledger::{Charge, Claim};

/// The holds of this gateway, by id.
#[derive(Default)]
pub struct Known(Mutex<HashMap<String, Hold>>);

struct Hold {
    cells: Arc<[String]>,
    until: Instant,
    /// What Redis has granted of each claim, as far as an answer has come.
    held: Vec<u64>,
    /// How often Redis has raised it.
    raises: u64,
    /// What was added by the share since Redis raised it last.
    added: Option<Added>,
}

/// What the local share has added to a hold in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The name of the addition, in the share. No exchange has it.
    pub name: String,
    /// What Redis holds of each claim.
    pub below: Vec<u64>,
    /// What is held of each claim in all.
    pub total: Vec<u64>,
}

impl Known {
    /// Notes a hold before it is asked for. One that is repeated holds what it held.
    pub fn note(&self, id: &str, cells: Arc<[String]>, claims: &[Claim], lease_ms: u64) {
        let Some(until) = end_of(lease_ms) else { return };
        let mut holds = self.locked();
        if let Some(hold) = holds.get_mut(id).filter(|hold| hold.cells == cells) {
            hold.until = hold.until.max(until);
            return;
        }
        let held = claims.iter().map(|claim| claim.amount).collect();
        holds.insert(id.to_owned(), Hold { cells, until, held, raises: 0, added: None });
    }

    /// Redis has raised a hold to these claims. What the share had added to it ends with that.
    pub fn raised(&self, id: &str, claims: &[Claim], lease_ms: u64) -> Option<Added> {
        let mut holds = self.locked();
        let hold = holds.get_mut(id)?;
        for (held, claim) in hold.held.iter_mut().zip(claims) {
            *held = claim.amount.max(*held);
        }
        hold.raises = hold.raises.saturating_add(1);
        hold.until = end_of(lease_ms).map_or(hold.until, |until| until.max(hold.until));
        hold.added.take()
    }

    /// What the share has added to a hold, or would begin with.
    pub fn addition(&self, id: &str) -> Option<Added> {
        let holds = self.locked();
        let hold = holds.get(id)?;
        let begin = || Added {
            // No id has a slash.
            name: format!("{id}/{}", hold.raises),
            below: hold.held.clone(),
            total: hold.held.clone(),
        };
        Some(hold.added.clone().unwrap_or_else(begin))
    }

    /// The share has added to a hold.
    pub fn add(&self, id: &str, added: Added) {
        if let Some(hold) = self.locked().get_mut(id) {
            hold.added = Some(added);
        }
    }

    /// What the share has added to a hold, if it has.
    pub fn added(&self, id: &str) -> Option<Added> {
        self.locked().get(id)?.added.clone()
    }

    /// A hold's lease was moved.
    pub fn renewed(&self, id: &str, lease_ms: u64) {
        if let (Some(hold), Some(until)) = (self.locked().get_mut(id), end_of(lease_ms)) {
            hold.until = hold.until.max(until);
        }
    }

    /// The keys of a hold's cells; none if they are not known.
    pub fn cells(&self, id: &str) -> Arc<[String]> {
        self.locked().get(id).map_or_else(|| Arc::from([]), |hold| Arc::clone(&hold.cells))
    }

    /// Whether a hold was made here.
    pub fn has(&self, id: &str) -> bool {
        self.locked().contains_key(id)
    }

    /// A hold is closed, or was never made.
    pub fn forget(&self, id: &str) {
        self.locked().remove(id);
    }

    /// Forgets holds whose lease has passed.
    pub fn forget_lapsed(&self) {
        let now = Instant::now();
        self.locked().retain(|_, hold| hold.until > now);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Hold>> {
        // Nothing under the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Added {
    /// What the share is charged of a settlement: what exceeds the hold in Redis.
    pub fn share_of(&self, charge: Charge<'_>) -> Vec<u64> {
        let amounts = self.below.iter().zip(&self.total).enumerate();
        amounts.map(|(index, (below, total))| charge.amount(index, *total).saturating_sub(*below)).collect()
    }
}

fn end_of(lease_ms: u64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_millis(lease_ms))
}

#[cfg(test)]
mod tests {
    use tollgate_ledger::Rule;

    use super::*;

    fn claims(amounts: [u64; 2]) -> Vec<Claim> {
        let rule = Rule::Window { limit: 100, period_ms: 60_000 };
        amounts.into_iter().map(|amount| Claim { cell: "w".into(), rule, amount }).collect()
    }

    #[test]
    fn the_share_adds_to_what_redis_holds_by_then() {
        let known = Known::default();
        let cells: Arc<[String]> = ["w".to_owned(), "v".to_owned()].into();
        assert_eq!(known.addition("one"), None);
        known.note("one", Arc::clone(&cells), &claims([1, 5]), 10_000);
        let begin = known.addition("one").unwrap();
        assert_eq!((&begin.below, known.added("one")), (&vec![1, 5], None));
        known.add("one", Added { total: vec![1, 9], ..begin.clone() });
        assert_eq!(known.addition("one"), known.added("one"));
        // Redis is there again, and its reservation comes again too.
        assert!(known.raised("one", &claims([1, 12]), 10_000).is_some());
        known.note("one", cells, &claims([1, 5]), 10_000);
        let next = known.addition("one").unwrap();
        assert_eq!((next.below, known.added("one")), (vec![1, 12], None));
        assert_ne!(next.name, begin.name);
    }

    #[test]
    fn the_share_is_charged_what_exceeds_the_hold_in_redis() {
        let added = Added { name: "one/0".into(), below: vec![1, 5], total: vec![1, 9] };
        for (charge, share) in [
            (Charge::Held, [0, 4]),
            (Charge::Nothing, [0, 0]),
            (Charge::Amounts(&[1, 3]), [0, 0]),
            (Charge::Amounts(&[1, 7]), [0, 2]),
            (Charge::Amounts(&[1]), [0, 4]),
        ] {
            assert_eq!(added.share_of(charge), share, "{charge:?}");
        }
    }
}
