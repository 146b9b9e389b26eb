//! Books as one value, for stores that can do no more than swap one: some cells and the holds on them as bytes, and
//! each operation as a function `(sheet, operation, now) -> (sheet, answer)`.
//!
//! Whatever is claimed together must be on one sheet, so that a swap is all or nothing. The rules are those of
//! [`Books`]: an operation reads from the sheet only what it names, lets the books decide, and writes what they
//! changed. Unlike a server's books a sheet does not remember holds that were closed: a name is used once.

mod page;

use std::fmt;
use std::sync::{Arc, Mutex};

use self::page::{Head, Kept, Open, Record, counted, find, kept, read};
use crate::books::{Books, GRACE_MS};
use crate::cell::Cell;
use crate::shelf::locked;
use crate::{
    Charge, Claim, Entry, Event, Hold, Journal, Position, Raise, Reservation, Restored, Settled, Snapshot,
    Standing,
};

/// Room for a cell or for the record of a hold, in bytes: more than most take.
const ROOM: usize = 512;

/// What an operation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turned<T> {
    /// Its answer, which is true only once the new sheet has replaced the old one.
    pub answer: T,
    /// The sheet after it; none: as it was.
    pub sheet: Option<Vec<u8>>,
    /// Rows of the books that it closed.
    pub closed: Vec<Arc<Entry>>,
}

/// Bytes that are no sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASheet;

impl fmt::Display for NotASheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a sheet as the ledger writes it")
    }
}

impl std::error::Error for NotASheet {}

/// See [`crate::Ledger::reserve`]. No bytes are an empty sheet.
///
/// # Errors
/// When the bytes are no sheet; so it is for every operation.
pub fn reserve(sheet: &[u8], hold: Hold<'_>, now: u64) -> Result<Turned<Reservation>, NotASheet> {
    let wanted = Wanted::Of { hold: &hold.entry.request_id, claims: hold.claims };
    turn(sheet, &wanted, |books| books.reserve(hold, now))
}

/// See [`crate::Ledger::raise`].
///
/// # Errors
/// See [`reserve`].
pub fn raise(sheet: &[u8], hold: Hold<'_>, now: u64) -> Result<Turned<Raise>, NotASheet> {
    let wanted = Wanted::Of { hold: &hold.entry.request_id, claims: hold.claims };
    turn(sheet, &wanted, |books| books.raise(hold, now))
}

/// See [`crate::Ledger::settle`].
///
/// # Errors
/// See [`reserve`].
pub fn settle(
    sheet: &[u8],
    entry: &Arc<Entry>,
    charge: Charge<'_>,
    now: u64,
) -> Result<Turned<Settled>, NotASheet> {
    turn(sheet, &Wanted::Of { hold: &entry.request_id, claims: &[] }, |books| {
        books.settle(entry, charge, now)
    })
}

/// See [`crate::Ledger::renew`].
///
/// # Errors
/// See [`reserve`].
pub fn renew(sheet: &[u8], hold: &str, lease_ms: u64, now: u64) -> Result<Turned<bool>, NotASheet> {
    turn(sheet, &Wanted::Of { hold, claims: &[] }, |books| books.renew(hold, lease_ms, now))
}

/// See [`crate::Ledger::standings`].
///
/// # Errors
/// See [`reserve`].
pub fn standings(sheet: &[u8], claims: &[Claim], now: u64) -> Result<Vec<Standing>, NotASheet> {
    turn(sheet, &Wanted::Of { hold: "", claims }, |books| books.standings(claims, now))
        .map(|turned| turned.answer)
}

/// See [`crate::Ledger::expire`]. Cells that count nothing any more are left out of the new sheet.
///
/// # Errors
/// See [`reserve`].
pub fn expire(sheet: &[u8], now: u64) -> Result<Turned<usize>, NotASheet> {
    let mut turned = turn(sheet, &Wanted::All, |books| books.expire(now))?;
    let (mut head, holds) = read(turned.sheet.as_deref().unwrap_or(sheet))?;
    let (before, cells) = (now.saturating_sub(GRACE_MS), head.cells.len());
    let is_over = |kept: &Kept<'_>| counted(kept.cell).is_ok_and(|cell| cell.is_over(before));
    head.cells.retain(|kept| !is_over(kept));
    if head.cells.len() < cells {
        // never over-admit: a budget that was dropped is spent, should the clock go back into it.
        head.horizon_ms = head.horizon_ms.max(before);
        let mut shorter = head.write(holds.len())?;
        shorter.extend_from_slice(holds);
        turned.sheet = Some(shorter);
    }
    Ok(turned)
}

/// Everything on the sheet as `now` finds it.
///
/// # Errors
/// See [`reserve`].
pub fn snapshot(sheet: &[u8], now: u64) -> Result<Snapshot, NotASheet> {
    turn(sheet, &Wanted::All, |books| books.snapshot(now)).map(|turned| turned.answer)
}

/// What an operation must have before it.
enum Wanted<'w> {
    /// A hold, what it holds, and these claims.
    Of { hold: &'w str, claims: &'w [Claim] },
    /// Everything.
    All,
}

/// Lets books that have what is wanted of the sheet do the operation, and writes what they changed.
fn turn<T>(
    sheet: &[u8],
    wanted: &Wanted<'_>,
    operation: impl FnOnce(&Books<Notes>) -> T,
) -> Result<Turned<T>, NotASheet> {
    let (head, records) = read(sheet)?;
    let found = find(records, wanted)?;
    let holds: Vec<Restored> = found.iter().map(|record| record.open.restored()).collect::<Result<_, _>>()?;
    let is_wanted = |name: &str| match wanted {
        Wanted::Of { claims, .. } => {
            claims.iter().any(|claim| *claim.cell == *name)
                || holds.iter().flat_map(|hold| &hold.parts).any(|part| *part.cell == *name)
        }
        Wanted::All => true,
    };
    let mut cells = Vec::new();
    for kept in head.cells.iter().filter(|kept| is_wanted(kept.name)) {
        cells.push((kept.name.to_owned(), counted(kept.cell)?));
    }
    let books = Books::small(Notes::default(), cells, holds);
    books.close_budgets(head.horizon_ms);
    let answer = operation(&books);
    let noted = std::mem::take(&mut *locked(&books.journal().0));
    let sheet = if noted.is_empty() { None } else { Some(written(head, records, &found, &noted)?) };
    Ok(Turned { answer, sheet, closed: noted.closed })
}

/// The sheet with these changes, all of them to holds that were found or are new.
fn written(
    head: Head<'_>,
    records: &[u8],
    found: &[Record<'_>],
    noted: &Noted,
) -> Result<Vec<u8>, NotASheet> {
    let cells: Vec<Vec<u8>> = noted.cells.iter().map(|(_, cell)| kept(cell)).collect::<Result<_, _>>()?;
    // From here on it has these too.
    let mut head: Head<'_> = head;
    for ((name, _), cell) in noted.cells.iter().zip(&cells) {
        match head.cells.iter_mut().find(|kept| *kept.name == **name) {
            Some(kept) => kept.cell = cell,
            None => head.cells.push(Kept { name, cell }),
        }
    }
    let mut sheet = head.write(records.len().saturating_add(ROOM))?;
    let opened = |id: &str| noted.opened.iter().any(|hold| hold.entry.request_id == id);
    let closed = |id: &str| noted.closed.iter().any(|row| row.request_id == id);
    let mut passed = 0;
    for Record { id, start, end, open } in found {
        let renewed = noted.renewed.iter().find(|(renewed, ..)| renewed == id);
        if renewed.is_none() && !opened(id) && !closed(id) {
            continue;
        }
        sheet.extend_from_slice(records.get(passed..*start).ok_or(NotASheet)?);
        if let Some((_, until_ms, lease_ms)) = renewed.filter(|_| !opened(id) && !closed(id)) {
            Open { until_ms: *until_ms, lease_ms: *lease_ms, ..*open }.write(id, &mut sheet)?;
        }
        passed = *end;
    }
    sheet.extend_from_slice(records.get(passed..).ok_or(NotASheet)?);
    for hold in noted.opened.iter().filter(|hold| !closed(&hold.entry.request_id)) {
        Open::write_new(hold, &mut sheet)?;
    }
    Ok(sheet)
}

/// What the books changed.
#[derive(Default)]
struct Notes(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    cells: Vec<(Arc<str>, Cell)>,
    opened: Vec<Restored>,
    renewed: Vec<(String, u64, u64)>,
    closed: Vec<Arc<Entry>>,
}

impl Noted {
    fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.opened.is_empty() && self.renewed.is_empty() && self.closed.is_empty()
    }
}

impl Journal for Notes {
    const KEEPS_CELLS: bool = true;

    fn note(&self, event: Event<'_>) -> Position {
        let mut noted = locked(&self.0);
        match event {
            Event::Reserved { entry, until_ms, lease_ms, parts, cells }
            | Event::Raised { entry, until_ms, lease_ms, parts, cells } => {
                noted.cells.extend(cells);
                let parts = parts.to_vec();
                noted.opened.push(Restored { entry: Arc::clone(entry), until_ms, lease_ms, parts });
            }
            Event::Renewed { hold, until_ms, lease_ms, cells } => {
                noted.cells.extend(cells);
                noted.renewed.push((hold.to_owned(), until_ms, lease_ms));
            }
            Event::Closed { entry, cells } => {
                noted.cells.extend(cells);
                noted.closed.push(Arc::clone(entry));
            }
        }
        Position::default()
    }

    fn position(&self) -> Position {
        Position::default()
    }
}
