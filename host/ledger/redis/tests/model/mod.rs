//! The pure rules with nothing around them: maps of cells and holds, and no dropping of what is over, so that every
//! line can be compared for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tollgate_ledger::breaker::{Breaker, BreakerRule, Health, Passage};
use tollgate_ledger::cell::Cell;
use tollgate_ledger::window::Mark;
use tollgate_ledger::{Charge, Claim, Fit, Hold, Position, Reservation, Rule, Settled, Standing};

const GRACE_MS: u64 = 60_000;

#[derive(Default)]
pub struct Model {
    cells: BTreeMap<String, Cell>,
    breakers: BTreeMap<String, Breaker>,
    open: BTreeMap<String, Open>,
    closed: BTreeSet<String>,
    horizon_ms: u64,
    /// Kind, name and line.
    lines: BTreeMap<(&'static str, String), String>,
}

struct Open {
    until_ms: u64,
    lease_ms: u64,
    parts: Vec<(String, u64, Mark)>,
}

impl Model {
    pub fn reserve(&mut self, hold: Hold<'_>, now: u64) -> Reservation {
        let id = &hold.entry.request_id;
        let position = Position::default();
        if self.open.contains_key(id) || self.closed.contains(id) {
            return Reservation::Granted { standings: self.standings(hold.claims, now), position };
        }
        let mut longest = (0, Fit::Now);
        for (index, claim) in hold.claims.iter().enumerate() {
            let same = hold.claims[..=index].iter().filter(|other| other.cell == claim.cell);
            let total = same.map(|other| other.amount).sum();
            let fit = self.seen(claim, now).fit(claim.rule.limit(), total, now);
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
            cell.observe(claim.rule, now);
            parts.push((claim.cell.clone(), claim.amount, cell.take(claim.amount, &shared, until_ms)));
        }
        let left = |claim: &Claim| self.cells[&claim.cell].standing(claim.rule.limit(), now);
        // A cell claimed twice is told as it is after both, under the limit of the last.
        let last = |claim: &Claim| hold.claims.iter().rfind(|other| other.cell == claim.cell).unwrap().clone();
        let standings = hold.claims.iter().map(|claim| left(&last(claim))).collect();
        self.open.insert(id.clone(), Open { until_ms, lease_ms: hold.lease_ms, parts });
        Reservation::Granted { standings, position }
    }

    pub fn settle(&mut self, id: &str, charge: Charge<'_>, now: u64) -> Settled {
        let Some(open) = self.open.remove(id) else {
            return if self.closed.contains(id) { Settled::Already } else { Settled::Unknown };
        };
        self.closed.insert(id.to_owned());
        if open.until_ms <= now {
            return Settled::Already;
        }
        for (index, (cell, held, mark)) in open.parts.iter().enumerate() {
            let cell = self.cells.get_mut(cell).unwrap();
            cell.correct(*mark, id, *held, charge.amount(index, *held));
        }
        Settled::Done
    }

    pub fn renew(&mut self, id: &str, lease_ms: u64, now: u64) -> bool {
        let Some(open) = self.open.get_mut(id).filter(|open| open.until_ms > now) else { return false };
        open.until_ms = open.until_ms.max(now + lease_ms);
        open.lease_ms = open.lease_ms.max(lease_ms);
        for (cell, _, _) in &open.parts {
            self.cells.get_mut(cell).unwrap().renew(id, open.until_ms);
        }
        true
    }

    pub fn expire(&mut self, now: u64) -> usize {
        for open in self.open.values_mut() {
            if open.until_ms > now + open.lease_ms + GRACE_MS {
                open.until_ms = now + open.lease_ms;
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

    pub fn standings(&mut self, claims: &[Claim], now: u64) -> Vec<Standing> {
        claims.iter().map(|claim| self.seen(claim, now).standing(claim.rule.limit(), now)).collect()
    }

    pub fn ask(&mut self, name: &str, rule: BreakerRule, now: u64) -> Passage {
        self.breakers.entry(name.to_owned()).or_default().ask(rule, now)
    }

    pub fn tell(&mut self, name: &str, rule: BreakerRule, generation: u64, health: Health, now: u64) {
        self.breakers.entry(name.to_owned()).or_default().tell(rule, generation, health, now);
    }

    /// The generation that a breaker's line says.
    pub fn generation(&self, name: &str) -> u64 {
        let line = self.breakers.get(name).map(ToString::to_string);
        line.map_or(0, |line| line.split(' ').nth(1).unwrap().parse().unwrap())
    }

    /// The lines that have changed since the last time: kind, name and line.
    pub fn take_changed(&mut self) -> Vec<(&'static str, String, String)> {
        let cells = self.cells.iter().map(|(name, cell)| ("cell", name, cell.to_string()));
        let kept = self.breakers.iter().filter(|(_, breaker)| **breaker != Breaker::default());
        let all = cells.chain(kept.map(|(name, breaker)| ("breaker", name, breaker.to_string())));
        let mut changed = Vec::new();
        for (kind, name, line) in all {
            let before = self.lines.insert((kind, name.clone()), line.clone());
            if before.as_ref() != Some(&line) {
                changed.push((kind, name.clone(), line));
            }
        }
        changed
    }

    fn seen(&mut self, claim: &Claim, now: u64) -> Cell {
        if let Some(cell) = self.cells.get_mut(&claim.cell) {
            cell.observe(claim.rule, now);
            return cell.clone();
        }
        let mut cell = match claim.rule {
            Rule::Budget { end_ms, .. } if end_ms <= self.horizon_ms => Cell::closed(end_ms),
            rule => Cell::new(rule),
        };
        cell.observe(claim.rule, now);
        cell
    }
}

/// The end of the key under which something is kept.
pub fn key_of(kind: &str, name: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let digits: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}:{digits}")
}
