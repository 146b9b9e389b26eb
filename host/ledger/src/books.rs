//! The books of one process: cells and holds in memory, each operation one atomic step under a few small locks.
//!
//! A hold's table is locked first, then the tables of its cells in their order, so that nobody waits for anybody in
//! a circle. The locks are held for well under a microsecond, never across I/O. A [`Journal`] hears of every change
//! under the same locks, so the order it hears is the order in which it happened; that is all a durable store needs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::cell::Cell;
use crate::shelf::{Locked, Quick, Shelf, locked};
use crate::window::Mark;
use crate::{Charge, Claim, Entry, Fit, Hold, Position, Reservation, Rule, Settled, Standing};

/// Tables of holds.
const TABLES: usize = 64;

/// How many closed holds each table remembers, so that a repeated call finds them.
const REMEMBERED: usize = 256;

/// How many tables of cells one [`Books::expire`] sweeps.
const SWEPT: usize = 32;

/// A cell is dropped this long after its end, for calls whose clock was read before.
const GRACE_MS: u64 = 60_000;

/// Cells and holds.
pub struct Books<J> {
    cells: Shelf<Box<Cell>>,
    holds: Box<[Mutex<Holds>]>,
    hasher: Quick,
    journal: J,
    /// The table of cells that is swept next.
    hand: AtomicUsize,
    /// Budgets that ended by then may have been dropped.
    horizon_ms: AtomicU64,
}

/// Hears of every change, in order.
pub trait Journal: Send + Sync + 'static {
    /// Whether it wants the cells. One that does not spares their copies.
    const KEEPS_CELLS: bool;

    /// Takes note of a change, and says where. Called under the locks of everything the change names: it must not
    /// wait for anything.
    fn note(&self, event: Event<'_>) -> Position;

    /// The place of the latest change.
    fn position(&self) -> Position;
}

/// A change of the books. `cells` are the cells it changed, as they are after it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A hold was opened.
    Reserved {
        /// The hold's row, if nobody ever settles it.
        entry: &'a Arc<Entry>,
        /// When its lease ends: milliseconds since the epoch.
        until_ms: u64,
        /// How long its lease is, in milliseconds.
        lease_ms: u64,
        /// What it holds.
        parts: &'a [Part],
        /// See above.
        cells: Vec<(Arc<str>, Cell)>,
    },
    /// A hold's lease was moved.
    Renewed {
        /// The hold.
        hold: &'a str,
        /// When its lease ends: milliseconds since the epoch.
        until_ms: u64,
        /// How long its lease is, in milliseconds.
        lease_ms: u64,
        /// See above.
        cells: Vec<(Arc<str>, Cell)>,
    },
    /// A hold was closed: settled, or lost with its lease.
    Closed {
        /// The row of the exchange.
        entry: &'a Arc<Entry>,
        /// See above.
        cells: Vec<(Arc<str>, Cell)>,
    },
}

/// What a hold holds in one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The cell.
    pub cell: Arc<str>,
    /// Units.
    pub amount: u64,
    /// Where a window counted them.
    pub mark: Mark,
}

/// An open hold that survived the process that made it.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Its row, if nobody ever settles it.
    pub entry: Arc<Entry>,
    /// When its lease ends: milliseconds since the epoch.
    pub until_ms: u64,
    /// How long its lease is, in milliseconds.
    pub lease_ms: u64,
    /// What it holds.
    pub parts: Vec<Part>,
}

/// A journal that keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unkept;

impl Journal for Unkept {
    const KEEPS_CELLS: bool = false;

    fn note(&self, _: Event<'_>) -> Position {
        Position::default()
    }

    fn position(&self) -> Position {
        Position::default()
    }
}

/// What [`Books`] hold, sorted by name: for tests and for people.
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

/// One hold of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHold {
    /// Its id.
    pub id: String,
    /// When its lease passes, in milliseconds since the epoch.
    pub until_ms: u64,
    /// What it holds: cell and units, in the order of its claims.
    pub amounts: Vec<(String, u64)>,
}

struct Held {
    until_ms: u64,
    lease_ms: u64,
    entry: Arc<Entry>,
    parts: Vec<Part>,
}

#[derive(Default)]
struct Holds {
    open: HashMap<Arc<str>, Held, Quick>,
    closed: Recent,
}

impl<J: Journal> Books<J> {
    /// Empty books.
    pub fn new(journal: J) -> Self {
        let hasher = Quick::new();
        Self {
            cells: Shelf::new(),
            holds: (0..TABLES).map(|_| Mutex::default()).collect(),
            hasher,
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
            books.cells.lock([&*name].into_iter()).entry(&name, || Box::new(cell));
        }
        for Restored { entry, until_ms, lease_ms, parts } in holds {
            let id: Arc<str> = Arc::from(&*entry.request_id);
            books.holds(&id).open.insert(id, Held { until_ms, lease_ms, entry, parts });
        }
        books
    }

    /// What keeps what happens here.
    pub fn journal(&self) -> &J {
        &self.journal
    }

    /// See [`crate::Ledger::reserve`].
    pub fn reserve(&self, hold: Hold<'_>, now: u64) -> Reservation {
        let Hold { entry, claims, .. } = hold;
        let mut holds = self.holds(&entry.request_id);
        let mut cells = self.cells.lock(claims.iter().map(|claim| &*claim.cell));
        // settle once: a reservation that comes again, or after its end, takes nothing more.
        if holds.open.contains_key(&*entry.request_id) || holds.closed.contains(&entry.request_id) {
            let standings = self.standings_in(&mut cells, claims, now);
            return Reservation::Granted { standings, position: self.journal.position() };
        }
        let mut longest = (0, Fit::Now);
        for (index, claim) in claims.iter().enumerate() {
            let fit = match total_up_to(claims, index, &claim.cell) {
                Some(amount) => {
                    self.with(&mut cells, claim, now, |cell| cell.fit(claim.rule.limit(), amount, now))
                }
                None => Fit::Never,
            };
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
        holds: &mut Holds,
        cells: &mut Locked<'_, Box<Cell>>,
        hold: Hold<'_>,
        now: u64,
    ) -> Reservation {
        let Hold { entry, claims, lease_ms } = hold;
        let id: Arc<str> = Arc::from(&*entry.request_id);
        let until_ms = now.saturating_add(lease_ms);
        let mut parts: Vec<Part> = Vec::with_capacity(claims.len());
        let mut standings: Vec<Standing> = Vec::with_capacity(claims.len());
        for claim in claims {
            let Some((name, cell)) = cells.entry(&claim.cell, || Box::new(Cell::new(claim.rule))) else {
                continue;
            };
            cell.observe(claim.rule, now);
            let mark = cell.take(claim.amount, &id, until_ms);
            let standing = cell.standing(claim.rule.limit(), now);
            // A cell claimed twice has less left than it had after the first.
            for ((part, before), claim) in parts.iter().zip(&mut standings).zip(claims) {
                if Arc::ptr_eq(&part.cell, &name) {
                    *before = cell.standing(claim.rule.limit(), now);
                }
            }
            standings.push(standing);
            parts.push(Part { cell: name, amount: claim.amount, mark });
        }
        let changed = changed::<J>(cells, &parts, |_| true);
        let event = Event::Reserved { entry, until_ms, lease_ms, parts: &parts, cells: changed };
        let position = self.journal.note(event);
        holds.open.insert(id, Held { until_ms, lease_ms, entry: Arc::clone(entry), parts });
        Reservation::Granted { standings, position }
    }

    /// See [`crate::Ledger::settle`].
    pub fn settle(&self, entry: &Arc<Entry>, charge: Charge<'_>, now: u64) -> Settled {
        let mut holds = self.holds(&entry.request_id);
        let Some((id, held)) = holds.open.remove_entry(&*entry.request_id) else {
            let known = holds.closed.contains(&entry.request_id);
            return if known { Settled::Already } else { Settled::Unknown };
        };
        if held.until_ms <= now {
            self.lose(&mut holds, id, &held);
            return Settled::Already;
        }
        let mut cells = self.cells.lock(held.parts.iter().map(|part| &*part.cell));
        for (index, part) in held.parts.iter().enumerate() {
            // A cell that is gone has forgotten these units too.
            if let Some(cell) = cells.get_mut(&part.cell) {
                cell.correct(part.mark, &id, part.amount, charge.amount(index, part.amount));
            }
        }
        let changed = changed::<J>(&mut cells, &held.parts, |_| true);
        self.journal.note(Event::Closed { entry, cells: changed });
        holds.closed.add(id);
        Settled::Done
    }

    /// See [`crate::Ledger::renew`].
    pub fn renew(&self, hold: &str, lease_ms: u64, now: u64) -> bool {
        let mut holds = self.holds(hold);
        let Some(held) = holds.open.get_mut(hold).filter(|held| held.until_ms > now) else { return false };
        held.lease_ms = held.lease_ms.max(lease_ms);
        let until_ms = held.until_ms.max(now.saturating_add(lease_ms));
        self.move_lease(hold, held, until_ms);
        true
    }

    fn move_lease(&self, hold: &str, held: &mut Held, until_ms: u64) {
        held.until_ms = until_ms;
        let mut cells = self.cells.lock(held.parts.iter().map(|part| &*part.cell));
        let moved = changed_by(&mut cells, &held.parts, |cell| cell.renew(hold, until_ms));
        self.journal.note(Event::Renewed { hold, until_ms, lease_ms: held.lease_ms, cells: moved });
    }

    /// See [`crate::Ledger::expire`]. Cells that count nothing any more are dropped on the way, some each time.
    pub fn expire(&self, now: u64) -> usize {
        let mut lost = 0_usize;
        for table in &self.holds {
            let mut holds = locked(table);
            for (id, held) in &mut holds.open {
                // no phantom refusal: after the clock went back a lease is no longer than it was.
                let lease_end = now.saturating_add(held.lease_ms);
                if held.until_ms > lease_end.saturating_add(GRACE_MS) {
                    self.move_lease(id, held, lease_end);
                }
            }
            let over: Vec<_> = holds.open.extract_if(|_, held| held.until_ms <= now).collect();
            lost = lost.saturating_add(over.len());
            over.into_iter().for_each(|(id, held)| self.lose(&mut holds, id, &held));
        }
        let before = now.saturating_sub(GRACE_MS);
        self.horizon_ms.fetch_max(before, Ordering::Relaxed);
        let hand = self.hand.fetch_add(SWEPT, Ordering::Relaxed);
        for round in hand..hand.saturating_add(SWEPT) {
            self.cells.sweep(round, |cell| !cell.is_over(before));
        }
        lost
    }

    /// Closes a hold whose lease has passed. What it held stays charged; slots end by their leases.
    fn lose(&self, holds: &mut Holds, id: Arc<str>, held: &Held) {
        self.journal.note(Event::Closed { entry: &held.entry, cells: Vec::new() });
        holds.closed.add(id);
    }

    /// See [`crate::Ledger::standings`].
    pub fn standings(&self, claims: &[Claim], now: u64) -> Vec<Standing> {
        let mut cells = self.cells.lock(claims.iter().map(|claim| &*claim.cell));
        self.standings_in(&mut cells, claims, now)
    }

    fn standings_in(&self, cells: &mut Locked<'_, Box<Cell>>, claims: &[Claim], now: u64) -> Vec<Standing> {
        let standing = |claim: &Claim| {
            let limit = claim.rule.limit();
            self.with(cells, claim, now, |cell| cell.standing(limit, now))
        };
        claims.iter().map(standing).collect()
    }

    /// Asks the claim's cell as `now` finds it, or the cell it would begin with.
    fn with<T>(
        &self,
        cells: &mut Locked<'_, Box<Cell>>,
        claim: &Claim,
        now: u64,
        ask: impl FnOnce(&Cell) -> T,
    ) -> T {
        if let Some(cell) = cells.get_mut(&claim.cell) {
            cell.observe(claim.rule, now);
            return ask(cell);
        }
        let mut cell = match claim.rule {
            // never over-admit: it may have been dropped, and what it had counted with it.
            Rule::Budget { end_ms, .. } if end_ms <= self.horizon_ms.load(Ordering::Relaxed) => {
                Cell::closed(end_ms)
            }
            rule => Cell::new(rule),
        };
        cell.observe(claim.rule, now);
        ask(&cell)
    }

    /// Everything in the books as `now` finds it.
    pub fn snapshot(&self, now: u64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let mut parts: Vec<(Arc<str>, Part)> = Vec::new();
        for table in &self.holds {
            let holds = locked(table);
            for (id, held) in holds.open.iter().filter(|(_, held)| held.until_ms > now) {
                let amounts = held.parts.iter().map(|part| (part.cell.to_string(), part.amount)).collect();
                snapshot.holds.push(OpenHold { id: id.to_string(), until_ms: held.until_ms, amounts });
                parts.extend(held.parts.iter().map(|part| (Arc::clone(&part.cell), part.clone())));
            }
        }
        self.cells.for_each(|name, cell| {
            let cell = cell.seen(now);
            let mine = parts.iter().filter(|(of, part)| of == name && cell.counts(part.mark));
            let held = mine.fold(0_u64, |sum, (_, part)| sum.saturating_add(part.amount));
            snapshot.cells.push(CellState { name: name.to_string(), used: cell.used(), held });
        });
        snapshot.cells.sort_by(|a, b| a.name.cmp(&b.name));
        snapshot.holds.sort_by(|a, b| a.id.cmp(&b.id));
        snapshot
    }

    #[expect(clippy::indexing_slicing, reason = "the remainder is below the number of tables")]
    fn holds(&self, id: &str) -> MutexGuard<'_, Holds> {
        let hash = usize::try_from(self.hasher.hash_one(id).wrapping_shr(16)).unwrap_or(0);
        locked(&self.holds[hash % TABLES])
    }
}

/// Copies of the cells of these parts, if the journal wants them.
fn changed<J: Journal>(
    cells: &mut Locked<'_, Box<Cell>>,
    parts: &[Part],
    is_changed: impl Fn(&mut Cell) -> bool,
) -> Vec<(Arc<str>, Cell)> {
    if J::KEEPS_CELLS { changed_by(cells, parts, is_changed) } else { Vec::new() }
}

fn changed_by(
    cells: &mut Locked<'_, Box<Cell>>,
    parts: &[Part],
    change: impl Fn(&mut Cell) -> bool,
) -> Vec<(Arc<str>, Cell)> {
    let copy = |part: &Part| {
        let cell = cells.get_mut(&part.cell)?;
        change(cell).then(|| (Arc::clone(&part.cell), cell.as_ref().clone()))
    };
    parts.iter().filter_map(copy).collect()
}

/// What the claims up to `last` take from one cell together: a cell claimed twice must have room for both.
fn total_up_to(claims: &[Claim], last: usize, cell: &str) -> Option<u64> {
    let mut same = claims.iter().take(last.saturating_add(1)).filter(|claim| claim.cell == cell);
    same.try_fold(0_u64, |sum, claim| sum.checked_add(claim.amount))
}

/// The ids closed last.
#[derive(Default)]
struct Recent {
    ids: HashSet<Arc<str>, Quick>,
    order: VecDeque<Arc<str>>,
}

impl Recent {
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
