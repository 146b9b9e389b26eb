//! A sheet as it is written.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::{NotASheet, ROOM, Wanted};
use crate::budget::Budget;
use crate::cell::Cell;
use crate::slots::{Lease, Slots};
use crate::window::{Mark, Window};
use crate::{Entry, Part, Restored, Take};

/// What a sheet begins with. Behind it are the open holds, each as its id and an [`Open`], both behind their lengths (four
/// bytes, little-endian): most of a sheet is these, and they pass through an operation unread and at once.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Head<'s> {
    /// Budgets that ended by then may have been dropped.
    pub(super) horizon_ms: u64,
    #[serde(borrow)]
    pub(super) cells: Vec<Kept<'s>>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Kept<'s> {
    pub(super) name: &'s str,
    /// A [`Counted`].
    #[serde(serialize_with = "at_once")]
    pub(super) cell: &'s [u8],
}

/// What a cell counts.
#[derive(Serialize, Deserialize)]
enum Counted<'s> {
    Window {
        period_ms: u64,
        latest_ms: u64,
        moves: u32,
        buckets: Vec<(u64, u64)>,
    },
    Budget {
        end_ms: u64,
        used: u64,
    },
    /// End, units and hold of each lease.
    Slots(#[serde(borrow)] Vec<(u64, u64, &'s str)>),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Open<'s> {
    pub(super) until_ms: u64,
    pub(super) lease_ms: u64,
    /// The row of the exchange if nobody settles it.
    #[serde(serialize_with = "at_once")]
    pub(super) entry: &'s [u8],
    /// What is held, as [`Written`] parts.
    #[serde(serialize_with = "at_once")]
    pub(super) parts: &'s [u8],
}

/// As a slice they would be written byte by byte.
fn at_once<S: Serializer>(bytes: &&[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

/// A part of a hold: its cell, and amount, time and moves of each take.
#[derive(Serialize, Deserialize)]
struct Written<'s> {
    cell: &'s str,
    takes: Vec<(u64, u64, u32)>,
}

/// The head of a sheet, and the records of its holds.
pub(super) fn read(sheet: &[u8]) -> Result<(Head<'_>, &[u8]), NotASheet> {
    if sheet.is_empty() {
        return Ok(Default::default());
    }
    postcard::take_from_bytes(sheet).map_err(|_| NotASheet)
}

fn bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, NotASheet> {
    postcard::to_extend(value, Vec::with_capacity(ROOM)).map_err(|_| NotASheet)
}

/// The cell that was kept.
pub(super) fn counted(cell: &[u8]) -> Result<Cell, NotASheet> {
    match postcard::from_bytes(cell).map_err(|_| NotASheet)? {
        Counted::Window { period_ms, latest_ms, moves, buckets } => {
            Window::restored(period_ms, latest_ms, moves, buckets).map(Cell::Window).ok_or(NotASheet)
        }
        Counted::Budget { end_ms, used } => Ok(Cell::Budget(Budget::new(used, end_ms))),
        Counted::Slots(leases) => {
            let lease = |(until_ms, units, hold): (_, _, &str)| Lease { hold: hold.into(), until_ms, units };
            Ok(Cell::Slots(Slots::new(leases.into_iter().map(lease).collect())))
        }
    }
}

/// A cell as it is kept.
pub(super) fn kept(cell: &Cell) -> Result<Vec<u8>, NotASheet> {
    bytes(&match cell {
        Cell::Window(window) => Counted::Window {
            period_ms: window.period_ms(),
            latest_ms: window.latest_ms(),
            moves: window.moves(),
            buckets: window.buckets().collect(),
        },
        Cell::Budget(budget) => Counted::Budget { end_ms: budget.end_ms(), used: budget.used() },
        Cell::Slots(slots) => Counted::Slots(
            slots.leases().iter().map(|lease| (lease.until_ms, lease.units, &*lease.hold)).collect(),
        ),
    })
}

impl Head<'_> {
    /// Its bytes, with room for so many more.
    pub(super) fn write(&self, more: usize) -> Result<Vec<u8>, NotASheet> {
        let size = self.cells.iter().fold(32_usize, |size, kept| {
            size.saturating_add(kept.name.len()).saturating_add(kept.cell.len()).saturating_add(8)
        });
        let room = Vec::with_capacity(size.saturating_add(more));
        postcard::to_extend(self, room).map_err(|_| NotASheet)
    }
}

/// A record of a hold among all records of a sheet.
pub(super) struct Record<'s> {
    pub(super) id: &'s str,
    /// From where to where it goes there, with what is before it.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) open: Open<'s>,
}

/// The records of a hold, or all of them.
pub(super) fn find<'s>(records: &'s [u8], wanted: &Wanted<'_>) -> Result<Vec<Record<'s>>, NotASheet> {
    let (mut found, mut rest) = (Vec::new(), records);
    while !rest.is_empty() {
        let start = records.len().saturating_sub(rest.len());
        let (id, open);
        (id, rest) = split(rest)?;
        (open, rest) = split(rest)?;
        let is_wanted = match wanted {
            Wanted::Of { hold, .. } => hold.as_bytes() == id,
            Wanted::All => true,
        };
        if is_wanted {
            let id = str::from_utf8(id).map_err(|_| NotASheet)?;
            let open = postcard::from_bytes(open).map_err(|_| NotASheet)?;
            found.push(Record { id, start, end: records.len().saturating_sub(rest.len()), open });
        }
    }
    Ok(found)
}

/// Bytes behind their length, and what follows them.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), NotASheet> {
    let (length, rest) = bytes.split_first_chunk().ok_or(NotASheet)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| NotASheet)?;
    rest.split_at_checked(length).ok_or(NotASheet)
}

/// Writes bytes behind their length.
fn join(bytes: &[u8], to: &mut Vec<u8>) -> Result<(), NotASheet> {
    to.extend_from_slice(&u32::try_from(bytes.len()).map_err(|_| NotASheet)?.to_le_bytes());
    to.extend_from_slice(bytes);
    Ok(())
}

impl Open<'_> {
    /// Writes a record.
    pub(super) fn write(&self, id: &str, to: &mut Vec<u8>) -> Result<(), NotASheet> {
        join(id.as_bytes(), to)?;
        join(&bytes(self)?, to)
    }

    /// Writes the record of a hold.
    pub(super) fn write_new(hold: &Restored, to: &mut Vec<u8>) -> Result<(), NotASheet> {
        let takes = |part: &Part| {
            part.takes().iter().map(|take| (take.amount, take.mark.at_ms, take.mark.moves)).collect()
        };
        let parts: Vec<_> =
            hold.parts.iter().map(|part| Written { cell: &part.cell, takes: takes(part) }).collect();
        let (entry, parts) = (bytes(&*hold.entry)?, bytes(&parts)?);
        let Restored { until_ms, lease_ms, .. } = *hold;
        Open { until_ms, lease_ms, entry: &entry, parts: &parts }.write(&hold.entry.request_id, to)
    }

    /// The hold of a record.
    pub(super) fn restored(&self) -> Result<Restored, NotASheet> {
        let entry: Entry = postcard::from_bytes(self.entry).map_err(|_| NotASheet)?;
        let written: Vec<Written<'_>> = postcard::from_bytes(self.parts).map_err(|_| NotASheet)?;
        let take = |(amount, at_ms, moves)| Take { amount, mark: Mark { at_ms, moves } };
        let part = |part: Written<'_>| Part::new(part.cell.into(), part.takes.into_iter().map(take));
        let parts = written.into_iter().map(part).collect();
        Ok(Restored { entry: Arc::new(entry), until_ms: self.until_ms, lease_ms: self.lease_ms, parts })
    }
}
