//! A ledger so simple that it is plainly right: a list of everything that ever happened, asked anew each time.
//! It knows only clocks that go forward.

use tollgate_ledger::{Charge, Claim, Reservation, Rule, Settled, Standing};

#[derive(Default)]
pub struct Naive {
    pub taken: Vec<Taken>,
    holds: Vec<(String, u64, bool)>,
}

pub struct Taken {
    hold: String,
    pub cell: String,
    pub at: u64,
    pub units: u64,
}

impl Naive {
    pub fn reserve(&mut self, hold: &str, claims: &[Claim], lease: u64, now: u64) -> Reservation {
        let known = self.holds.iter().any(|(id, until, settled)| id == hold && (*settled || *until > now));
        if !known {
            let waits: Vec<u64> = claims.iter().map(|claim| self.wait(claim, now)).collect();
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
            // An id that comes again after its lease is another hold: the old one stays charged.
            self.taken.iter_mut().filter(|taken| taken.hold == hold).for_each(|taken| taken.hold.clear());
            for claim in claims {
                let (hold, cell, at, units) = (hold.to_owned(), claim.cell.clone(), now, claim.amount);
                self.taken.push(Taken { hold, cell, at, units });
            }
            self.holds.push((hold.to_owned(), now + lease, false));
        }
        Reservation::Granted(self.standings(claims, now))
    }

    pub fn settle(&mut self, hold: &str, charge: Charge<'_>, now: u64) -> Settled {
        let Some((_, until, settled)) = self.holds.iter_mut().rev().find(|(id, ..)| id == hold) else {
            return Settled::Unknown;
        };
        if *settled || *until <= now {
            return if *settled { Settled::Already } else { Settled::Unknown };
        }
        *settled = true;
        for (index, taken) in self.taken.iter_mut().filter(|taken| taken.hold == hold).enumerate() {
            taken.units = charge.amount(index, taken.units);
        }
        Settled::Done
    }

    pub fn renew(&mut self, hold: &str, lease: u64, now: u64) -> bool {
        let mut open =
            self.holds.iter_mut().filter(|(id, until, settled)| id == hold && *until > now && !settled);
        open.next().map(|(_, until, _)| *until = (now + lease).max(*until)).is_some()
    }

    pub fn used(&self, cell: &str, rule: Rule, now: u64) -> u64 {
        let counted = self.taken.iter().filter(|taken| taken.cell == cell && forgotten(rule, taken.at) > now);
        counted.map(|taken| taken.units).sum()
    }

    /// Milliseconds until the claim fits: 0 now, the largest number never.
    fn wait(&self, claim: &Claim, now: u64) -> u64 {
        let mut moments = vec![now];
        moments.extend(self.taken.iter().map(|taken| forgotten(claim.rule, taken.at)).filter(|at| *at > now));
        moments.sort_unstable();
        let fits = |at: &u64| self.used(&claim.cell, claim.rule, *at) + claim.amount <= claim.rule.limit();
        moments.into_iter().find(fits).map_or(u64::MAX, |at| at - now)
    }

    fn standings(&self, claims: &[Claim], now: u64) -> Vec<Standing> {
        let standing = |claim: &Claim| {
            let remaining = claim.rule.limit().saturating_sub(self.used(&claim.cell, claim.rule, now));
            let counted = self.taken.iter().filter(|taken| taken.cell == claim.cell && taken.units > 0);
            let reset = counted.map(|taken| forgotten(claim.rule, taken.at)).max().unwrap_or(0);
            Standing { remaining, reset_ms: reset.saturating_sub(now) }
        };
        claims.iter().map(standing).collect()
    }
}

/// When a unit taken `at` counts no more: a window forgets by thirtieths of its period, never early.
fn forgotten(rule: Rule, at: u64) -> u64 {
    match rule {
        Rule::Window { period_ms, .. } => {
            let width = period_ms.div_ceil(30);
            (at / width + 1) * width - 1 + period_ms
        }
        Rule::Budget { end_ms, .. } => end_ms,
    }
}
