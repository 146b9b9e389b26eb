//! Every order in which a few clients can reserve, renew, settle, repeat, crash and let time pass, against the naive
//! ledger and the invariants. Deliberately broken stores are found by the same check, so the check can fail.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod naive;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use naive::Naive;
use tollgate_ledger::{Charge, Claim, Ledger, Memory, Pending, Reservation, Rule, Settled};

const LEASE: u64 = 1_000;
const NOW: u64 = 6_000_000;
const LIMIT: u64 = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    Reserve(&'static str, [u64; 2]),
    Settle(&'static str, [u64; 2]),
    Renew(&'static str),
    Pass(u64),
}
use Step::{Pass, Renew, Reserve, Settle};

#[test]
fn the_invariants_hold_in_every_interleaving() {
    let repeats = [
        vec![Reserve("a", [1, 2]), Reserve("a", [1, 2]), Settle("a", [1, 1])],
        vec![Reserve("b", [2, 1]), Settle("b", [2, 1])],
        vec![Reserve("c", [1, 1]), Renew("c"), Settle("c", [0, 3])],
        vec![Pass(LEASE - 1), Pass(1)],
    ];
    let crashes = [
        vec![Reserve("a", [2, 2])],
        vec![Reserve("b", [1, 1]), Renew("b"), Settle("b", [1, 5])],
        vec![Reserve("c", [3, 1]), Settle("c", [0, 0]), Reserve("d", [3, 1])],
        vec![Pass(LEASE), Pass(599), Pass(450)],
    ];
    let lone = [
        vec![Settle("a", [1, 1]), Reserve("a", [1, 1]), Settle("a", [1, 0]), Settle("a", [0, 0])],
        vec![Renew("a"), Pass(LEASE), Reserve("a", [1, 1])],
    ];
    for programs in [&repeats[..], &crashes, &lone] {
        let seen = explore(programs, &|| Box::new(Memory::new())).unwrap();
        assert_eq!(seen, interleavings(programs));
    }
}

#[test]
fn broken_stores_are_found() {
    let programs = [
        vec![Reserve("a", [2, 1]), Settle("a", [1, 1]), Settle("a", [1, 1])],
        vec![Reserve("b", [2, 3])],
        vec![Pass(LEASE), Pass(LEASE)],
    ];
    explore(&programs, &|| Box::new(Memory::new())).unwrap();
    for fault in
        [Fault::OneTooMany, Fault::HoldsPartly, Fault::SettlesTwice, Fault::NeverExpires, Fault::FreesAnother]
    {
        let found = explore(&programs, &|| Box::new(Broken { inner: Memory::new(), fault }));
        assert!(found.is_err(), "{fault:?} was not found");
    }
}

/// Runs every interleaving of the programs on a new store; the number of them, or the first that breaks something.
fn explore(programs: &[Vec<Step>], make: &dyn Fn() -> Box<dyn Ledger>) -> Result<usize, String> {
    let mut seen = 0;
    let mut order = Vec::new();
    visit(programs, &mut vec![0; programs.len()], &mut order, &mut |order| {
        seen += 1;
        run(order, &*make()).map_err(|broken| format!("{broken} in {order:?}"))
    })?;
    Ok(seen)
}

fn visit(
    programs: &[Vec<Step>],
    next: &mut Vec<usize>,
    order: &mut Vec<Step>,
    each: &mut dyn FnMut(&[Step]) -> Result<(), String>,
) -> Result<(), String> {
    let mut complete = true;
    for client in 0..programs.len() {
        if let Some(step) = programs[client].get(next[client]) {
            complete = false;
            next[client] += 1;
            order.push(*step);
            visit(programs, next, order, each)?;
            order.pop();
            next[client] -= 1;
        }
    }
    if complete { each(order) } else { Ok(()) }
}

fn interleavings(programs: &[Vec<Step>]) -> usize {
    let factorial = |n: usize| (1..=n).product::<usize>();
    let total = programs.iter().map(Vec::len).sum();
    programs.iter().fold(factorial(total), |all, program| all / factorial(program.len()))
}

fn claims(amounts: [u64; 2]) -> [Claim; 2] {
    let window = Rule::Window { limit: LIMIT, period_ms: 600 };
    let budget = Rule::Budget { limit: LIMIT, start_ms: NOW, end_ms: NOW + 1_000_000 };
    [
        Claim { cell: "window".into(), rule: window, amount: amounts[0] },
        Claim { cell: "budget".into(), rule: budget, amount: amounts[1] },
    ]
}

fn run(order: &[Step], ledger: &dyn Ledger) -> Result<(), String> {
    let (mut naive, mut now, mut charged) = (Naive::default(), NOW, Vec::new());
    for step in order {
        match *step {
            Pass(time) => now += time,
            Renew(hold) => {
                same("renew", ready(ledger.renew(hold, LEASE, now)), Ok(naive.renew(hold, LEASE, now)))?;
            }
            Settle(hold, real) => {
                let settled = ready(ledger.settle(hold, Charge::Amounts(&real), now)).unwrap();
                if settled == Settled::Done {
                    if charged.contains(&hold) {
                        return Err("settle once".into());
                    }
                    charged.push(hold);
                }
                same("settle", settled, naive.settle(hold, Charge::Amounts(&real), now))?;
            }
            Reserve(hold, amounts) => {
                let claims = claims(amounts);
                let answer = ready(ledger.reserve(hold, &claims, LEASE, now)).unwrap();
                let before: Vec<u64> = claims
                    .iter()
                    .map(|claim| naive.used(&claim.cell, claim.rule, now) + claim.amount)
                    .collect();
                let expected = naive.reserve(hold, &claims, LEASE, now);
                let room = before.iter().all(|used| *used <= LIMIT);
                match (&answer, &expected) {
                    (Reservation::Granted(_), Reservation::Limited { .. }) => {
                        return Err("never over-admit".into());
                    }
                    (Reservation::Limited { .. }, _) if room => return Err("no phantom refusal".into()),
                    _ => same("reserve", answer, expected)?,
                }
            }
        }
        // conservation: what is left in each cell is what the list of everything says.
        for claim in claims([LIMIT + 1, LIMIT + 1]) {
            let probe = ready(ledger.reserve("probe", std::slice::from_ref(&claim), LEASE, now)).unwrap();
            same("conservation", probe, naive.reserve("probe", std::slice::from_ref(&claim), LEASE, now))?;
        }
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, real: T, expected: T) -> Result<(), String> {
    if real == expected { Ok(()) } else { Err(format!("{what}: {real:?}, not {expected:?}")) }
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("this store never waits"),
    }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    OneTooMany,
    HoldsPartly,
    SettlesTwice,
    NeverExpires,
    FreesAnother,
}

struct Broken {
    inner: Memory,
    fault: Fault,
}

impl Ledger for Broken {
    fn reserve<'a>(
        &'a self,
        hold: &'a str,
        claims: &'a [Claim],
        lease: u64,
        now: u64,
    ) -> Pending<'a, Reservation> {
        Box::pin(async move {
            match self.fault {
                Fault::OneTooMany => {
                    let mut claims = claims.to_vec();
                    for claim in &mut claims {
                        if let Rule::Budget { limit, .. } = &mut claim.rule {
                            *limit += 1;
                        }
                    }
                    self.inner.reserve(hold, &claims, lease, now).await
                }
                Fault::HoldsPartly => {
                    let mut answer = self.inner.reserve(hold, &[], lease, now).await?;
                    for claim in claims {
                        let part = format!("{hold}-{}", claim.cell);
                        answer = self.inner.reserve(&part, std::slice::from_ref(claim), lease, now).await?;
                        if let Reservation::Limited { .. } = answer {
                            break;
                        }
                    }
                    Ok(answer)
                }
                Fault::NeverExpires => self.inner.reserve(hold, claims, u64::MAX / 2, now).await,
                Fault::FreesAnother => {
                    self.inner.settle("b", Charge::Nothing, now).await?;
                    self.inner.reserve(hold, claims, lease, now).await
                }
                Fault::SettlesTwice => self.inner.reserve(hold, claims, lease, now).await,
            }
        })
    }

    fn settle<'a>(&'a self, hold: &'a str, charge: Charge<'a>, now: u64) -> Pending<'a, Settled> {
        Box::pin(async move {
            let settled = self.inner.settle(hold, charge, now).await?;
            if matches!(self.fault, Fault::SettlesTwice) && settled == Settled::Already {
                return Ok(Settled::Done);
            }
            Ok(settled)
        })
    }

    fn renew<'a>(&'a self, hold: &'a str, lease: u64, now: u64) -> Pending<'a, bool> {
        self.inner.renew(hold, lease, now)
    }
}
