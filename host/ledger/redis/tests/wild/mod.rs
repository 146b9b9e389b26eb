//! Operations wilder than any gateway's: cells that change their rule, periods that divide by nothing, leases of no
//! length, clocks that go back by more than a period, names of any text.

use std::sync::Arc;

use tollgate_contract::operations::{Call, Operation, Random, Reserved};
use tollgate_ledger::breaker::{BreakerRule, Health};
use tollgate_ledger::{Claim, Entry, Rule};

const BEGIN: u64 = 1_700_000_000_000;
const DAY: u64 = 86_400_000;

/// An endless sequence of them, the same for the same seed.
pub struct Wild {
    random: Random,
    now: u64,
    exchanges: u64,
    reserved: Reserved,
}

impl Wild {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), now: BEGIN, exchanges: 0, reserved: Reserved::default() }
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.random.below(of.len() as u64)).unwrap()]
    }

    fn pass_time(&mut self) {
        self.now += match self.random.below(60) {
            0 => self.random.below(100_000),
            1..10 => self.random.below(3_000),
            10..30 => self.random.below(40),
            _ => 0,
        };
        if self.random.below(300) == 0 {
            // Never far enough for a budget that was dropped.
            self.now -= self.one(&[1, 900, 50_000, 70_000]).min(self.now - BEGIN);
        }
    }

    /// One of the latest exchanges.
    fn exchange(&mut self) -> Arc<Entry> {
        let back = self.random.below(30).min(self.exchanges);
        let request_id = format!("hold-{}", self.exchanges - back);
        Arc::new(Entry { request_id, at_ms: self.now, ..Entry::default() })
    }

    fn claims(&mut self) -> Vec<Claim> {
        (0..self.random.below(5)).map(|_| self.claim()).collect()
    }

    fn claim(&mut self) -> Claim {
        let limit = self.one(&[0, 5, 12, 40, 1 << 50]);
        let month = BEGIN / DAY * DAY;
        let of_the_month = Rule::Budget { limit, start_ms: month, end_ms: month + 30 * DAY };
        let window = |period_ms| Rule::Window { limit, period_ms };
        let (cell, rule) = match self.random.below(8) {
            0 => ("minute", window(60_000)),
            1 => ("odd", window(self.one(&[0, 7, 29, 31, 899]))),
            2 => ("changing", window(self.one(&[500, 45_000, 90_000]))),
            3 => ("money", of_the_month),
            4 => ("upstream", Rule::Slots { limit }),
            5 => ("with \"quotes\", ü and\nlines", Rule::Slots { limit }),
            _ => ("of any kind", self.one(&[Rule::Slots { limit }, window(100), of_the_month])),
        };
        let amount = match self.random.below(12) {
            0 => 0,
            1 => 1_000_000_000 + self.random.below(1 << 40),
            _ => self.random.below(9),
        };
        Claim { cell: cell.to_owned(), rule, amount }
    }

    /// Sometimes with another rule than before: limit, period or kind.
    fn raise(&mut self, lease_ms: u64) -> Call {
        let Some(Call::Raise(entry, mut claims, lease_ms)) = self.reserved.raise(&mut self.random, lease_ms)
        else {
            return Call::Expire;
        };
        for claim in &mut claims {
            if self.random.below(6) == 0 {
                claim.rule = self.claim().rule;
            }
            if self.random.below(40) == 0 {
                claim.amount = self.one(&[u64::MAX, 1 << 53, (1 << 53) - 1, 1 << 50]);
            }
        }
        Call::Raise(entry, claims, lease_ms)
    }

    fn breaker(&mut self) -> Call {
        let name = format!("{}-{}", self.one(&["one", "ü\n"]), self.exchanges / 100);
        let rule = BreakerRule { failures: self.one(&[0, 2, 3]), open_ms: 5_000, probe_ms: 1_000 };
        if self.random.below(2) == 0 {
            return Call::Ask(name, rule);
        }
        let health = self.one(&[Health::Good, Health::Bad, Health::Bad, Health::Unknown]);
        Call::Tell(name, rule, self.random.below(8), health)
    }
}

impl Iterator for Wild {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        self.pass_time();
        let lease_ms = self.one(&[0, 50, 5_000, 100_000]);
        let call = match self.random.below(17) {
            0..6 => {
                self.exchanges += self.random.below(9).min(1);
                let (entry, claims) = (self.exchange(), self.claims());
                self.reserved.note(&entry, &claims);
                Call::Reserve(entry, claims, lease_ms)
            }
            6..8 => self.raise(lease_ms),
            8..11 => {
                let amounts = (0..self.random.below(5)).map(|_| self.random.below(14)).collect();
                Call::Settle(self.exchange(), (self.random.below(4) > 0).then_some(amounts))
            }
            11 => Call::Renew(self.exchange().request_id.clone(), lease_ms),
            12 => Call::Standings(self.claims()),
            13 => Call::Expire,
            _ => self.breaker(),
        };
        Some(Operation { now: self.now, call })
    }
}
