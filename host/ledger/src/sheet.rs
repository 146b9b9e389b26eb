//! Books as one value, for stores that can do no more than swap one: some cells and the holds on them as bytes, and
//! each operation as a function `(sheet, operation, now) -> (sheet, answer)`.
//!
//! Whatever is claimed together must be on one sheet, so that a swap is all or nothing. The rules are those of
//! [`Books`]: an operation reads from the sheet only what it names, lets the books decide, and writes what they
//! changed. Unlike a server's books a sheet does not remember holds that were closed: a name is used once.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize, Serializer};

use crate::books::{Books, GRACE_MS};
use crate::cell::Cell;
use crate::shelf::locked;
use crate::window::Mark;
use crate::{
    Charge, Claim, Entry, Event, Hold, Journal, Part, Position, Raise, Reservation, Restored, Settled,
    Snapshot, Standing, Take,
};

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
    let bytes = turned.sheet.as_deref().unwrap_or(sheet);
    let mut page = Page::read(bytes)?;
    let (before, cells) = (now.saturating_sub(GRACE_MS), page.cells.len());
    let is_over = |kept: &Kept<'_>| kept.cell.parse::<Cell>().is_ok_and(|cell| cell.is_over(before));
    page.cells.retain(|kept| !is_over(kept));
    if page.cells.len() < cells {
        // never over-admit: a budget that was dropped is spent, should the clock go back into it.
        page.horizon_ms = page.horizon_ms.max(before);
        turned.sheet = Some(page.write()?);
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

/// A sheet as it is written. Most of it only passes through an operation, unread.
#[derive(Default, Serialize, Deserialize)]
struct Page<'s> {
    /// Budgets that ended by then may have been dropped.
    horizon_ms: u64,
    #[serde(borrow)]
    cells: Vec<Kept<'s>>,
    #[serde(borrow)]
    holds: Vec<Open<'s>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Kept<'s> {
    #[serde(borrow)]
    name: Cow<'s, str>,
    /// As one line of text.
    #[serde(borrow)]
    cell: Cow<'s, str>,
}

#[derive(Serialize, Deserialize)]
struct Open<'s> {
    id: &'s str,
    until_ms: u64,
    lease_ms: u64,
    /// The row of the exchange if nobody settles it.
    #[serde(serialize_with = "at_once")]
    entry: &'s [u8],
    /// What is held, as [`Written`] parts.
    #[serde(serialize_with = "at_once")]
    parts: &'s [u8],
}

/// As a slice they would be written byte by byte, and most of a sheet is these.
fn at_once<S: Serializer>(bytes: &&[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

/// A part of a hold: its cell, and amount, time and moves of each take.
#[derive(Serialize, Deserialize)]
struct Written<'s> {
    cell: &'s str,
    takes: Vec<(u64, u64, u32)>,
}

/// What an operation must have before it.
enum Wanted<'w> {
    /// A hold, what it holds, and these claims.
    Of { hold: &'w str, claims: &'w [Claim] },
    /// Everything.
    All,
}

impl<'s> Page<'s> {
    fn read(sheet: &'s [u8]) -> Result<Self, NotASheet> {
        if sheet.is_empty() {
            return Ok(Self::default());
        }
        postcard::from_bytes(sheet).map_err(|_| NotASheet)
    }

    fn write(&self) -> Result<Vec<u8>, NotASheet> {
        postcard::to_allocvec(self).map_err(|_| NotASheet)
    }
}

impl Open<'_> {
    fn restored(&self) -> Result<Restored, NotASheet> {
        let entry: Entry = postcard::from_bytes(self.entry).map_err(|_| NotASheet)?;
        let written: Vec<Written<'_>> = postcard::from_bytes(self.parts).map_err(|_| NotASheet)?;
        let take = |(amount, at_ms, moves)| Take { amount, mark: Mark { at_ms, moves } };
        let part = |part: Written<'_>| Part::new(part.cell.into(), part.takes.into_iter().map(take));
        let parts = written.into_iter().map(part).collect();
        Ok(Restored { entry: Arc::new(entry), until_ms: self.until_ms, lease_ms: self.lease_ms, parts })
    }
}

/// Lets books that have what is wanted of the sheet do the operation, and writes what they changed.
fn turn<T>(
    sheet: &[u8],
    wanted: &Wanted<'_>,
    operation: impl FnOnce(&Books<Notes>) -> T,
) -> Result<Turned<T>, NotASheet> {
    let page = Page::read(sheet)?;
    let is_wanted = |open: &&Open<'_>| match wanted {
        Wanted::Of { hold, .. } => open.id == *hold,
        Wanted::All => true,
    };
    let holds: Vec<Restored> =
        page.holds.iter().filter(is_wanted).map(Open::restored).collect::<Result<_, _>>()?;
    let mut names: BTreeSet<&str> =
        holds.iter().flat_map(|hold| &hold.parts).map(|part| &*part.cell).collect();
    match wanted {
        Wanted::Of { claims, .. } => names.extend(claims.iter().map(|claim| &*claim.cell)),
        Wanted::All => names.extend(page.cells.iter().map(|kept| &*kept.name)),
    }
    let mut cells = Vec::with_capacity(names.len());
    for kept in page.cells.iter().filter(|kept| names.contains(&*kept.name)) {
        cells.push((kept.name.clone().into_owned(), kept.cell.parse::<Cell>().map_err(|_| NotASheet)?));
    }
    let books = Books::small(Notes::default());
    books.close_budgets(page.horizon_ms);
    books.fill(cells, holds);
    let answer = operation(&books);
    let noted = std::mem::take(&mut *locked(&books.journal().0));
    let sheet = if noted.is_empty() { None } else { Some(written(page, &noted)?) };
    Ok(Turned { answer, sheet, closed: noted.closed })
}

/// The page with these changes.
fn written(mut page: Page<'_>, noted: &Noted) -> Result<Vec<u8>, NotASheet> {
    for (name, cell) in &noted.cells {
        let text = Cow::Owned(cell.to_string());
        match page.cells.iter_mut().find(|kept| *kept.name == **name) {
            Some(kept) => kept.cell = text,
            None => page.cells.push(Kept { name: Cow::Owned(name.to_string()), cell: text }),
        }
    }
    let encoded = |hold: &Restored| {
        let takes = |part: &Part| {
            part.takes().iter().map(|take| (take.amount, take.mark.at_ms, take.mark.moves)).collect()
        };
        let parts: Vec<_> =
            hold.parts.iter().map(|part| Written { cell: &part.cell, takes: takes(part) }).collect();
        let entry = postcard::to_allocvec(&*hold.entry).map_err(|_| NotASheet)?;
        Ok((entry, postcard::to_allocvec(&parts).map_err(|_| NotASheet)?))
    };
    let opened: Vec<(Vec<u8>, Vec<u8>)> = noted.opened.iter().map(encoded).collect::<Result<_, _>>()?;
    let changed = |id: &str| {
        noted.closed.iter().chain(noted.opened.iter().map(|hold| &hold.entry)).any(|row| row.request_id == id)
    };
    let mut holds: Vec<Open<'_>> = page.holds.into_iter().filter(|open| !changed(open.id)).collect();
    for (hold, (entry, parts)) in noted.opened.iter().zip(&opened) {
        let Restored { until_ms, lease_ms, .. } = *hold;
        holds.push(Open { id: &hold.entry.request_id, until_ms, lease_ms, entry, parts });
    }
    for open in &mut holds {
        if let Some((_, until_ms, lease_ms)) = noted.renewed.iter().find(|(id, ..)| id == open.id) {
            (open.until_ms, open.lease_ms) = (*until_ms, *lease_ms);
        }
    }
    Page { horizon_ms: page.horizon_ms, cells: page.cells, holds }.write()
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
