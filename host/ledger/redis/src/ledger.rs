//! The store as a [`Ledger`]: Redis while it is there, and what is done when it is not.

use std::pin::pin;
use std::sync::Arc;

use tollgate_ledger::{
    Charge, Claim, Condition, Entry, Hold, Ledger, Pending, Position, Raise, Reservation, Settled, Standing,
    Unavailable,
};
use tollgate_scripts::{DUE_AT_ONCE, Due, Target, When};

use crate::evaluate::evaluate;
use crate::journal::Line;
use crate::link::Failure;
use crate::{Inner, Redis};

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

    fn raise<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Raise> {
        Box::pin(self.inner.raise(hold, now))
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
        let call = self.calls(now).reserve(&target, hold)?;
        let send = |on| {
            // Noted first: when the answer is lost, it may have been granted all the same.
            self.known.note(id, cells, hold.claims, hold.lease_ms);
            evaluate(on, call)
        };
        match self.link.run(send).await {
            Ok(reservation) => {
                if let Reservation::Limited { .. } = reservation {
                    self.known.forget(id);
                }
                Ok(reservation)
            }
            Err(Failure::Down(why)) => self.share.reserve(hold, why, now),
            Err(Failure::Refused(why)) => {
                self.known.forget(id);
                Err(why)
            }
        }
    }

    async fn raise(&self, hold: Hold<'_>, now: u64) -> Result<Raise, Unavailable> {
        let id = &hold.entry.request_id;
        if self.share.has(id) {
            return self.share.raise(hold, Unavailable::new("a budget was claimed later"), now);
        }
        let key = self.names.hold(id)?;
        let cells: Arc<[String]> = hold.claims.iter().map(|claim| self.names.cell(&claim.cell)).collect();
        let target = Target { id, key: &key, cells: Arc::clone(&cells) };
        match self.link.ask(self.calls(now).raise(&target, hold)?).await {
            Ok(raise) => {
                if let Raise::Granted { .. } = raise
                    && let Some(added) = self.known.raised(id, hold.claims, hold.lease_ms)
                {
                    // never over-admit: Redis has it now, and the share counts what it gave for its period.
                    self.share.settle_added(hold.entry, &added, Charge::Held, now);
                }
                Ok(raise)
            }
            Err(Failure::Down(why)) => self.add_locally(hold, &cells, why, now),
            Err(Failure::Refused(why)) => Err(why),
        }
    }

    /// Has the share hold what a hold in Redis is raised by while Redis is down. It is not moved to Redis: there the
    /// settlement says what it really cost.
    fn add_locally(
        &self,
        hold: Hold<'_>,
        cells: &[String],
        down: Unavailable,
        now: u64,
    ) -> Result<Raise, Unavailable> {
        let id = &hold.entry.request_id;
        let Some(mut added) = self.known.addition(id) else { return Err(down) };
        if *self.known.cells(id) != *cells {
            return Ok(Raise::Gone);
        }
        let raise = self.share.add(hold, &added, down, now)?;
        if let Raise::Granted { .. } = raise {
            for (total, claim) in added.total.iter_mut().zip(hold.claims) {
                *total = claim.amount.max(*total);
            }
            self.known.add(id, added);
            self.known.renewed(id, hold.lease_ms);
        }
        Ok(raise)
    }

    async fn renew(&self, id: &str, lease_ms: u64, now: u64) -> Result<bool, Unavailable> {
        if self.share.has(id) {
            return Ok(self.share.renew(id, lease_ms, now));
        }
        if let Some(added) = self.known.added(id) {
            self.share.renew(&added.name, lease_ms, now);
        }
        let key = self.names.hold(id)?;
        let target = Target { id, key: &key, cells: self.known.cells(id) };
        let renewed = self.link.ask(self.calls(now).renew(&target, lease_ms)).await?;
        if renewed {
            self.known.renewed(id, lease_ms);
        }
        Ok(renewed)
    }

    /// Writes the row of an exchange whose hold Redis has lost. settle once: the row is there, once; the counters do
    /// not have what the hold took from them, for they were lost with it.
    async fn write_lost(&self, entry: &Entry, key: &str, now: u64) -> Result<Settled, Unavailable> {
        let target = Target { id: &entry.request_id, key, cells: Arc::from([]) };
        match self.link.ask(self.calls(now).record(&target, entry)?).await {
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
        let target = Target { id, key: &key, cells: self.known.cells(id) };
        let added = self.known.added(id);
        let charge = match &added {
            Some(added) => {
                self.share.settle_added(entry, added, charge, now);
                // What the share added was held as well.
                if charge == Charge::Held { Charge::Amounts(&added.total) } else { charge }
            }
            None => charge,
        };
        let settlement = (&**entry, charge, When::Now);
        match self.link.ask(self.calls(now).settle(&target, settlement)?).await {
            // It was granted here, so Redis has lost it: its last second in a crash, or what a replica did not have.
            Ok(Settled::Unknown) if charge != Charge::Nothing && self.known.has(id) => {
                self.known.forget(id);
                self.write_lost(entry, &key, now).await
            }
            Ok(settled) => {
                self.known.forget(id);
                Ok(settled)
            }
            Err(Failure::Refused(why)) => Err(why),
            // It was never sent to Redis: a refusal leaves nothing to write, however many there are.
            Err(Failure::Down(_)) if charge == Charge::Nothing && !self.known.has(id) => Ok(Settled::Unknown),
            Err(Failure::Down(_)) => {
                // settle once: whether or not it took effect, the journal brings it again and it has effect once.
                let line = Line::Settle { entry: Entry::clone(entry), charge: charge.into() };
                self.keep_lines(&[line]).await?;
                self.known.forget(id);
                Ok(Settled::Done)
            }
        }
    }

    async fn expire(&self, now: u64) -> Result<usize, Unavailable> {
        self.known.forget_lapsed();
        let mut lost = self.share.expire(now);
        self.keep_rows().await?;
        let calls = self.calls(now);
        loop {
            let Due { lapsed, ahead } = self.link.ask(calls.due(DUE_AT_ONCE)).await?;
            for id in &ahead {
                let key = self.names.hold(id)?;
                let target = Target { id, key: &key, cells: self.known.cells(id) };
                self.link.ask(calls.shorten(&target)).await?;
            }
            let all = ahead.is_empty() && lapsed.len() < DUE_AT_ONCE;
            if !lapsed.is_empty() {
                lost = lost.saturating_add(self.link.ask(calls.expire(lapsed)?).await?);
            }
            if all {
                return Ok(lost);
            }
        }
    }

    async fn standings(&self, claims: &[Claim], now: u64) -> Result<Vec<Standing>, Unavailable> {
        match self.link.ask(self.calls(now).standings(claims)).await {
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
