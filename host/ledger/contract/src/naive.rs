//! A ledger so simple that it is plainly right: a list of everything that ever happened, asked anew each time.
//! It knows only clocks that go forward, and windows whose period stays the same.

use std::sync::Arc;

use tollgate_ledger::{
    Charge, Claim, Entry, Fit, Hold, MOST_UNITS, Position, Raise, Reservation, Rule, Settled, Standing,
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
    /// Which of the hold's claims took it.
    claim: usize,
    cell: String,
    rule: Rule,
    at: u64,
    units: u64,
    /// A slot counts no longer than this.
    until: u64,
}

struct Lease {
    entry: Arc<Entry>,
    /// The cells it claimed.
    cells: Vec<String>,
    until: u64,
    closed: bool,
}

impl Naive {
    /// See [`tollgate_ledger::Ledger::reserve`].
    pub fn reserve(&mut self, hold: Hold<'_>, now: u64) -> Reservation {
        let Hold { entry, claims, lease_ms } = hold;
        if self.lease(&entry.request_id).is_none() {
            let (claim, wait) = longest((0..claims.len()).map(|index| self.wait(claims, index, now)));
            if wait > Fit::Now {
                let standings = self.standings(claims, now);
                return Reservation::Limited { claim, retry_after_ms: told(wait), standings };
            }
            self.take(&entry.request_id, claims.iter().enumerate(), now);
            let cells = claims.iter().map(|claim| claim.cell.clone()).collect();
            self.holds.push(Lease { entry: Arc::clone(entry), cells, until: 0, closed: false });
            self.extend(&entry.request_id, now + lease_ms);
        }
        Reservation::Granted { standings: self.standings(claims, now), position: Position::default() }
    }

    /// See [`tollgate_ledger::Ledger::raise`].
    pub fn raise(&mut self, hold: Hold<'_>, now: u64) -> Raise {
        let Hold { entry, claims, lease_ms } = hold;
        let id = &entry.request_id;
        let is_of = |lease: &&mut Lease| lease.cells.iter().eq(claims.iter().map(|claim| &claim.cell));
        let open = self.lease(id).filter(|lease| !lease.closed && lease.until > now).filter(is_of);
        if open.is_none() {
            return Raise::Gone;
        }
        let held: Vec<u64> = (0..claims.len()).map(|index| self.held(id, index)).collect();
        let (mut wanted, mut more) = (claims.to_vec(), claims.to_vec());
        for (index, claim) in claims.iter().enumerate() {
            wanted[index].amount = claim.amount.max(held[index]);
            let is_slots = matches!(claim.rule, Rule::Slots { .. });
            more[index].amount = if is_slots { 0 } else { claim.amount.saturating_sub(held[index]) };
        }
        let wait = |index: usize| {
            let most = match claims[index].rule {
                Rule::Budget { limit, .. } => limit.min(MOST_UNITS),
                _ => MOST_UNITS,
            };
            match more[index].amount {
                0 => Fit::Now,
                _ if total(&wanted, index) > most.into() => Fit::Never,
                _ => self.wait(&more, index, now),
            }
        };
        let (claim, wait) = longest((0..claims.len()).map(wait));
        if wait > Fit::Now {
            let standings = self.standings(claims, now);
            return Raise::Limited { claim, retry_after_ms: told(wait), standings };
        }
        let takes = more.iter().any(|claim| claim.amount > 0);
        let asks_less = (0..claims.len()).any(|index| {
            !matches!(claims[index].rule, Rule::Slots { .. }) && claims[index].amount < held[index]
        });
        if takes || !asks_less {
            self.lease(id).unwrap().entry = Arc::clone(entry);
        }
        self.take(id, more.iter().enumerate().filter(|(_, claim)| claim.amount > 0), now);
        self.extend(id, now + lease_ms);
        Raise::Granted { standings: self.standings(claims, now), position: Position::default() }
    }

    /// See [`tollgate_ledger::Ledger::settle`].
    pub fn settle(&mut self, entry: &Arc<Entry>, charge: Charge<'_>, now: u64) -> Settled {
        let Some(lease) = self.lease(&entry.request_id) else { return Settled::Unknown };
        if lease.closed || lease.until <= now {
            self.lose(now, |lost| lost.request_id == entry.request_id);
            return Settled::Already;
        }
        lease.closed = true;
        for index in 0..lease.cells.len() {
            // What was used was used in the order in which it was taken.
            let mut rest = charge.amount(index, self.held(&entry.request_id, index));
            let mut takes: Vec<&mut Taken> = self.taken.iter_mut().filter(|it| it.is(entry, index)).collect();
            let last = takes.pop();
            for taken in takes {
                taken.units = taken.units.min(rest);
                rest -= taken.units;
            }
            if let Some(last) = last {
                last.units = rest;
            }
        }
        self.taken.iter_mut().filter(|taken| taken.hold == entry.request_id).for_each(|it| it.until = now);
        self.rows.push(Entry::clone(entry));
        Settled::Done
    }

    /// See [`tollgate_ledger::Ledger::renew`].
    pub fn renew(&mut self, hold: &str, lease_ms: u64, now: u64) -> bool {
        let open = self.lease(hold).filter(|lease| !lease.closed && lease.until > now);
        if open.is_none() {
            return false;
        }
        self.extend(hold, now + lease_ms);
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
        let counted = self.taken.iter().filter(|taken| taken.cell == cell && taken.counts(now));
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

    /// Units that a claim of a hold holds.
    fn held(&self, hold: &str, claim: usize) -> u64 {
        let mine = self.taken.iter().filter(|taken| taken.hold == hold && taken.claim == claim);
        mine.map(|taken| taken.units).sum()
    }

    fn take<'a>(&mut self, hold: &str, claims: impl Iterator<Item = (usize, &'a Claim)>, now: u64) {
        for (index, claim) in claims {
            let (hold, cell) = (hold.to_owned(), claim.cell.clone());
            let (rule, units) = (claim.rule, claim.amount);
            self.taken.push(Taken { hold, claim: index, cell, rule, at: now, units, until: 0 });
        }
    }

    /// A lease never ends earlier than it did.
    fn extend(&mut self, hold: &str, until: u64) {
        let Some(lease) = self.lease(hold) else { return };
        lease.until = lease.until.max(until);
        let until = lease.until;
        self.taken.iter_mut().filter(|taken| taken.hold == hold).for_each(|taken| taken.until = until);
    }

    /// When the claim fits together with those before it.
    fn wait(&self, claims: &[Claim], index: usize, now: u64) -> Fit {
        let claim = &claims[index];
        let (amount, limit) = (total(claims, index), u128::from(claim.rule.limit()));
        if amount > limit {
            return Fit::Never;
        }
        let fits = |at: &u64| u128::from(self.used(&claim.cell, *at)) + amount <= limit;
        if fits(&now) {
            return Fit::Now;
        }
        if let Rule::Budget { end_ms, .. } = claim.rule {
            return Fit::After(end_ms.saturating_sub(now));
        }
        let mine = self.taken.iter().filter(|taken| taken.cell == claim.cell);
        let mut moments: Vec<u64> = mine.map(Taken::forgotten).filter(|at| *at > now).collect();
        moments.sort_unstable();
        moments.into_iter().find(fits).map_or(Fit::Never, |at| Fit::After(at - now))
    }
}

/// The longest wait, and which it is: the first of several.
fn longest(waits: impl Iterator<Item = Fit>) -> (usize, Fit) {
    waits.enumerate().fold(
        (0, Fit::Now),
        |longest, (index, wait)| {
            if wait > longest.1 { (index, wait) } else { longest }
        },
    )
}

fn told(wait: Fit) -> Option<u64> {
    match wait {
        Fit::Now => Some(0),
        Fit::After(wait) => Some(wait),
        Fit::Never => None,
    }
}

/// What the claims up to this one take from its cell.
fn total(claims: &[Claim], index: usize) -> u128 {
    let same = claims[..=index].iter().filter(|claim| claim.cell == claims[index].cell);
    same.map(|claim| u128::from(claim.amount)).sum()
}

impl Taken {
    fn is(&self, entry: &Entry, claim: usize) -> bool {
        self.hold == entry.request_id && self.claim == claim
    }

    /// What was spent in a period stays spent in it.
    fn counts(&self, now: u64) -> bool {
        matches!(self.rule, Rule::Budget { .. }) || self.forgotten() > now
    }

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
