//! The ledger inside one process: nothing survives it, nothing is shared.
//!
//! One lock makes a reservation over several cells atomic; it is held for well under a microsecond, never across
//! I/O. Cells that count nothing any more and holds whose lease has passed are dropped a table at a time, as
//! operations come in, so that no operation ever pays for many.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cell::Cell;
use crate::shelf::{Quick, Shelf};
use crate::window::Mark;
use crate::{Charge, Claim, Fit, Ledger, Pending, Reservation, Rule, Settled, Standing};

/// How many settled holds are remembered, so that a repeated call finds them.
const REMEMBERED: usize = 4096;

/// One table of each shelf is swept at most this often: a round takes a minute.
const SWEEP_EVERY_MS: u64 = 60;

/// A cell is dropped this long after its end, for calls whose clock was read before.
const GRACE_MS: u64 = 60_000;

/// A [`Ledger`] in memory.
pub struct Memory {
    books: Mutex<Books>,
}

/// What a [`Memory`] holds at one moment, sorted by name: for tests and for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every cell that is kept.
    pub cells: Vec<CellState>,
    /// Every hold that is open.
    pub holds: Vec<OpenHold>,
}

/// One cell of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellState {
    /// Its name.
    pub name: String,
    /// Units settled and held.
    pub used: u64,
    /// The part of `used` that open holds hold.
    pub held: u64,
}

/// One open hold of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHold {
    /// Its id.
    pub id: String,
    /// When its lease passes, in milliseconds since the epoch.
    pub until_ms: u64,
    /// What it holds: cell and units, in the order of its claims.
    pub amounts: Vec<(String, u64)>,
}

impl Memory {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self { books: Mutex::new(Books::new()) }
    }

    /// Everything in the books as `now` finds it.
    #[must_use]
    pub fn snapshot(&self, now: u64) -> Snapshot {
        self.books().snapshot(now)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Nothing under the lock panics; a poisoned one would still hold sound books.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger for Memory {
    fn reserve<'a>(
        &'a self,
        hold: &'a str,
        claims: &'a [Claim],
        lease_ms: u64,
        now: u64,
    ) -> Pending<'a, Reservation> {
        Box::pin(async move { Ok(self.books().reserve(hold, claims, lease_ms, now)) })
    }

    fn settle<'a>(&'a self, hold: &'a str, charge: Charge<'a>, now: u64) -> Pending<'a, Settled> {
        Box::pin(async move { Ok(self.books().settle(hold, charge, now)) })
    }

    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool> {
        Box::pin(async move { Ok(self.books().renew(hold, lease_ms, now)) })
    }
}

struct Books {
    cells: Shelf<Box<Cell>>,
    holds: Shelf<Hold>,
    settled: Recent,
    sweep_at_ms: u64,
    /// Budgets that ended by then may have been dropped.
    horizon_ms: u64,
}

struct Hold {
    until_ms: u64,
    lease_ms: u64,
    parts: Vec<Part>,
}

struct Part {
    cell: Arc<str>,
    amount: u64,
    mark: Mark,
}

impl Books {
    fn new() -> Self {
        Self {
            cells: Shelf::new(),
            holds: Shelf::new(),
            settled: Recent::new(),
            sweep_at_ms: 0,
            horizon_ms: 0,
        }
    }

    fn reserve(&mut self, id: &str, claims: &[Claim], lease_ms: u64, now: u64) -> Reservation {
        self.sweep(now);
        // settle once: a reservation that comes again, or after its settlement, takes nothing more.
        let open = self.holds.get(id).is_some_and(|hold| hold.until_ms > now);
        if open || self.settled.contains(id) {
            return Reservation::Granted(self.standings(claims, now));
        }
        let mut longest = (0, Fit::Now);
        for (index, claim) in claims.iter().enumerate() {
            let fit = match total_up_to(claims, index, &claim.cell) {
                Some(amount) => self.with(claim, now, |cell| cell.fit(claim.rule.limit(), amount, now)),
                None => Fit::Never,
            };
            if fit > longest.1 {
                longest = (index, fit);
            }
        }
        let retry_after_ms = match longest.1 {
            Fit::Now => return self.grant(id, claims, lease_ms, now),
            Fit::After(wait) => Some(wait),
            Fit::Never => None,
        };
        Reservation::Limited { claim: longest.0, retry_after_ms, standings: self.standings(claims, now) }
    }

    fn grant(&mut self, id: &str, claims: &[Claim], lease_ms: u64, now: u64) -> Reservation {
        let mut parts: Vec<Part> = Vec::with_capacity(claims.len());
        let mut standings: Vec<Standing> = Vec::with_capacity(claims.len());
        for claim in claims {
            let (name, cell) = self.cells.entry(&claim.cell, || Box::new(Cell::new(claim.rule)));
            cell.observe(claim.rule, now);
            let mark = cell.take(claim.amount);
            let standing = cell.standing(claim.rule.limit(), now);
            // A cell claimed twice has been left less than it had after the first.
            let earlier = parts.iter().zip(&mut standings).filter(|(part, _)| Arc::ptr_eq(&part.cell, &name));
            earlier.for_each(|(_, before)| *before = standing);
            standings.push(standing);
            parts.push(Part { cell: name, amount: claim.amount, mark });
        }
        self.holds.insert(id, Hold { until_ms: now.saturating_add(lease_ms), lease_ms, parts });
        Reservation::Granted(standings)
    }

    fn settle(&mut self, id: &str, charge: Charge<'_>, now: u64) -> Settled {
        self.sweep(now);
        let Some((name, hold)) = self.holds.remove(id) else {
            return if self.settled.contains(id) { Settled::Already } else { Settled::Unknown };
        };
        if hold.until_ms <= now {
            return Settled::Unknown;
        }
        for (index, part) in hold.parts.iter().enumerate() {
            // A cell that is gone has forgotten these units too.
            if let Some(cell) = self.cells.get_mut(&part.cell) {
                cell.correct(part.mark, part.amount, charge.amount(index, part.amount));
            }
        }
        self.settled.add(name);
        Settled::Done
    }

    fn renew(&mut self, id: &str, lease_ms: u64, now: u64) -> bool {
        match self.holds.get_mut(id) {
            Some(hold) if hold.until_ms > now => {
                hold.until_ms = hold.until_ms.max(now.saturating_add(lease_ms));
                hold.lease_ms = hold.lease_ms.max(lease_ms);
                true
            }
            _ => false,
        }
    }

    /// Asks the claim's cell as `now` finds it, or the cell it would begin with.
    fn with<T>(&mut self, claim: &Claim, now: u64, ask: impl FnOnce(&Cell) -> T) -> T {
        if let Some(cell) = self.cells.get_mut(&claim.cell) {
            cell.observe(claim.rule, now);
            return ask(cell);
        }
        let mut cell = match claim.rule {
            // never over-admit: it may have been dropped, and what it had counted with it.
            Rule::Budget { end_ms, .. } if end_ms <= self.horizon_ms => Cell::closed(end_ms),
            rule => Cell::new(rule),
        };
        cell.observe(claim.rule, now);
        ask(&cell)
    }

    fn standings(&mut self, claims: &[Claim], now: u64) -> Vec<Standing> {
        let standing = |claim: &Claim| {
            let limit = claim.rule.limit();
            self.with(claim, now, |cell| cell.standing(limit, now))
        };
        claims.iter().map(standing).collect()
    }

    /// Drops what is over from one table of each shelf, when it is time again.
    fn sweep(&mut self, now: u64) {
        let due_in = self.sweep_at_ms.saturating_sub(now);
        if due_in > 0 && due_in <= SWEEP_EVERY_MS {
            return;
        }
        self.sweep_at_ms = now.saturating_add(SWEEP_EVERY_MS);
        let before = now.saturating_sub(GRACE_MS);
        self.horizon_ms = self.horizon_ms.max(before);
        self.cells.sweep(|cell| !cell.is_over(before));
        self.holds.sweep(|hold| {
            // no phantom refusal: after the clock went back a lease is no longer than it was.
            let lease_end = now.saturating_add(hold.lease_ms);
            if hold.until_ms > lease_end.saturating_add(GRACE_MS) {
                hold.until_ms = lease_end;
            }
            hold.until_ms > now
        });
    }

    fn snapshot(&self, now: u64) -> Snapshot {
        let open = || self.holds.iter().filter(|(_, hold)| hold.until_ms > now);
        let mut snapshot = Snapshot::default();
        for (name, cell) in self.cells.iter() {
            let cell = cell.seen(now);
            let parts = open().flat_map(|(_, hold)| &hold.parts);
            let held = parts.filter(|part| part.cell == *name && cell.counts(part.mark));
            let held = held.fold(0_u64, |sum, part| sum.saturating_add(part.amount));
            snapshot.cells.push(CellState { name: name.to_string(), used: cell.used(), held });
        }
        for (id, hold) in open() {
            let amounts = hold.parts.iter().map(|part| (part.cell.to_string(), part.amount)).collect();
            snapshot.holds.push(OpenHold { id: id.to_string(), until_ms: hold.until_ms, amounts });
        }
        snapshot.cells.sort_by(|a, b| a.name.cmp(&b.name));
        snapshot.holds.sort_by(|a, b| a.id.cmp(&b.id));
        snapshot
    }
}

/// What the claims up to `last` take from one cell together: a cell claimed twice must have room for both.
fn total_up_to(claims: &[Claim], last: usize, cell: &str) -> Option<u64> {
    let mut same = claims.iter().take(last.saturating_add(1)).filter(|claim| claim.cell == cell);
    same.try_fold(0_u64, |sum, claim| sum.checked_add(claim.amount))
}

/// The ids settled last.
struct Recent {
    ids: HashSet<Arc<str>, Quick>,
    order: VecDeque<Arc<str>>,
}

impl Recent {
    fn new() -> Self {
        Self { ids: HashSet::with_hasher(Quick::new()), order: VecDeque::new() }
    }

    fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    fn add(&mut self, id: Arc<str>) {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.order.push_back(Arc::clone(&id));
        self.ids.insert(id);
    }
}
