//! Runs every interleaving of a few programs on a new store each, and checks the invariants after every step.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tollgate_contract::naive::Naive;
use tollgate_contract::operations::placeless_raise;
use tollgate_contract::{all_rows, entry, placeless};
use tollgate_ledger::{Charge, Claim, Hold, Outcome, Raise, Reservation, Rule, Settled, Store};

pub const LEASE: u64 = 1_000;
const NOW: u64 = 6_000_000;
const CELLS: [&str; 4] = ["requests:key", "budget:organisation", "budget:key", "slots:key"];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Of so many units of each cell; one slot.
    Reserve(&'static str, u64),
    /// To so many units of each cell.
    More(&'static str, u64),
    /// For so many units of each cell.
    Settle(&'static str, u64),
    /// As held.
    SettleHeld(&'static str),
    Renew(&'static str),
    Expire,
    /// Milliseconds pass.
    Pass(u64),
    /// The gateway stops: none of its later steps happens.
    Crash,
}
use Step::{Crash, Expire, More, Pass, Renew, Reserve, Settle, SettleHeld};

pub struct Program {
    pub gateway: usize,
    pub steps: Vec<Step>,
}

/// Runs every interleaving of the programs, each on a new store; the number of them, or the first that breaks an
/// invariant, whose name comes first.
pub fn explore(limit: u64, programs: &[Program], make: &dyn Fn() -> Box<dyn Store>) -> Result<usize, String> {
    let mut seen = 0;
    let mut before: Vec<(usize, Step)> = Vec::new();
    visit(programs, &mut vec![0; programs.len()], &mut Vec::new(), &mut |order| {
        seen += 1;
        // Where two orders begin alike, the first one was checked.
        let checked = std::iter::zip(&before, order).take_while(|(a, b)| a == b).count();
        before = order.to_vec();
        run(limit, order, checked, &*make()).map_err(|broken| format!("{broken}, with {limit} in {order:?}"))
    })?;
    Ok(seen)
}

/// How many there are.
pub fn interleavings(programs: &[Program]) -> usize {
    let factorial = |n: usize| (1..=n).product::<usize>();
    let total = programs.iter().map(|program| program.steps.len()).sum();
    programs.iter().fold(factorial(total), |all, program| all / factorial(program.steps.len()))
}

type Order<'a> = &'a [(usize, Step)];

fn visit(
    programs: &[Program],
    next: &mut Vec<usize>,
    order: &mut Vec<(usize, Step)>,
    each: &mut dyn FnMut(Order<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let mut complete = true;
    for (client, program) in programs.iter().enumerate() {
        if let Some(step) = program.steps.get(next[client]) {
            complete = false;
            next[client] += 1;
            order.push((program.gateway, *step));
            visit(programs, next, order, each)?;
            order.pop();
            next[client] -= 1;
        }
    }
    if complete { each(order) } else { Ok(()) }
}

fn claims(limit: u64, amount: u64) -> [Claim; 4] {
    let budget = |limit| Rule::Budget { limit, start_ms: NOW, end_ms: NOW + 1_000_000 };
    let rules =
        [Rule::Window { limit, period_ms: 600 }, budget(limit + 1), budget(limit), Rule::Slots { limit }];
    std::array::from_fn(|index| Claim {
        cell: CELLS[index].into(),
        rule: rules[index],
        amount: if index == 3 { 1 } else { amount },
    })
}

/// One order of steps on one store.
struct Run<'a> {
    limit: u64,
    store: &'a dyn Store,
    naive: Naive,
    now: u64,
    /// Whoever was granted, with when its lease ends.
    leases: Vec<(&'static str, u64)>,
    closed: Vec<&'static str>,
    crashed: Vec<usize>,
}

fn run(limit: u64, order: Order<'_>, checked: usize, store: &dyn Store) -> Result<(), String> {
    let naive = Naive::default();
    let (leases, closed, crashed) = (Vec::new(), Vec::new(), Vec::new());
    let mut run = Run { limit, store, naive, now: NOW, leases, closed, crashed };
    for (number, (gateway, step)) in order.iter().enumerate() {
        if !run.crashed.contains(gateway) {
            if matches!(step, Crash) {
                run.crashed.push(*gateway);
            }
            run.step(*step)?;
            if number >= checked {
                run.check()?;
            }
        }
    }
    // Whatever is still open is lost in the end, and then there is a row for each that was granted.
    run.step(Pass(2 * LEASE))?;
    run.step(Expire)?;
    run.check()?;
    let rows = ready(all_rows(store));
    let mut ids: Vec<_> = rows.iter().map(|row| row.request_id.as_str()).collect();
    let mut granted: Vec<_> = run.leases.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    granted.sort_unstable();
    same("settle once: rows", ids, granted)
}

impl Run<'_> {
    fn step(&mut self, step: Step) -> Result<(), String> {
        let now = self.now;
        match step {
            Crash => Ok(()),
            Pass(time) => {
                self.now += time;
                Ok(())
            }
            Renew(id) => {
                let renewed = ready(self.store.renew(id, LEASE, now)).unwrap();
                if renewed {
                    let mine = self.leases.iter_mut().filter(|(of, _)| *of == id);
                    mine.for_each(|(_, until)| *until = (*until).max(now + LEASE));
                }
                same("no phantom refusal: renew", renewed, self.naive.renew(id, LEASE, now))
            }
            Settle(id, real) => self.settle(id, Charge::Amounts(&[real, real, real, 1]), real),
            SettleHeld(id) => self.settle(id, Charge::Held, 0),
            More(id, amount) => self.raise(id, amount),
            Expire => {
                let lost = ready(self.store.expire(now)).unwrap();
                let expected = self.naive.expire(now);
                // no open hold is older than its lease: what was not closed now can be renewed.
                for (id, until) in &self.leases {
                    if *until <= now && ready(self.store.renew(id, 0, now)).unwrap() {
                        return Err(format!("no phantom refusal: {id} is open after its lease"));
                    }
                }
                same("no phantom refusal: expire", lost, expected)
            }
            Reserve(id, amount) => self.reserve(id, amount),
        }
    }

    fn settle(&mut self, id: &'static str, charge: Charge<'_>, real: u64) -> Result<(), String> {
        let row =
            Arc::new(tollgate_ledger::Entry { outcome: Outcome::Completed, charge: real, ..entry(id, real) });
        let settled = ready(self.store.settle(&row, charge, self.now)).unwrap();
        if settled == Settled::Done {
            if self.closed.contains(&id) {
                return Err("settle once: settled again".into());
            }
            self.closed.push(id);
        }
        same("settle once: settle", settled, self.naive.settle(&row, charge, self.now))
    }

    fn raise(&mut self, id: &'static str, amount: u64) -> Result<(), String> {
        let now = self.now;
        let claims = claims(self.limit, amount);
        let row = Arc::new(entry(id, amount));
        let hold = Hold { entry: &row, claims: &claims, lease_ms: LEASE };
        let answer = placeless_raise(ready(self.store.raise(hold, now)).unwrap());
        let expected = self.naive.raise(hold, now);
        if let Raise::Granted { .. } = answer {
            let mine = self.leases.iter_mut().filter(|(of, _)| *of == id);
            mine.for_each(|(_, until)| *until = (*until).max(now + LEASE));
        }
        match (&answer, &expected) {
            (Raise::Granted { .. }, Raise::Limited { .. }) => Err("never over-admit: raised".into()),
            (Raise::Granted { .. }, Raise::Gone) => Err("settle once: raised what is closed".into()),
            (Raise::Limited { .. } | Raise::Gone, Raise::Granted { .. }) => {
                Err("no phantom refusal: not raised".into())
            }
            _ => same("conservation: raise", answer, expected),
        }
    }

    fn reserve(&mut self, id: &'static str, amount: u64) -> Result<(), String> {
        let now = self.now;
        let claims = claims(self.limit, amount);
        let row = Arc::new(entry(id, amount));
        let hold = Hold { entry: &row, claims: &claims, lease_ms: LEASE };
        let answer = placeless(ready(self.store.reserve(hold, now)).unwrap());
        let expected = self.naive.reserve(hold, now);
        match (&answer, &expected) {
            (Reservation::Granted { .. }, Reservation::Limited { .. }) => {
                Err("never over-admit: granted".into())
            }
            (Reservation::Limited { .. }, Reservation::Granted { .. }) => {
                Err("no phantom refusal: refused".into())
            }
            _ => {
                let new = self.leases.iter().all(|(of, _)| *of != id);
                if matches!(answer, Reservation::Granted { .. }) && new {
                    self.leases.push((id, now + LEASE));
                }
                same("conservation: reserve", answer, expected)
            }
        }
    }

    /// What is left in each cell, and every row, is what the list of everything says.
    fn check(&self) -> Result<(), String> {
        let claims = claims(self.limit + 100, 0);
        let standings = ready(self.store.standings(&claims, self.now)).unwrap();
        same("conservation: standings", standings, self.naive.standings(&claims, self.now))?;
        let mut rows = self.naive.rows.clone();
        rows.sort_by(|a, b| a.request_id.cmp(&b.request_id));
        same("settle once: rows", ready(all_rows(self.store)), rows)
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, real: T, expected: T) -> Result<(), String> {
    if real == expected { Ok(()) } else { Err(format!("{what}: {real:?}, not {expected:?}")) }
}

pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("this store never waits"),
    }
}
