//! Random operations from a seed, and their answers in a form that two stores can be compared by.
//!
//! The numbers are those a store may meet: amounts around small limits, sometimes as large as [`MOST_UNITS`]; ids
//! that come again while they are remembered; times that mostly go forward and, if asked for, a little back.

use std::collections::VecDeque;
use std::sync::Arc;

use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::{
    Charge, Claim, Entry, Hold, MOST_UNITS, Outcome, Position, Raise, Reservation, Rule, Settled, Standing,
    Store,
};

use crate::naive::Naive;
use crate::terms::{NOW, entry, placeless};

/// One call of a store, with its time.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Milliseconds since the epoch.
    pub now: u64,
    /// Which.
    pub call: Call,
}

/// What is called.
#[derive(Clone, Debug)]
pub enum Call {
    /// [`tollgate_ledger::Ledger::reserve`] of the exchange, with its claims and the lease in milliseconds.
    Reserve(Arc<Entry>, Vec<Claim>, u64),
    /// [`tollgate_ledger::Ledger::raise`] to the claims, with the lease in milliseconds.
    Raise(Arc<Entry>, Vec<Claim>, u64),
    /// [`tollgate_ledger::Ledger::settle`] with these amounts; none: as held.
    Settle(Arc<Entry>, Option<Vec<u64>>),
    /// [`tollgate_ledger::Ledger::renew`] by so many milliseconds.
    Renew(String, u64),
    /// [`tollgate_ledger::Ledger::expire`].
    Expire,
    /// [`tollgate_ledger::Ledger::standings`].
    Standings(Vec<Claim>),
    /// [`tollgate_ledger::Breakers::ask`].
    Ask(String, BreakerRule),
    /// [`tollgate_ledger::Breakers::tell`].
    Tell(String, BreakerRule, u64, Health),
}

/// What a store answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a reservation; its position is left out.
    Reserved(Reservation),
    /// To a raise; its position is left out.
    Raised(Raise),
    /// To a settlement.
    Settled(Settled),
    /// To a renewal.
    Renewed(bool),
    /// To an expiry: how many.
    Expired(usize),
    /// To standings.
    Standings(Vec<Standing>),
    /// To a breaker that was asked.
    Passage(Passage),
    /// To a breaker that was told.
    Told,
}

/// Does it, and says what the store answered.
pub async fn apply(store: &dyn Store, operation: &Operation) -> Answer {
    let now = operation.now;
    match &operation.call {
        Call::Reserve(entry, claims, lease_ms) => {
            let hold = Hold { entry, claims, lease_ms: *lease_ms };
            Answer::Reserved(placeless(store.reserve(hold, now).await.unwrap()))
        }
        Call::Raise(entry, claims, lease_ms) => {
            let hold = Hold { entry, claims, lease_ms: *lease_ms };
            Answer::Raised(placeless_raise(store.raise(hold, now).await.unwrap()))
        }
        Call::Settle(entry, amounts) => {
            Answer::Settled(store.settle(entry, charge(amounts.as_deref()), now).await.unwrap())
        }
        Call::Renew(hold, lease_ms) => Answer::Renewed(store.renew(hold, *lease_ms, now).await.unwrap()),
        Call::Expire => Answer::Expired(store.expire(now).await.unwrap()),
        Call::Standings(claims) => Answer::Standings(store.standings(claims, now).await.unwrap()),
        Call::Ask(name, rule) => Answer::Passage(store.ask(name, *rule, now).await.unwrap()),
        Call::Tell(name, rule, generation, health) => {
            store.tell(name, *rule, *generation, *health, now).await.unwrap();
            Answer::Told
        }
    }
}

/// What the naive ledger answers. None: it knows no breakers.
pub fn apply_naively(naive: &mut Naive, operation: &Operation) -> Option<Answer> {
    let now = operation.now;
    Some(match &operation.call {
        Call::Reserve(entry, claims, lease_ms) => {
            Answer::Reserved(naive.reserve(Hold { entry, claims, lease_ms: *lease_ms }, now))
        }
        Call::Raise(entry, claims, lease_ms) => {
            Answer::Raised(naive.raise(Hold { entry, claims, lease_ms: *lease_ms }, now))
        }
        Call::Settle(entry, amounts) => Answer::Settled(naive.settle(entry, charge(amounts.as_deref()), now)),
        Call::Renew(hold, lease_ms) => Answer::Renewed(naive.renew(hold, *lease_ms, now)),
        Call::Expire => Answer::Expired(naive.expire(now)),
        Call::Standings(claims) => Answer::Standings(naive.standings(claims, now)),
        Call::Ask(..) | Call::Tell(..) => return None,
    })
}

fn charge(amounts: Option<&[u64]>) -> Charge<'_> {
    amounts.map_or(Charge::Held, Charge::Amounts)
}

/// A raise without its position, which is each store's own.
#[must_use]
pub fn placeless_raise(raise: Raise) -> Raise {
    match raise {
        Raise::Granted { standings, .. } => Raise::Granted { standings, position: Position::default() },
        other => other,
    }
}

/// What was reserved lately, and may be raised: a reservation that is refused or repeated is among them.
#[derive(Clone, Debug, Default)]
pub struct Reserved(VecDeque<(Arc<Entry>, Vec<Claim>)>);

impl Reserved {
    /// Notes a reservation.
    pub fn note(&mut self, entry: &Arc<Entry>, claims: &[Claim]) {
        self.0.truncate(11);
        self.0.push_front((Arc::clone(entry), claims.to_vec()));
    }

    /// One of them, its claims raised by a little, from the same amounts each time or from what it asked for last.
    pub fn raise(&mut self, random: &mut Random, lease_ms: u64) -> Option<Call> {
        let number = random.below(12).min(self.0.len().checked_sub(1)? as u64);
        let (entry, kept) = self.0.get_mut(number as usize)?;
        let mut claims = kept.clone();
        for claim in &mut claims {
            claim.amount += [0, 0, 1, 3, 7, 12][random.below(6) as usize];
        }
        match random.below(12) {
            // Not what it reserved.
            0 => drop(claims.pop()),
            1 => claims.reverse(),
            // Less than it may hold by now.
            2..5 => {}
            _ => kept.clone_from(&claims),
        }
        let entry = Arc::new(Entry { charge: random.below(1_000), ..Entry::clone(entry) });
        Some(Call::Raise(entry, claims, lease_ms))
    }
}

/// An endless sequence of operations, the same for the same seed.
pub struct Operations {
    random: Random,
    now: u64,
    /// Exchanges so far.
    exchanges: u64,
    reserved: Reserved,
    steady: bool,
}

impl Operations {
    /// With clocks that sometimes step back and windows whose period sometimes changes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            now: NOW,
            exchanges: 0,
            reserved: Reserved::default(),
            steady: false,
        }
    }

    /// As the naive ledger can follow them: clocks go forward, periods stay.
    #[must_use]
    pub fn steady(seed: u64) -> Self {
        Self { steady: true, ..Self::new(seed) }
    }

    fn exchange(&mut self) -> Arc<Entry> {
        // One of the latest: a store need not remember those that were closed long ago.
        let back = self.random.below(12).min(self.exchanges);
        let id = format!("hold-{}", self.exchanges - back);
        Arc::new(Entry { at_ms: self.now, ..entry(&id, self.random.below(100)) })
    }

    fn amount(&mut self) -> u64 {
        match self.random.below(60) {
            0 => MOST_UNITS - self.random.below(3),
            1 => self.random.below(1_000),
            _ => self.random.below(8),
        }
    }

    fn claims(&mut self) -> Vec<Claim> {
        let number = self.random.below(5);
        (0..number).map(|_| self.claim()).collect()
    }

    fn claim(&mut self) -> Claim {
        let limit = match self.random.below(40) {
            0 => MOST_UNITS,
            1 => u64::MAX,
            2 => 0,
            _ => 5 + self.random.below(30),
        };
        let number = self.random.below(3);
        let (cell, rule) = match self.random.below(6) {
            0 => (format!("slots-{number}"), Rule::Slots { limit }),
            1 => ("fast".to_owned(), Rule::Window { limit, period_ms: 7 }),
            2 => (format!("second-{number}"), Rule::Window { limit, period_ms: 1_000 }),
            3 => {
                let changed = !self.steady && self.random.below(20) == 0;
                let period_ms = if changed { 90_000 } else { 60_000 };
                (format!("minute-{number}"), Rule::Window { limit, period_ms })
            }
            _ => {
                let start_ms = self.now / 100_000 * 100_000;
                let rule = Rule::Budget { limit, start_ms, end_ms: start_ms + 100_000 };
                (format!("budget-{number}:{start_ms}"), rule)
            }
        };
        Claim { cell, rule, amount: self.amount() }
    }

    fn settlement(&mut self) -> Call {
        let amounts = (self.random.below(4) > 0).then(|| {
            let number = self.random.below(5);
            (0..number).map(|_| self.amount()).collect()
        });
        let mut row = Entry::clone(&self.exchange());
        row.outcome = Outcome::ALL[self.random.below(6) as usize];
        Call::Settle(Arc::new(row), amounts)
    }

    fn breaker(&mut self) -> Call {
        // Another one now and then, so that the few generations told here are those of its life.
        let name = format!("upstream-{}-{}", self.random.below(2), self.exchanges / 200);
        let rule = BreakerRule { failures: 3, open_ms: 2_000, probe_ms: 500 };
        if self.random.below(2) == 0 {
            return Call::Ask(name, rule);
        }
        let health = [Health::Good, Health::Bad, Health::Bad, Health::Bad, Health::Unknown];
        let health = health[self.random.below(5) as usize];
        Call::Tell(name, rule, self.random.below(12), health)
    }

    fn pass_time(&mut self) {
        let kind = self.random.below(40);
        let time = match kind {
            0..20 => 0,
            20..30 => self.random.below(20),
            30..36 => self.random.below(1_000),
            36..39 => self.random.below(20_000),
            _ => 100_000,
        };
        self.now += time;
        if !self.steady && self.random.below(30) == 0 {
            self.now -= self.random.below(2_000);
        }
    }
}

impl Iterator for Operations {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        self.pass_time();
        let lease_ms = [50, 3_000, 90_000][self.random.below(3) as usize];
        let call = match self.random.below(20) {
            0..7 => {
                self.exchanges += self.random.below(4).min(1);
                let (entry, claims) = (self.exchange(), self.claims());
                self.reserved.note(&entry, &claims);
                Call::Reserve(entry, claims, lease_ms)
            }
            7..11 => match self.reserved.raise(&mut self.random, lease_ms) {
                Some(raise) => raise,
                None => Call::Expire,
            },
            11..14 => self.settlement(),
            14..16 => Call::Renew(self.exchange().request_id.clone(), lease_ms),
            16 => Call::Expire,
            17 => Call::Standings(self.claims()),
            _ => self.breaker(),
        };
        Some(Operation { now: self.now, call })
    }
}

/// Random numbers from a seed: SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}
