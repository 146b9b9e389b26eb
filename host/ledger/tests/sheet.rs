//! Books as one value agree with the store in memory on random histories, whatever is between two operations: nothing
//! is kept but the bytes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tollgate_contract::{MINUTE, NOW, entry};
use tollgate_ledger::sheet::{self, NotASheet, Turned};
use tollgate_ledger::{Charge, Claim, Hold, Ledger, Memory, Raise, Reservation, Rule, Settled};

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the store in memory never waits"),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Reserve { amounts: [Option<u64>; 4], lease: u64 },
    Raise { hold: usize, more: [u64; 4], lease: u64 },
    Settle { hold: usize, real: Option<Vec<u64>> },
    Renew { hold: usize, lease: u64 },
    Expire,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amounts = prop::array::uniform4(prop::option::of(0..12_u64));
    let lease = prop_oneof![Just(50), Just(5_000), Just(100_000)];
    let wait = prop_oneof![3 => 0..50_u64, 2 => 0..3_000_u64, 1 => 0..40_000_u64, 1 => Just(200_000)];
    let step = prop_oneof![
        6 => (amounts, lease.clone()).prop_map(|(amounts, lease)| Step::Reserve { amounts, lease }),
        4 => (0..60_usize, prop::array::uniform4(0..20_u64), lease.clone())
            .prop_map(|(hold, more, lease)| Step::Raise { hold, more, lease }),
        5 => (0..60_usize, prop::option::of(prop::collection::vec(0..15_u64, 0..5)))
            .prop_map(|(hold, real)| Step::Settle { hold, real }),
        1 => (0..60_usize, lease).prop_map(|(hold, lease)| Step::Renew { hold, lease }),
        1 => Just(Step::Expire),
        4 => wait.prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

fn claims(amounts: [Option<u64>; 4]) -> Vec<Claim> {
    let rules = [
        ("second", Rule::Window { limit: 10, period_ms: 1_000 }),
        ("minute", Rule::Window { limit: 20, period_ms: MINUTE }),
        ("money", Rule::Budget { limit: 60, start_ms: NOW, end_ms: NOW + 1_000_000_000 }),
        ("places", Rule::Slots { limit: 8 }),
    ];
    let claim = |((cell, rule), amount): ((&str, Rule), Option<u64>)| {
        Some(Claim { cell: cell.into(), rule, amount: amount? })
    };
    std::iter::zip(rules, amounts).filter_map(claim).collect()
}

/// A sheet, and the number of rows that its operations closed.
#[derive(Default)]
struct Sheet {
    bytes: Vec<u8>,
    closed: usize,
}

impl Sheet {
    fn turn<T>(&mut self, turn: impl FnOnce(&[u8]) -> Result<Turned<T>, NotASheet>) -> T {
        let Turned { answer, sheet, closed } = turn(&self.bytes).unwrap();
        self.bytes = sheet.unwrap_or_else(|| self.bytes.clone());
        self.closed += closed.len();
        answer
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// All four invariants, as the store in memory keeps them.
    #[test]
    fn every_history_is_that_of_the_store_in_memory(history in steps()) {
        let (memory, mut sheet, mut now) = (Memory::new(), Sheet::default(), NOW);
        let mut reserved: Vec<[Option<u64>; 4]> = Vec::new();
        for step in history {
            match step {
                Step::Wait(time) => now += time,
                Step::Expire => {
                    prop_assert_eq!(sheet.turn(|bytes| sheet::expire(bytes, now)), ready(memory.expire(now))?);
                }
                Step::Reserve { amounts, lease } => {
                    let row = Arc::new(entry(&reserved.len().to_string(), 9));
                    reserved.push(amounts);
                    let claims = claims(amounts);
                    let hold = Hold { entry: &row, claims: &claims, lease_ms: lease };
                    let answer: Reservation = sheet.turn(|bytes| sheet::reserve(bytes, hold, now));
                    prop_assert_eq!(answer, ready(memory.reserve(hold, now))?);
                }
                Step::Raise { hold, more, lease } => {
                    let had = reserved.get(hold).copied().unwrap_or_default();
                    let row = Arc::new(entry(&hold.to_string(), more[0]));
                    let claims = claims(std::array::from_fn(|index| had[index].map(|amount| amount + more[index])));
                    let hold = Hold { entry: &row, claims: &claims, lease_ms: lease };
                    let answer: Raise = sheet.turn(|bytes| sheet::raise(bytes, hold, now));
                    prop_assert_eq!(answer, ready(memory.raise(hold, now))?);
                }
                Step::Settle { hold, real } => {
                    let row = Arc::new(entry(&hold.to_string(), 1));
                    let charge = real.as_deref().map_or(Charge::Held, Charge::Amounts);
                    let answer = sheet.turn(|bytes| sheet::settle(bytes, &row, charge, now));
                    let expected = ready(memory.settle(&row, charge, now))?;
                    // A sheet does not remember what was closed, but for the hold that is lost by this very call.
                    prop_assert_eq!(answer == Settled::Done, expected == Settled::Done);
                }
                Step::Renew { hold, lease } => {
                    let hold = hold.to_string();
                    let answer = sheet.turn(|bytes| sheet::renew(bytes, &hold, lease, now));
                    prop_assert_eq!(answer, ready(memory.renew(&hold, lease, now))?);
                }
            }
            let (mine, theirs) = (sheet::snapshot(&sheet.bytes, now).unwrap(), memory.snapshot(now));
            prop_assert_eq!(mine.holds, theirs.holds);
            // An empty cell is as good as none.
            let some = |cells: Vec<tollgate_ledger::CellState>| -> Vec<_> {
                cells.into_iter().filter(|cell| cell.used > 0).collect()
            };
            prop_assert_eq!(some(mine.cells), some(theirs.cells));
        }
    }
}

#[test]
fn what_is_no_sheet_is_refused() {
    assert_eq!(sheet::expire(b"\x00\x01", NOW), Err(NotASheet));
    assert_eq!(sheet::snapshot(&[0xff; 40], NOW), Err(NotASheet));
}

/// INVARIANT (never over-admit): what was spent in a budget whose cell was dropped is not forgotten.
#[test]
fn never_over_admit_when_the_clock_goes_back_into_a_budget_that_was_dropped() {
    let mut sheet = Sheet::default();
    let rule = Rule::Budget { limit: 10, start_ms: NOW, end_ms: NOW + MINUTE };
    let claims = [Claim { cell: "money".into(), rule, amount: 10 }];
    let reserve = |sheet: &mut Sheet, id: &str| {
        let row = Arc::new(entry(id, 9));
        let hold = Hold { entry: &row, claims: &claims, lease_ms: 1_000 };
        sheet.turn(|bytes| sheet::reserve(bytes, hold, NOW))
    };
    assert!(matches!(reserve(&mut sheet, "one"), Reservation::Granted { .. }));
    sheet.turn(|bytes| sheet::expire(bytes, NOW + 200_000_000));
    assert_eq!(sheet::snapshot(&sheet.bytes, NOW).unwrap().cells, []);
    assert!(matches!(reserve(&mut sheet, "two"), Reservation::Limited { .. }));
}

/// Cells that count nothing and holds that are closed leave nothing behind.
#[test]
fn a_sheet_does_not_grow_with_what_is_over() {
    let mut sheet = Sheet::default();
    for round in 0..1_000_u64 {
        let now = NOW + round * MINUTE;
        let row = Arc::new(entry(&round.to_string(), 9));
        let claims = [Claim {
            cell: format!("tokens:{round}"),
            rule: Rule::Window { limit: 10, period_ms: 1_000 },
            amount: 5,
        }];
        let hold = Hold { entry: &row, claims: &claims, lease_ms: 1_000 };
        sheet.turn(|bytes| sheet::reserve(bytes, hold, now));
        if round % 2 == 0 {
            sheet.turn(|bytes| sheet::settle(bytes, &row, Charge::Held, now));
        }
        sheet.turn(|bytes| sheet::expire(bytes, now + 2_000));
    }
    assert!(sheet.bytes.len() < 1_000, "{} bytes", sheet.bytes.len());
    assert_eq!(sheet.closed, 1_000);
}
