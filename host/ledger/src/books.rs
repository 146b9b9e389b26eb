//! The books of one process: cells and holds in memory, each operation one atomic step under a few small locks.
//!
//! A hold's table is locked first, then the tables of its cells in their order, so that nobody waits for anybody in
//! a circle. The locks are held for well under a microsecond, never across I/O. A [`Journal`] hears of every change
//! under the same locks, so the order it hears is the order in which it happened; that is all a durable store needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::cell::Cell;
use crate::holds::{Held, Holds, Table};
use crate::journal::{Event, Journal, Part, Restored};
use crate::shelf::{Locked, Shelf};
use crate::{Charge, Claim, Entry, Fit, Hold, Reservation, Rule, Settled, Standing};

/// How many tables of cells one [`Books::expire`] sweeps.
const SWEPT: usize = 32;

/// A cell is dropped this long after its end, for calls whose clock was read before.
const GRACE_MS: u64 = 60_000;

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
        Self {
            cells: Shelf::new(),
            holds: Holds::new(),
            journal,
            hand: AtomicUsize::new(0),
            horizon_ms: AtomicU64::new(0),
        }
    }

    /// Books as another process left them. The journal is told nothing.
    pub fn restore(
        journal: J,
        cells: impl IntoIterator<Item = (String, Cell)>,
        holds: impl IntoIterator<Item = Restored>,
    ) -> Self {
        let books = Self::new(journal);
        for (name, cell) in cells {
            books.cells.lock([&*name].into_iter()).entry(0, || cell);
        }
        for Restored { entry, until_ms, lease_ms, parts } in holds {
            let id: Arc<str> = Arc::from(&*entry.request_id);
            books.holds.of(&id).add(Held { id: Arc::clone(&id), until_ms, lease_ms, entry, parts });
        }
        books
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
        let mut longest = (0, Fit::Now);
        for (index, claim) in claims.iter().enumerate() {
            let fit = total_up_to(claims, index).map_or(Fit::Never, |amount| {
                self.ask(&mut cells, index, claim.rule, now, |cell| cell.fit(claim.rule, amount, now))
            });
            if fit > longest.1 {
                longest = (index, fit);
            }
        }
        let retry_after_ms = match longest.1 {
            Fit::Now => return self.grant(&mut holds, &mut cells, hold, now),
            Fit::After(wait) => Some(wait),
            Fit::Never => None,
        };
        let standings = self.standings_in(&mut cells, claims, now);
        Reservation::Limited { claim: longest.0, retry_after_ms, standings }
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
            parts.push(Part { cell: name, amount: *amount, mark });
        }
        let standings = self.standings_in(cells, claims, now);
        let changed = changed::<J>(cells, &parts);
        let position =
            self.journal.note(Event::Reserved { entry, until_ms, lease_ms, parts: &parts, cells: changed });
        holds.add(Held { id, until_ms, lease_ms, entry: Arc::clone(entry), parts });
        Reservation::Granted { standings, position }
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
                cell.correct(part.mark, &held.id, part.amount, charge.amount(index, part.amount));
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

/// What the claims up to `last` take from its cell together: a cell claimed twice must have room for both.
fn total_up_to(claims: &[Claim], last: usize) -> Option<u64> {
    let cell = &claims.get(last)?.cell;
    let mut same = claims.iter().take(last.saturating_add(1)).filter(|claim| claim.cell == *cell);
    same.try_fold(0_u64, |sum, claim| sum.checked_add(claim.amount))
}
