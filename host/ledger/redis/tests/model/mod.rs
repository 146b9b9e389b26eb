//! The pure rules with nothing around them: maps of cells and holds, and no dropping of what is over, so that every
//! line can be compared for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tollgate_contract::operations::{Answer, Call, Operation};
use tollgate_ledger::breaker::Breaker;
use tollgate_ledger::cell::Cell;
use tollgate_ledger::window::Mark;
use tollgate_ledger::{
    Charge, Claim, Fit, Hold, MOST_UNITS, Position, Raise, Reservation, Rule, Settled, Standing,
};

const GRACE_MS: u64 = 60_000;

#[derive(Default)]
pub struct Model {
    cells: BTreeMap<String, Cell>,
    breakers: BTreeMap<String, Breaker>,
    open: BTreeMap<String, Open>,
    closed: BTreeSet<String>,
    horizon_ms: u64,
    /// Names of cells and breakers that may have changed.
    touched: BTreeSet<(&'static str, String)>,
}

struct Open {
    until_ms: u64,
    lease_ms: u64,
    parts: Vec<Part>,
}

/// What is held in a cell, and what was taken when.
struct Part {
    cell: String,
    takes: Vec<(u64, Mark)>,
}

impl Part {
    fn amount(&self) -> u64 {
        self.takes.iter().map(|(amount, _)| amount).sum()
    }

    /// Neighbours that are forgotten together become one.
    fn take(&mut self, amount: u64, mark: Mark, cell: &Cell) {
        self.takes.push((amount, mark));
        for at in (1..self.takes.len()).rev() {
            let (before, after) = (self.takes[at - 1], self.takes[at]);
            if cell.together(before.1, after.1) {
                self.takes.splice(at - 1..=at, [(before.0 + after.0, after.1)]);
            }
        }
    }
}

impl Model {
    /// What the rules answer.
    pub fn apply(&mut self, operation: &Operation) -> Answer {
        let now = operation.now;
        match &operation.call {
            Call::Reserve(entry, claims, lease_ms) => {
                Answer::Reserved(self.reserve(Hold { entry, claims, lease_ms: *lease_ms }, now))
            }
            Call::Raise(entry, claims, lease_ms) => {
                Answer::Raised(self.raise(Hold { entry, claims, lease_ms: *lease_ms }, now))
            }
            Call::Settle(entry, amounts) => {
                let charge = amounts.as_deref().map_or(Charge::Held, Charge::Amounts);
                Answer::Settled(self.settle(&entry.request_id, charge, now))
            }
            Call::Renew(id, lease_ms) => Answer::Renewed(self.renew(id, *lease_ms, now)),
            Call::Expire => Answer::Expired(self.expire(now)),
            Call::Standings(claims) => Answer::Standings(self.standings(claims, now)),
            Call::Ask(name, rule) => Answer::Passage(self.breaker(name).ask(*rule, now)),
            Call::Tell(name, rule, generation, health) => {
                self.breaker(name).tell(*rule, *generation, *health, now);
                Answer::Told
            }
        }
    }

    fn reserve(&mut self, hold: Hold<'_>, now: u64) -> Reservation {
        let id = &hold.entry.request_id;
        let position = Position::default();
        if self.open.contains_key(id) || self.closed.contains(id) {
            return Reservation::Granted { standings: self.standings(hold.claims, now), position };
        }
        let mut longest = (0, Fit::Now);
        for (index, claim) in hold.claims.iter().enumerate() {
            let same = hold.claims[..=index].iter().filter(|other| other.cell == claim.cell);
            let total = same.map(|other| other.amount).try_fold(0_u64, u64::checked_add);
            let cell = self.asked(claim, now);
            let fit = total.map_or(Fit::Never, |total| cell.fit(claim.rule, total, now));
            if fit > longest.1 {
                longest = (index, fit);
            }
        }
        let retry_after_ms = match longest.1 {
            Fit::Now => None,
            Fit::After(wait) => Some(wait),
            Fit::Never => None,
        };
        if longest.1 > Fit::Now {
            let standings = self.standings(hold.claims, now);
            return Reservation::Limited { claim: longest.0, retry_after_ms, standings };
        }
        let until_ms = now + hold.lease_ms;
        let shared: Arc<str> = Arc::from(&**id);
        let mut parts = Vec::new();
        for claim in hold.claims {
            let cell = self.cells.entry(claim.cell.clone()).or_insert_with(|| Cell::new(claim.rule));
            self.touched.insert(("cell", claim.cell.clone()));
            let mark = cell.take(claim.rule, claim.amount, &shared, until_ms, now);
            parts.push(Part { cell: claim.cell.clone(), takes: vec![(claim.amount, mark)] });
        }
        let standings = self.standings(hold.claims, now);
        self.open.insert(id.clone(), Open { until_ms, lease_ms: hold.lease_ms, parts });
        Reservation::Granted { standings, position }
    }

    fn settle(&mut self, id: &str, charge: Charge<'_>, now: u64) -> Settled {
        let Some(open) = self.open.remove(id) else {
            return if self.closed.contains(id) { Settled::Already } else { Settled::Unknown };
        };
        self.closed.insert(id.to_owned());
        if open.until_ms <= now {
            return Settled::Already;
        }
        for (index, part) in open.parts.iter().enumerate() {
            self.touched.insert(("cell", part.cell.clone()));
            let cell = self.cells.get_mut(&part.cell).unwrap();
            let mut rest = charge.amount(index, part.amount());
            for (number, (amount, mark)) in part.takes.iter().enumerate() {
                let used = if number + 1 == part.takes.len() { rest } else { rest.min(*amount) };
                cell.correct(*mark, id, *amount, used);
                rest -= used;
            }
        }
        Settled::Done
    }

    fn raise(&mut self, hold: Hold<'_>, now: u64) -> Raise {
        let (id, claims) = (&hold.entry.request_id, hold.claims);
        let of = |open: &Open| open.parts.iter().map(|part| &part.cell).eq(claims.iter().map(|it| &it.cell));
        let Some(open) = self.open.get(id).filter(|open| open.until_ms > now && of(open)) else {
            return Raise::Gone;
        };
        let until_ms = open.until_ms.max(now + hold.lease_ms);
        let held: Vec<u64> = open.parts.iter().map(Part::amount).collect();
        let is_slots = |claim: &Claim| matches!(claim.rule, Rule::Slots { .. });
        let missing = |at: usize| {
            if is_slots(&claims[at]) { 0 } else { claims[at].amount.saturating_sub(held[at]) }
        };
        let up_to = |last: usize, amount: &dyn Fn(usize) -> u64| -> u128 {
            let same = (0..=last).filter(|at| claims[*at].cell == claims[last].cell);
            same.map(|at| u128::from(amount(at))).sum()
        };
        let mut longest = (0, Fit::Now);
        for (index, claim) in claims.iter().enumerate().filter(|(index, _)| missing(*index) > 0) {
            let most = if let Rule::Budget { .. } = claim.rule { claim.rule.limit() } else { MOST_UNITS };
            let fit = if up_to(index, &|at| claims[at].amount.max(held[at])) > most.into() {
                Fit::Never
            } else {
                let more = u64::try_from(up_to(index, &missing)).unwrap();
                self.asked(claim, now).fit(claim.rule, more, now)
            };
            if fit > longest.1 {
                longest = (index, fit);
            }
        }
        let retry_after_ms = match longest.1 {
            Fit::Now => None,
            Fit::After(wait) => Some(wait),
            Fit::Never => None,
        };
        if longest.1 > Fit::Now {
            let standings = self.standings(claims, now);
            return Raise::Limited { claim: longest.0, retry_after_ms, standings };
        }
        let shared: Arc<str> = Arc::from(&**id);
        let mut open = self.open.remove(id).unwrap();
        (open.until_ms, open.lease_ms) = (until_ms, open.lease_ms.max(hold.lease_ms));
        for (index, claim) in claims.iter().enumerate() {
            self.touched.insert(("cell", claim.cell.clone()));
            let cell = self.cells.entry(claim.cell.clone()).or_insert_with(|| Cell::new(claim.rule));
            if missing(index) > 0 {
                let mark = cell.take(claim.rule, missing(index), &shared, until_ms, now);
                open.parts[index].take(missing(index), mark, cell);
            }
            cell.renew(id, until_ms);
        }
        self.open.insert(id.clone(), open);
        Raise::Granted { standings: self.standings(claims, now), position: Position::default() }
    }

    fn renew(&mut self, id: &str, lease_ms: u64, now: u64) -> bool {
        let Some(open) = self.open.get_mut(id).filter(|open| open.until_ms > now) else { return false };
        open.until_ms = open.until_ms.max(now + lease_ms);
        open.lease_ms = open.lease_ms.max(lease_ms);
        for part in &open.parts {
            self.touched.insert(("cell", part.cell.clone()));
            self.cells.get_mut(&part.cell).unwrap().renew(id, open.until_ms);
        }
        true
    }

    fn expire(&mut self, now: u64) -> usize {
        for (id, open) in &mut self.open {
            if open.until_ms > now + open.lease_ms + GRACE_MS {
                open.until_ms = now + open.lease_ms;
                for part in &open.parts {
                    self.touched.insert(("cell", part.cell.clone()));
                    self.cells.get_mut(&part.cell).unwrap().renew(id, open.until_ms);
                }
            }
        }
        let lost: Vec<String> =
            self.open.iter().filter(|(_, open)| open.until_ms <= now).map(|(id, _)| id.clone()).collect();
        for id in &lost {
            self.open.remove(id);
            self.closed.insert(id.clone());
        }
        self.horizon_ms = self.horizon_ms.max(now - GRACE_MS);
        lost.len()
    }

    fn standings(&mut self, claims: &[Claim], now: u64) -> Vec<Standing> {
        claims.iter().map(|claim| self.asked(claim, now).standing(claim.rule, now)).collect()
    }

    fn breaker(&mut self, name: &str) -> &mut Breaker {
        self.touched.insert(("breaker", name.to_owned()));
        self.breakers.entry(name.to_owned()).or_default()
    }

    /// The lines that may have changed since the last time: kind, name and line.
    pub fn take_changed(&mut self) -> Vec<(&'static str, String, Option<String>)> {
        let touched = std::mem::take(&mut self.touched).into_iter();
        let line = |(kind, name): (&'static str, String)| {
            let line = match kind {
                "cell" => self.cells.get(&name).map(ToString::to_string),
                // One that never changed is not kept.
                _ => {
                    self.breakers.get(&name).filter(|it| **it != Breaker::default()).map(ToString::to_string)
                }
            };
            (kind, name, line)
        };
        touched.map(line).collect()
    }

    fn asked(&mut self, claim: &Claim, now: u64) -> Cell {
        self.touched.insert(("cell", claim.cell.clone()));
        match (self.cells.get_mut(&claim.cell), claim.rule) {
            (Some(cell), _) => {
                cell.follow(now);
                cell.clone()
            }
            (None, Rule::Budget { end_ms, .. }) if end_ms <= self.horizon_ms => Cell::closed(end_ms),
            (None, rule) => Cell::new(rule),
        }
    }
}

/// The end of the key under which something is kept.
pub fn key_of(kind: &str, name: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    format!("{kind}:{:032x}", u128::from_be_bytes(*digest.as_ref().first_chunk().unwrap()))
}
