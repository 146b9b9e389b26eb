//! The world of the simulation: a queue of what happens when, and the books as the world itself would keep them.

mod exchange;
mod raise;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use exchange::{Exchange, LATE, LIMITS, PERIOD, UPSTREAM};
use tollgate_contract::operations::Random;
use tollgate_contract::{NOW, all_rows, budget, rows, slots, window};
use tollgate_ledger::{Charge, Claim, Hold, Ledger, Memory, Query, Reservation, Settled};

const CLIENTS: usize = 2_500;
const GATEWAYS: usize = 4;
/// Milliseconds of virtual time in which clients come.
const HOUR: u64 = 3_600_000;
const LEASE: u64 = 30_000;
/// Nothing is spent up to here: to ask a budget what it has counted.
const PLENTY: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A client's next exchange, or the same one again after a refusal.
    Begin {
        exchange: usize,
    },
    /// The gateway renews the lease of a stream.
    Renew {
        exchange: usize,
    },
    /// The gateway holds more for a stream.
    Raise {
        exchange: usize,
    },
    /// The exchange is over, one way or another.
    End {
        exchange: usize,
    },
    Expire,
    Crash {
        gateway: usize,
    },
}

pub struct World {
    seed: u64,
    random: Random,
    store: Memory,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, usize, Event)>>,
    queued: usize,
    exchanges: Vec<Exchange>,
    /// How often each gateway crashed: what began before is gone.
    lives: [u64; GATEWAYS],
    /// The exchanges that may still count in each window and slot.
    counted: BTreeMap<String, Vec<usize>>,
    /// What each budget has settled and holds.
    spent: BTreeMap<String, u64>,
    seen: BTreeMap<&'static str, usize>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            seed,
            random: Random::new(seed),
            store: Memory::new(),
            now: NOW,
            queue: BinaryHeap::new(),
            queued: 0,
            exchanges: Vec::new(),
            lives: [0; GATEWAYS],
            counted: BTreeMap::new(),
            spent: BTreeMap::new(),
            seen: BTreeMap::new(),
        };
        for _ in 0..CLIENTS {
            for _ in 0..world.random.below(4) {
                let exchange = world.exchanges.len();
                let new =
                    Exchange::new(exchange, world.random.below(GATEWAYS as u64) as usize, &mut world.random);
                world.exchanges.push(new);
                let when = world.random.below(HOUR);
                world.after(when, Event::Begin { exchange });
            }
        }
        for _ in 0..40 {
            let (when, gateway) = (world.random.below(HOUR), world.random.below(GATEWAYS as u64) as usize);
            world.after(when, Event::Crash { gateway });
        }
        world.after(1_000, Event::Expire);
        world
    }

    fn after(&mut self, time: u64, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse((self.now + time, self.queued, event)));
    }

    fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Lets everything happen in its order.
    pub fn run(&mut self) {
        while let Some(Reverse((now, _, event))) = self.queue.pop() {
            self.now = now;
            match event {
                Event::Begin { exchange } => self.begin(exchange),
                Event::Renew { exchange } => self.renew(exchange),
                Event::Raise { exchange } => self.raise(exchange),
                Event::End { exchange } => self.end(exchange),
                Event::Crash { gateway } => {
                    self.lives[gateway] += 1;
                    self.see("crash");
                }
                Event::Expire => {
                    self.expire();
                    if !self.queue.is_empty() {
                        self.after(1_000, Event::Expire);
                    }
                }
            }
        }
    }

    /// Whether the gateway that the exchange began on still lives.
    fn lives(&self, exchange: &Exchange) -> bool {
        self.lives[exchange.gateway] == exchange.life
    }

    fn begin(&mut self, index: usize) {
        let life = self.lives[self.exchanges[index].gateway];
        let exchange = &mut self.exchanges[index];
        exchange.life = life;
        let claims = exchange.claims();
        let hold = Hold { entry: &exchange.row, claims: &claims, lease_ms: LEASE };
        let mut answer = ready(self.store.reserve(hold, self.now)).unwrap();
        if self.random.below(10) == 0 {
            // The answer was lost on the way: the same call again.
            let again = ready(self.store.reserve(hold, self.now)).unwrap();
            assert_eq!(answer, again, "seed {}: {}", self.seed, exchange.row.request_id);
            answer = again;
            self.see("repeated");
        }
        match answer {
            Reservation::Granted { .. } => self.granted(index),
            Reservation::Limited { claim, retry_after_ms, .. } => {
                self.see("refused");
                self.check_refusal(&claims[claim]);
                let tries = &mut self.exchanges[index].tries;
                *tries += 1;
                if *tries < 4
                    && let Some(wait) = retry_after_ms.filter(|wait| *wait < HOUR / 10)
                {
                    self.after(wait, Event::Begin { exchange: index });
                }
            }
        }
    }

    fn granted(&mut self, index: usize) {
        self.see("granted");
        let now = self.now;
        let exchange = &mut self.exchanges[index];
        (exchange.granted, exchange.until) = (Some(now), now + LEASE);
        let (duration, held) = (exchange.duration, exchange.held);
        exchange.takes.push((now, held));
        if held < exchange.whole {
            self.after(duration / 8, Event::Raise { exchange: index });
        }
        for claim in self.exchanges[index].claims() {
            if claim.cell.starts_with("budget") {
                *self.spent.entry(claim.cell).or_default() += held;
            } else {
                self.counted.entry(claim.cell).or_default().push(index);
            }
        }
        self.check_grant(index);
        self.after(duration, Event::End { exchange: index });
        if duration > LEASE / 3 && !self.exchanges[index].stalls {
            self.after(LEASE / 3, Event::Renew { exchange: index });
        }
    }

    /// never over-admit: with the new one, no cell has more than its limit in the trailing period.
    fn check_grant(&mut self, index: usize) {
        for claim in self.exchanges[index].claims() {
            let (used, limit) = (self.used(&claim.cell, PERIOD), claim.rule.limit());
            let (seed, now) = (self.seed, self.now);
            assert!(used <= limit, "seed {seed} at {now}: {} counts {used} of {limit}", claim.cell);
        }
    }

    /// no phantom refusal: the claim that is named has no room, or had none a moment ago if it is a window's.
    fn check_refusal(&mut self, claim: &Claim) {
        let (used, limit) = (self.used(&claim.cell, PERIOD + LATE), claim.rule.limit());
        let (seed, now) = (self.seed, self.now);
        assert!(used + claim.amount > limit, "seed {seed} at {now}: {} has {used} of {limit}", claim.cell);
    }

    /// What a cell counts: a window what was taken in the latest `period`.
    fn used(&mut self, cell: &str, period: u64) -> u64 {
        if cell.starts_with("budget") {
            return self.spent.get(cell).copied().unwrap_or(0);
        }
        let (now, exchanges, is_window) = (self.now, &self.exchanges, cell.starts_with("window"));
        let counts = |of: &usize, period| {
            let exchange = &exchanges[*of];
            // The tokens of a stream are looked at one by one.
            if cell.starts_with("window:") {
                exchange.charged.is_none() || exchange.takes.last().is_some_and(|(at, _)| at + period > now)
            } else if is_window {
                exchange.granted.is_some_and(|at| at + period > now)
            } else {
                exchange.charged.is_none() && exchange.until > now
            }
        };
        let Some(counted) = self.counted.get_mut(cell) else { return 0 };
        counted.retain(|of| counts(of, PERIOD + LATE));
        let since = now.saturating_sub(period);
        counted.iter().filter(|of| counts(of, period)).map(|of| exchanges[*of].units(cell, since)).sum()
    }

    fn renew(&mut self, index: usize) {
        let (now, exchange) = (self.now, &self.exchanges[index]);
        if exchange.charged.is_some() || !self.lives(exchange) {
            return;
        }
        let renewed = ready(self.store.renew(&exchange.row.request_id, LEASE, now)).unwrap();
        assert!(renewed, "seed {}: a live stream lost its lease", self.seed);
        self.exchanges[index].until = now + LEASE;
        self.see("renewed");
        self.after(LEASE / 3, Event::Renew { exchange: index });
    }

    fn end(&mut self, index: usize) {
        let (now, exchange) = (self.now, &self.exchanges[index]);
        if !self.lives(exchange) || exchange.has_ended {
            return;
        }
        self.exchanges[index].has_ended = true;
        let exchange = &self.exchanges[index];
        let (row, real) = (exchange.ending(), exchange.real);
        let amounts = [1, real, real, real, real, 1, 1];
        let charge = if real == 0 { Charge::Nothing } else { Charge::Amounts(&amounts) };
        let is_late = exchange.charged.is_some() || exchange.until <= now;
        let expected = if is_late { Settled::Already } else { Settled::Done };
        let settled = ready(self.store.settle(&row, charge, now)).unwrap();
        assert_eq!(settled, expected, "seed {} at {now}: {}", self.seed, row.request_id);
        if self.random.below(10) == 0 {
            // settle once: the same call again, after an answer that was lost.
            assert_eq!(ready(self.store.settle(&row, charge, now)), Ok(Settled::Already));
            self.see("repeated");
        }
        if is_late {
            self.see("late");
            self.lose(index);
        } else {
            self.see(row.outcome.as_str());
            self.close(index, real);
        }
    }

    fn expire(&mut self) {
        let now = self.now;
        let is_over = |exchange: &Exchange| {
            exchange.granted.is_some() && exchange.charged.is_none() && exchange.until <= now
        };
        let over: Vec<usize> =
            (0..self.exchanges.len()).filter(|index| is_over(&self.exchanges[*index])).collect();
        assert_eq!(ready(self.store.expire(now)), Ok(over.len()), "seed {} at {now}", self.seed);
        over.into_iter().for_each(|index| self.lose(index));
        if (now / 1_000).is_multiple_of(60) {
            // No hold is older than its lease.
            let open = self.store.snapshot(0).holds;
            assert!(open.iter().all(|hold| hold.until_ms > now), "seed {} at {now}: {open:?}", self.seed);
        }
    }

    fn lose(&mut self, index: usize) {
        if self.exchanges[index].charged.is_none() {
            self.see("lost");
            self.close(index, self.exchanges[index].held);
        }
    }

    fn close(&mut self, index: usize, charge: u64) {
        let exchange = &mut self.exchanges[index];
        exchange.charged = Some(charge);
        for claim in exchange.claims().iter().filter(|claim| claim.cell.starts_with("budget")) {
            let spent = self.spent.get_mut(&claim.cell).unwrap();
            *spent = *spent - exchange.held + charge;
        }
    }

    /// Lets every lease pass, and compares the books with the world's; says how often what was seen.
    pub fn finish(mut self) -> BTreeMap<&'static str, usize> {
        self.now += LEASE;
        self.expire();
        let seed = self.seed;
        assert_eq!(self.store.snapshot(0).holds, [], "seed {seed}");
        // settle once: one row for each exchange that was granted, with what the world charged it.
        let mut expected: Vec<(String, u64)> = self
            .exchanges
            .iter()
            .filter_map(|exchange| Some((exchange.row.request_id.clone(), exchange.charged?)))
            .collect();
        let books = ready(all_rows(&self.store));
        let mut found: Vec<(String, u64)> =
            books.iter().map(|row| (row.request_id.clone(), row.charge)).collect();
        expected.sort_unstable();
        found.sort_unstable();
        let differ: Vec<_> = std::iter::zip(&found, &expected).filter(|(a, b)| a != b).collect();
        assert!(differ.is_empty() && found.len() == expected.len(), "seed {seed}: {differ:?}");
        // conservation: the rows of a scope are what its budget has counted.
        for (cell, spent) in &self.spent {
            let scope = cell.strip_prefix("budget:").unwrap().to_owned();
            let query = Query { scope: Some(scope), limit: usize::MAX, ..Query::default() };
            let charged: u64 = ready(rows(&self.store, &query)).iter().map(|row| row.charge).sum();
            let left = ready(self.store.standings(&[budget(cell, PLENTY, 0)], self.now)).unwrap()[0];
            assert_eq!((charged, PLENTY - left.remaining), (*spent, *spent), "seed {seed}: {cell}");
        }
        self.check_room();
        self.seen
    }

    /// no phantom refusal: a period later every window and slot is free.
    fn check_room(&self) {
        let later = self.now + PERIOD + LATE;
        for cell in self.counted.keys() {
            let is_window = cell.starts_with("window");
            let claim =
                if is_window { window(cell, LIMITS.tokens, 0) } else { slots(cell, LIMITS.upstream, 0) };
            let limit = claim.rule.limit();
            let left = ready(self.store.standings(&[claim], later)).unwrap()[0].remaining;
            assert_eq!(left, limit, "seed {}: {cell}", self.seed);
        }
        assert!(self.counted.contains_key(UPSTREAM));
    }
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the store in memory never waits"),
    }
}
