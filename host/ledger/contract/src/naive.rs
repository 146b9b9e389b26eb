//! A ledger so simple that it is plainly right: a list of everything that ever happened, asked anew each time.
//! It knows only clocks that go forward, and windows whose period stays the same.

use std::sync::Arc;

use tollgate_ledger::{
    Charge, Claim, Entry, Hold, MOST_UNITS, Position, Reservation, Rule, Settled, Standing,
};

/// The list.
#[derive(Default)]
pub struct Naive {
    taken: Vec<Taken>,
    holds: Vec<Lease>,
    /// Every row, in the order in which they were written.
    pub rows: Vec<Entry>,
}

struct Taken {
    hold: String,
    cell: String,
    rule: Rule,
    at: u64,
    units: u64,
    /// A slot counts no longer than this.
    until: u64,
}

struct Lease {
    entry: Arc<Entry>,
    until: u64,
    closed: bool,
}

impl Naive {
    /// See [`tollgate_ledger::Ledger::reserve`].
    pub fn reserve(&mut self, hold: Hold<'_>, now: u64) -> Reservation {
        let Hold { entry, claims, lease_ms } = hold;
        if self.lease(&entry.request_id).is_none() {
            let waits: Vec<u64> = (0..claims.len()).map(|index| self.wait(claims, index, now)).collect();
            let longest = waits.iter().copied().max().unwrap_or(0);
            if longest > 0 {
                let claim = waits.iter().position(|wait| *wait == longest).unwrap();
                let retry_after_ms = (longest < u64::MAX).then_some(longest);
                return Reservation::Limited {
                    claim,
                    retry_after_ms,
                    standings: self.standings(claims, now),
                };
            }
            for claim in claims {
                let (hold, cell) = (entry.request_id.clone(), claim.cell.clone());
                let (rule, units, until) = (claim.rule, claim.amount, now + lease_ms);
                self.taken.push(Taken { hold, cell, rule, at: now, units, until });
            }
            self.holds.push(Lease { entry: Arc::clone(entry), until: now + lease_ms, closed: false });
        }
        Reservation::Granted { standings: self.standings(claims, now), position: Position::default() }
    }

    /// See [`tollgate_ledger::Ledger::settle`].
    pub fn settle(&mut self, entry: &Arc<Entry>, charge: Charge<'_>, now: u64) -> Settled {
        let Some(lease) = self.lease(&entry.request_id) else { return Settled::Unknown };
        if lease.closed || lease.until <= now {
            self.lose(now, |lost| lost.request_id == entry.request_id);
            return Settled::Already;
        }
        lease.closed = true;
        let held = self.taken.iter_mut().filter(|taken| taken.hold == entry.request_id);
        for (index, taken) in held.enumerate() {
            taken.units = charge.amount(index, taken.units);
            taken.until = now;
        }
        self.rows.push(Entry::clone(entry));
        Settled::Done
    }

    /// See [`tollgate_ledger::Ledger::renew`].
    pub fn renew(&mut self, hold: &str, lease_ms: u64, now: u64) -> bool {
        let open = self.lease(hold).filter(|lease| !lease.closed && lease.until > now);
        let Some(lease) = open else { return false };
        lease.until = lease.until.max(now + lease_ms);
        let until = lease.until;
        self.taken.iter_mut().filter(|taken| taken.hold == hold).for_each(|taken| taken.until = until);
        true
    }

    /// See [`tollgate_ledger::Ledger::expire`].
    pub fn expire(&mut self, now: u64) -> usize {
        self.lose(now, |_| true)
    }

    /// See [`tollgate_ledger::Ledger::standings`].
    #[must_use]
    pub fn standings(&self, claims: &[Claim], now: u64) -> Vec<Standing> {
        let standing = |claim: &Claim| {
            let remaining = claim.rule.limit().saturating_sub(self.used(&claim.cell, now));
            let counted = self.taken.iter().filter(|taken| taken.cell == claim.cell && taken.units > 0);
            let reset = counted.map(Taken::forgotten).max().unwrap_or(0);
            Standing { remaining, reset_ms: reset.saturating_sub(now) }
        };
        claims.iter().map(standing).collect()
    }

    /// Units that the cell counts.
    #[must_use]
    pub fn used(&self, cell: &str, now: u64) -> u64 {
        let counted = self.taken.iter().filter(|taken| taken.cell == cell && taken.forgotten() > now);
        counted.map(|taken| u128::from(taken.units)).sum::<u128>().min(MOST_UNITS.into()) as u64
    }

    /// Units of every row and of every open hold that count in the cell, whenever that was.
    #[must_use]
    pub fn ever(&self, cell: &str) -> u64 {
        self.taken.iter().filter(|taken| taken.cell == cell).map(|taken| taken.units).sum()
    }

    fn lease(&mut self, hold: &str) -> Option<&mut Lease> {
        self.holds.iter_mut().find(|lease| lease.entry.request_id == hold)
    }

    fn lose(&mut self, now: u64, which: impl Fn(&Entry) -> bool) -> usize {
        let over = |lease: &&mut Lease| !lease.closed && lease.until <= now && which(&lease.entry);
        let lost: Vec<&mut Lease> = self.holds.iter_mut().filter(over).collect();
        let number = lost.len();
        for lease in lost {
            lease.closed = true;
            self.rows.push(Entry::clone(&lease.entry));
        }
        number
    }

    /// Milliseconds until the claim fits together with those before it: 0 now, the largest number never.
    fn wait(&self, claims: &[Claim], index: usize, now: u64) -> u64 {
        let claim = &claims[index];
        let same = claims[..=index].iter().filter(|other| other.cell == claim.cell);
        let amount: u128 = same.map(|claim| u128::from(claim.amount)).sum();
        let mut moments = vec![now];
        let mine = self.taken.iter().filter(|taken| taken.cell == claim.cell);
        moments.extend(mine.map(Taken::forgotten).filter(|at| *at > now));
        moments.sort_unstable();
        if amount > u128::from(claim.rule.limit()) {
            return u64::MAX;
        }
        let fits = |at: &u64| u128::from(self.used(&claim.cell, *at)) + amount <= claim.rule.limit().into();
        moments.into_iter().find(fits).map_or(u64::MAX, |at| at - now)
    }
}

impl Taken {
    /// When it counts no more: a window forgets by thirtieths of its period, never early.
    fn forgotten(&self) -> u64 {
        match self.rule {
            Rule::Window { period_ms, .. } => {
                let width = period_ms.div_ceil(30);
                (self.at / width + 1) * width - 1 + period_ms
            }
            Rule::Budget { end_ms, .. } => end_ms,
            Rule::Slots { .. } => self.until,
        }
    }
}
