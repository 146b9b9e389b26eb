//! The books of one process: cells and holds in memory, each operation one atomic step under a few small locks.
//!
//! A hold's table is locked first, then the tables of its cells in their order, so that nobody waits for anybody in
//! a circle. The locks are held for well under a microsecond, never across I/O. A [`Journal`] hears of every change
//! under the same locks, so the order it hears is the order in which it happened; that is all a durable store needs.

use std::iter::zip;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::cell::Cell;
use crate::holds::{Held, Holds, Table};
use crate::journal::{Event, Journal, Restored};
use crate::part::{Part, Take};
use crate::shelf::{Locked, Shelf};
use crate::{Charge, Claim, Entry, Fit, Hold, MOST_UNITS, Raise, Reservation, Rule, Settled, Standing};

/// How many tables of cells one [`Books::expire`] sweeps.
const SWEPT: usize = 32;

/// A cell is dropped this long after its end, for calls whose clock was read before.
pub(crate) const GRACE_MS: u64 = 60_000;

/// Cells and holds.
pub struct Books<J> {
    cells: Shelf<Cell>,
    holds: Holds,
    journal: J,
    /// The table of cells that is swept next.
    hand: AtomicUsize,
    /// Budgets that ended by then may have been dropped.
    horizon_ms: AtomicU64,
}

impl<J: Journal> Books<J> {
    /// Empty books.
    pub fn new(journal: J) -> Self {
        Self::on(Shelf::new(), Holds::new(), journal)
    }

    /// Books with a few cells and holds, for one operation: they are quickly made. The journal is told nothing.
    pub fn small(
        journal: J,
        cells: impl IntoIterator<Item = (String, Cell)>,
        holds: impl IntoIterator<Item = Restored>,
    ) -> Self {
        let books = Self::on(Shelf::with_tables(1), Holds::with_tables(1), journal);
        books.fill(cells, holds);
        books
    }

    fn on(cells: Shelf<Cell>, holds: Holds, journal: J) -> Self {
        Self { cells, holds, journal, hand: AtomicUsize::new(0), horizon_ms: AtomicU64::new(0) }
    }

    /// Books as another process left them. The journal is told nothing.
    pub fn restore(
        journal: J,
        cells: impl IntoIterator<Item = (String, Cell)>,
        holds: impl IntoIterator<Item = Restored>,
    ) -> Self {
        let books = Self::new(journal);
        books.fill(cells, holds);
        books
    }

    /// Puts cells and open holds into books that have none of these names. The journal is told nothing.
    fn fill(
        &self,
        cells: impl IntoIterator<Item = (String, Cell)>,
        holds: impl IntoIterator<Item = Restored>,
    ) {
        for (name, cell) in cells {
            self.cells.lock([&*name].into_iter()).entry(0, || cell);
        }
        for Restored { entry, until_ms, lease_ms, parts } in holds {
            let id: Arc<str> = Arc::from(&*entry.request_id);
            self.holds.of(&id).add(Held { id: Arc::clone(&id), until_ms, lease_ms, entry, parts });
        }
    }

    /// Takes budgets that ended by then (milliseconds since the epoch) for spent, where their cells are gone: another
    /// process may have dropped them, and the clock may have gone back since.
    pub fn close_budgets(&self, ended_ms: u64) {
        self.horizon_ms.fetch_max(ended_ms, Ordering::Relaxed);
    }

    /// What keeps what happens here.
    pub fn journal(&self) -> &J {
        &self.journal
    }

    /// The cell of this name as it is, if there is one.
    pub fn cell(&self, name: &str) -> Option<Cell> {
        self.cells.lock([name].into_iter()).get(0).cloned()
    }

    pub(crate) fn cells(&self) -> &Shelf<Cell> {
        &self.cells
    }

    pub(crate) fn holds(&self) -> &Holds {
        &self.holds
    }

    /// See [`crate::Ledger::reserve`].
    pub fn reserve(&self, hold: Hold<'_>, now: u64) -> Reservation {
        let Hold { entry, claims, .. } = hold;
        let mut holds = self.holds.of(&entry.request_id);
        let mut cells = self.cells.lock(claims.iter().map(|claim| &*claim.cell));
        // settle once: a reservation that comes again, or after its end, takes nothing more.
        if holds.knows(&entry.request_id) {
            let standings = self.standings_in(&mut cells, claims, now);
            return Reservation::Granted { standings, position: self.journal.position() };
        }
        let (claim, fit) = longest_wait(claims, |index, claim| {
            let amounts = claims.iter().map(|claim| claim.amount);
            total_up_to(claims, amounts, index)
                .map_or(Fit::Never, |amount| self.fit(&mut cells, index, claim.rule, amount, now))
        });
        let retry_after_ms = match fit {
            Fit::Now => return self.grant(&mut holds, &mut cells, hold, now),
            Fit::After(wait) => Some(wait),
            Fit::Never => None,
        };
        let standings = self.standings_in(&mut cells, claims, now);
        Reservation::Limited { claim, retry_after_ms, standings }
    }

    fn grant(
        &self,
        holds: &mut Table,
        cells: &mut Locked<'_, '_, Cell>,
        hold: Hold<'_>,
        now: u64,
    ) -> Reservation {
        let Hold { entry, claims, lease_ms } = hold;
        let id: Arc<str> = Arc::from(&*entry.request_id);
        let until_ms = now.saturating_add(lease_ms);
        let mut parts: Vec<Part> = Vec::with_capacity(claims.len());
        for (index, Claim { rule, amount, .. }) in claims.iter().enumerate() {
            let Some((name, cell)) = cells.entry(index, || Cell::new(*rule)) else { continue };
            let mark = cell.take(*rule, *amount, &id, until_ms, now);
            parts.push(Part::new(name, [Take { amount: *amount, mark }]));
        }
        let standings = self.standings_in(cells, claims, now);
        let changed = changed::<J>(cells, &parts);
        let position =
            self.journal.note(Event::Reserved { entry, until_ms, lease_ms, parts: &parts, cells: changed });
        holds.add(Held { id, until_ms, lease_ms, entry: Arc::clone(entry), parts });
        Reservation::Granted { standings, position }
    }

    /// See [`crate::Ledger::raise`].
    pub fn raise(&self, hold: Hold<'_>, now: u64) -> Raise {
        let Hold { entry, claims, .. } = hold;
        let mut holds = self.holds.of(&entry.request_id);
        let open = holds.open(&entry.request_id);
        let Some(held) = open.filter(|held| held.until_ms > now && held.is_of(claims)) else {
            return Raise::Gone;
        };
        let mut cells = self.cells.lock(claims.iter().map(|claim| &*claim.cell));
        let more: Vec<u64> = zip(claims, &held.parts).map(|(claim, part)| missing(claim, part)).collect();
        let (claim, fit) = longest_wait(claims, |index, claim| {
            if more.get(index).is_none_or(|more| *more == 0) {
                return Fit::Now;
            }
            let wanted = zip(claims, &held.parts).map(|(claim, part)| claim.amount.max(part.amount()));
            let most = match claim.rule {
                Rule::Budget { .. } => claim.rule.limit(),
                // What it held a period ago is free again, so there is no end to what a stream can hold in all.
                Rule::Window { .. } | Rule::Slots { .. } => MOST_UNITS,
            };
            match total_up_to(claims, wanted, index) {
                Some(wanted) if wanted <= most => total_up_to(claims, more.iter().copied(), index)
                    .map_or(Fit::Never, |more| self.fit(&mut cells, index, claim.rule, more, now)),
                _ => Fit::Never,
            }
        });
        let retry_after_ms = match fit {
            Fit::Now => return self.grant_more(held, &mut cells, hold, &more, now),
            Fit::After(wait) => Some(wait),
            Fit::Never => None,
        };
        let standings = self.standings_in(&mut cells, claims, now);
        Raise::Limited { claim, retry_after_ms, standings }
    }

    fn grant_more(
        &self,
        held: &mut Held,
        cells: &mut Locked<'_, '_, Cell>,
        hold: Hold<'_>,
        more: &[u64],
        now: u64,
    ) -> Raise {
        let Hold { entry, claims, lease_ms } = hold;
        // conservation: a call that comes late, after one that took more, says less than the hold holds.
        let is_late = more.iter().all(|more| *more == 0)
            && zip(claims, &held.parts).any(|(claim, part)| !is_slots(claim) && claim.amount < part.amount());
        if !is_late {
            held.entry = Arc::clone(entry);
        }
        held.lease_ms = held.lease_ms.max(lease_ms);
        held.until_ms = held.until_ms.max(now.saturating_add(lease_ms));
        let Held { id, until_ms, lease_ms, entry, parts } = held;
        for (index, ((claim, amount), part)) in zip(zip(claims, more), &mut *parts).enumerate() {
            if *amount > 0
                && let Some((_, cell)) = cells.entry(index, || Cell::new(claim.rule))
            {
                let mark = cell.take(claim.rule, *amount, id, *until_ms, now);
                part.add(Take { amount: *amount, mark }, cell);
            }
            if let Some(cell) = cells.get_mut(index) {
                cell.renew(id, *until_ms);
            }
        }
        let standings = self.standings_in(cells, claims, now);
        let cells = changed::<J>(cells, parts);
        let (until_ms, lease_ms) = (*until_ms, *lease_ms);
        let position = self.journal.note(Event::Raised { entry, until_ms, lease_ms, parts, cells });
        Raise::Granted { standings, position }
    }

    /// See [`crate::Ledger::settle`].
    pub fn settle(&self, entry: &Arc<Entry>, charge: Charge<'_>, now: u64) -> Settled {
        let mut holds = self.holds.of(&entry.request_id);
        let held = match holds.close(&entry.request_id) {
            Ok(held) => held,
            Err(answer) => return answer,
        };
        if held.until_ms <= now {
            self.lose(&held);
            return Settled::Already;
        }
        let mut cells = self.cells.lock(held.parts.iter().map(|part| &*part.cell));
        for (index, part) in held.parts.iter().enumerate() {
            // A cell that is gone has forgotten these units too.
            if let Some(cell) = cells.get_mut(index) {
                part.settle(cell, &held.id, charge.amount(index, part.amount()));
            }
        }
        let changed = changed::<J>(&cells, &held.parts);
        self.journal.note(Event::Closed { entry, cells: changed });
        Settled::Done
    }

    /// See [`crate::Ledger::renew`].
    pub fn renew(&self, hold: &str, lease_ms: u64, now: u64) -> bool {
        let mut holds = self.holds.of(hold);
        let Some(held) = holds.open(hold).filter(|held| held.until_ms > now) else { return false };
        held.lease_ms = held.lease_ms.max(lease_ms);
        held.until_ms = held.until_ms.max(now.saturating_add(lease_ms));
        self.move_lease(held);
        true
    }

    /// Tells the cells and the journal that a lease has another end.
    fn move_lease(&self, held: &Held) {
        let Held { id, until_ms, lease_ms, parts, .. } = held;
        let mut cells = self.cells.lock(parts.iter().map(|part| &*part.cell));
        let mut moved = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            if let Some(cell) = cells.get_mut(index)
                && cell.renew(id, *until_ms)
                && J::KEEPS_CELLS
            {
                moved.push((Arc::clone(&part.cell), cell.clone()));
            }
        }
        let renewed = Event::Renewed { hold: id, until_ms: *until_ms, lease_ms: *lease_ms, cells: moved };
        self.journal.note(renewed);
    }

    /// See [`crate::Ledger::expire`]. Cells that count nothing any more are dropped on the way, some each time.
    pub fn expire(&self, now: u64) -> usize {
        let mut lost = 0_usize;
        for mut table in self.holds.tables() {
            for held in table.all_open() {
                // no phantom refusal: after the clock went back a lease is no longer than it was.
                let lease_end = now.saturating_add(held.lease_ms);
                if held.until_ms > lease_end.saturating_add(GRACE_MS) {
                    held.until_ms = lease_end;
                    self.move_lease(held);
                }
            }
            let over = table.close_lost(now);
            over.iter().for_each(|held| self.lose(held));
            lost = lost.saturating_add(over.len());
        }
        let before = now.saturating_sub(GRACE_MS);
        self.close_budgets(before);
        let hand = self.hand.fetch_add(SWEPT, Ordering::Relaxed);
        for round in hand..hand.saturating_add(SWEPT) {
            self.cells.sweep(round, |cell| !cell.is_over(before));
        }
        lost
    }

    /// Writes the row of a hold whose lease has passed. What it held stays charged; slots end by their leases.
    fn lose(&self, held: &Held) {
        self.journal.note(Event::Closed { entry: &held.entry, cells: Vec::new() });
    }

    /// See [`crate::Ledger::standings`].
    pub fn standings(&self, claims: &[Claim], now: u64) -> Vec<Standing> {
        let mut cells = self.cells.lock(claims.iter().map(|claim| &*claim.cell));
        self.standings_in(&mut cells, claims, now)
    }

    fn standings_in(&self, cells: &mut Locked<'_, '_, Cell>, claims: &[Claim], now: u64) -> Vec<Standing> {
        let standing = |(index, claim): (usize, &Claim)| {
            self.ask(cells, index, claim.rule, now, |cell| cell.standing(claim.rule, now))
        };
        claims.iter().enumerate().map(standing).collect()
    }

    /// Whether the cell of the claim at `index` has room for the amount.
    fn fit(&self, cells: &mut Locked<'_, '_, Cell>, index: usize, rule: Rule, amount: u64, now: u64) -> Fit {
        self.ask(cells, index, rule, now, |cell| cell.fit(rule, amount, now))
    }

    /// Asks the cell of the claim at `index`, or the one it would begin with.
    fn ask<T>(
        &self,
        cells: &mut Locked<'_, '_, Cell>,
        index: usize,
        rule: Rule,
        now: u64,
        ask: impl FnOnce(&Cell) -> T,
    ) -> T {
        match (cells.get_mut(index), rule) {
            (Some(cell), _) => {
                cell.follow(now);
                ask(cell)
            }
            // never over-admit: it may have been dropped, and what it had counted with it.
            (None, Rule::Budget { end_ms, .. }) if end_ms <= self.horizon_ms.load(Ordering::Relaxed) => {
                ask(&Cell::closed(end_ms))
            }
            (None, _) => ask(&Cell::new(rule)),
        }
    }
}

/// Copies of the cells of these parts, if the journal wants them.
fn changed<J: Journal>(cells: &Locked<'_, '_, Cell>, parts: &[Part]) -> Vec<(Arc<str>, Cell)> {
    if !J::KEEPS_CELLS {
        return Vec::new();
    }
    let copy = |(index, part): (usize, &Part)| Some((Arc::clone(&part.cell), cells.get(index)?.clone()));
    parts.iter().enumerate().filter_map(copy).collect()
}

/// The claim that fits last, and when; the first of several.
fn longest_wait(claims: &[Claim], mut fit: impl FnMut(usize, &Claim) -> Fit) -> (usize, Fit) {
    let mut longest = (0, Fit::Now);
    for (index, claim) in claims.iter().enumerate() {
        let fit = fit(index, claim);
        if fit > longest.1 {
            longest = (index, fit);
        }
    }
    longest
}

/// What the claims up to `last`, with these amounts, take from its cell together: a cell claimed twice must have room
/// for both.
fn total_up_to(claims: &[Claim], amounts: impl Iterator<Item = u64>, last: usize) -> Option<u64> {
    let cell = &claims.get(last)?.cell;
    let mut same = zip(claims, amounts).take(last.saturating_add(1)).filter(|(claim, _)| claim.cell == *cell);
    same.try_fold(0_u64, |sum, (_, amount)| sum.checked_add(amount))
}

/// What a hold must take for a claim to be held.
fn missing(claim: &Claim, part: &Part) -> u64 {
    if is_slots(claim) { 0 } else { claim.amount.saturating_sub(part.amount()) }
}

fn is_slots(claim: &Claim) -> bool {
    matches!(claim.rule, Rule::Slots { .. })
}
