//! The store as a [`Ledger`]: Redis while it is there, and what is done when it is not.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tollgate_ledger::{
    Charge, Claim, Condition, Entry, Hold, Ledger, Pending, Position, Reservation, Settled, Standing,
    Unavailable,
};

use crate::calls::{DUE_AT_ONCE, Due, Target, When};
use crate::journal::Line;
use crate::link::Failure;
use crate::{Inner, Redis};

/// Which cells the holds of this gateway are in, so that a settlement is one round trip. What is not known here is
/// asked for.
#[derive(Default)]
pub struct Cells(Mutex<HashMap<String, Known>>);

struct Known {
    keys: Arc<[String]>,
    until: Instant,
}

impl Cells {
    fn remember(&self, hold: &str, keys: Arc<[String]>, lease_ms: u64) {
        if let Some(until) = end_of(lease_ms) {
            self.known().insert(hold.to_owned(), Known { keys, until });
        }
    }

    fn renew(&self, hold: &str, lease_ms: u64) {
        if let (Some(known), Some(until)) = (self.known().get_mut(hold), end_of(lease_ms)) {
            known.until = known.until.max(until);
        }
    }

    fn of(&self, hold: &str) -> Arc<[String]> {
        self.known().get(hold).map_or_else(|| Arc::from([]), |known| Arc::clone(&known.keys))
    }

    fn knows(&self, hold: &str) -> bool {
        self.known().contains_key(hold)
    }

    fn forget(&self, hold: &str) {
        self.known().remove(hold);
    }

    fn forget_lapsed(&self) {
        let now = Instant::now();
        self.known().retain(|_, known| known.until > now);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // Nothing under the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end_of(lease_ms: u64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_millis(lease_ms))
}

impl Ledger for Redis {
    fn reserve<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Reservation> {
        Box::pin(self.inner.reserve(hold, now))
    }

    /// Redis has answered, so it has what it was told; how safe it is there is `appendfsync`'s to say.
    fn durable(&self, _: Position) -> Pending<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool> {
        Box::pin(self.inner.renew(hold, lease_ms, now))
    }

    fn settle<'a>(&'a self, entry: &'a Arc<Entry>, charge: Charge<'a>, now: u64) -> Pending<'a, Settled> {
        Box::pin(self.inner.settle(entry, charge, now))
    }

    fn expire(&self, now: u64) -> Pending<'_, usize> {
        Box::pin(self.inner.expire(now))
    }

    fn standings<'a>(&'a self, claims: &'a [Claim], now: u64) -> Pending<'a, Vec<Standing>> {
        Box::pin(self.inner.standings(claims, now))
    }

    /// Waits until the journal is in Redis, or Redis is down: then the journal is on disk, and waits there.
    fn flush(&self) -> Pending<'_, ()> {
        Box::pin(self.inner.flush())
    }

    fn condition(&self) -> Condition {
        self.inner.condition()
    }
}

impl Inner {
    async fn reserve(&self, hold: Hold<'_>, now: u64) -> Result<Reservation, Unavailable> {
        let id = &hold.entry.request_id;
        let key = self.names.hold(id)?;
        if self.share.has(id) {
            // It began here, and a repetition takes nothing more.
            return self.share.reserve(hold, Unavailable::new("a budget was claimed later"), now);
        }
        let cells: Arc<[String]> = hold.claims.iter().map(|claim| self.names.cell(&claim.cell)).collect();
        let target = Target { id, key: &key, cells: Arc::clone(&cells) };
        let send = |on| {
            // Noted first: when the answer is lost, it may have been granted all the same.
            self.cells.remember(id, cells, hold.lease_ms);
            self.calls(now).reserve(on, target, hold)
        };
        match self.link.run(send).await {
            Ok(reservation) => {
                if let Reservation::Limited { .. } = reservation {
                    self.cells.forget(id);
                }
                Ok(reservation)
            }
            Err(Failure::Down(why)) => self.share.reserve(hold, why, now),
            Err(Failure::Refused(why)) => {
                self.cells.forget(id);
                Err(why)
            }
        }
    }

    async fn renew(&self, id: &str, lease_ms: u64, now: u64) -> Result<bool, Unavailable> {
        if self.share.has(id) {
            return Ok(self.share.renew(id, lease_ms, now));
        }
        let key = self.names.hold(id)?;
        let target = Target { id, key: &key, cells: self.cells.of(id) };
        let renewed = self.link.run(|on| self.calls(now).renew(on, target, lease_ms)).await?;
        if renewed {
            self.cells.renew(id, lease_ms);
        }
        Ok(renewed)
    }

    /// Writes the row of an exchange whose hold Redis has lost. settle once: the row is there, once; the counters do
    /// not have what the hold took from them, for they were lost with it.
    async fn write_lost(&self, entry: &Entry, key: &str, now: u64) -> Result<Settled, Unavailable> {
        let target = Target { id: &entry.request_id, key, cells: Arc::from([]) };
        match self.link.run(|on| self.calls(now).record(on, target, entry)).await {
            Ok(written) => {
                tracing::error!(
                    request_id = entry.request_id,
                    "Redis had lost this hold; its row is written"
                );
                Ok(written)
            }
            Err(Failure::Refused(why)) => Err(why),
            Err(Failure::Down(_)) => {
                self.keep_lines(&[Line::Record { entry: entry.clone() }]).await?;
                Ok(Settled::Done)
            }
        }
    }

    async fn settle(&self, entry: &Arc<Entry>, charge: Charge<'_>, now: u64) -> Result<Settled, Unavailable> {
        let id = &entry.request_id;
        let local = self.share.settle(entry, charge, now);
        if local != Settled::Unknown {
            self.keep_rows().await?;
            return Ok(local);
        }
        let key = self.names.hold(id)?;
        let target = Target { id, key: &key, cells: self.cells.of(id) };
        let settlement = (&**entry, charge, When::Now);
        match self.link.run(|on| self.calls(now).settle(on, target, settlement)).await {
            // It was granted here, so Redis has lost it: its last second in a crash, or what a replica did not have.
            Ok(Settled::Unknown) if charge != Charge::Nothing && self.cells.knows(id) => {
                self.cells.forget(id);
                self.write_lost(entry, &key, now).await
            }
            Ok(settled) => {
                self.cells.forget(id);
                Ok(settled)
            }
            Err(Failure::Refused(why)) => Err(why),
            // It was never sent to Redis: a refusal leaves nothing to write, however many there are.
            Err(Failure::Down(_)) if charge == Charge::Nothing && !self.cells.knows(id) => {
                Ok(Settled::Unknown)
            }
            Err(Failure::Down(_)) => {
                // settle once: whether or not it took effect, the journal brings it again and it has effect once.
                let line = Line::Settle { entry: Entry::clone(entry), charge: charge.into() };
                self.keep_lines(&[line]).await?;
                self.cells.forget(id);
                Ok(Settled::Done)
            }
        }
    }

    async fn expire(&self, now: u64) -> Result<usize, Unavailable> {
        self.cells.forget_lapsed();
        let mut lost = self.share.expire(now);
        self.keep_rows().await?;
        let calls = self.calls(now);
        loop {
            let Due { lapsed, ahead } = self.link.run(|on| calls.due(on, DUE_AT_ONCE)).await?;
            for id in &ahead {
                let key = self.names.hold(id)?;
                let target = Target { id, key: &key, cells: self.cells.of(id) };
                self.link.run(|on| calls.shorten(on, target)).await?;
            }
            let all = ahead.is_empty() && lapsed.len() < DUE_AT_ONCE;
            if !lapsed.is_empty() {
                let keys = lapsed.iter().map(|id| self.names.hold(id)).collect::<Result<Vec<_>, _>>()?;
                lost = lost.saturating_add(self.link.run(|on| calls.expire(on, lapsed, keys)).await?);
            }
            if all {
                return Ok(lost);
            }
        }
    }

    async fn standings(&self, claims: &[Claim], now: u64) -> Result<Vec<Standing>, Unavailable> {
        match self.link.run(|on| self.calls(now).standings(on, claims)).await {
            Err(Failure::Down(why)) => self.share.standings(claims, why, now),
            answer => Ok(answer?),
        }
    }

    async fn flush(&self) -> Result<(), Unavailable> {
        self.keep_rows().await?;
        loop {
            // Begun before the question, so that no answer is missed.
            let mut tried = pin!(self.tried.notified());
            tried.as_mut().enable();
            if self.journal.is_empty() || self.link.down().is_some() {
                return Ok(());
            }
            self.link.work.notify_one();
            tried.await;
        }
    }

    /// Puts the rows of exchanges that the local share granted where they survive.
    async fn keep_rows(&self) -> Result<(), Unavailable> {
        let rows = self.share.take_rows();
        if rows.is_empty() {
            return Ok(());
        }
        let line = |row: &Arc<Entry>| Line::Record { entry: Entry::clone(row) };
        let kept = self.keep_lines(&rows.iter().map(line).collect::<Vec<_>>()).await;
        if kept.is_err() {
            // It may be on the disk all the same: a row that is taken twice is written once.
            self.share.return_rows(rows);
        }
        kept
    }

    /// Keeps lines in the journal, from where they are taken to Redis.
    async fn keep_lines(&self, lines: &[Line]) -> Result<(), Unavailable> {
        self.journal.append(lines).await?;
        self.link.work.notify_one();
        Ok(())
    }
}
