//! The store in memory keeps the contract, agrees with the naive ledger on random histories, and forgets what is
//! over without ever stopping for long.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod contract;
mod naive;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use contract::{LEASE, MINUTE, NOW, budget, contract, window};
use naive::Naive;
use proptest::prelude::*;
use tollgate_ledger::window::Window;
use tollgate_ledger::{Charge, Claim, Fit, Ledger, Memory, Reservation, Rule, Settled};

contract!(Memory::new(), ready);

/// The answer of a future that never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the store in memory never waits"),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Reserve { hold: u8, amounts: [Option<u64>; 4], lease: u64 },
    Settle { hold: u8, real: Option<Vec<u64>> },
    Renew { hold: u8, lease: u64 },
    Wait(u64),
    Limits([u64; 4]),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amounts = prop::array::uniform4(prop::option::of(0..12_u64));
    let lease = prop_oneof![Just(50), Just(5_000), Just(100_000)];
    let wait = prop_oneof![3 => 0..50_u64, 2 => 0..3_000_u64, 1 => 0..40_000_u64, 1 => Just(200_000)];
    let step = prop_oneof![
        6 => (0..40_u8, amounts, lease.clone())
            .prop_map(|(hold, amounts, lease)| Step::Reserve { hold, amounts, lease }),
        5 => (0..40_u8, prop::option::of(prop::collection::vec(0..15_u64, 0..4)))
            .prop_map(|(hold, real)| Step::Settle { hold, real }),
        1 => (0..40_u8, lease).prop_map(|(hold, lease)| Step::Renew { hold, lease }),
        4 => wait.prop_map(Step::Wait),
        1 => prop::array::uniform4(0..40_u64).prop_map(Step::Limits),
    ];
    prop::collection::vec(step, 1..120)
}

fn rules(limits: [u64; 4]) -> [(&'static str, Rule); 4] {
    let end_ms = NOW + 1_000_000_000;
    [
        ("second", Rule::Window { limit: limits[0], period_ms: 1_000 }),
        ("minute", Rule::Window { limit: limits[1], period_ms: MINUTE }),
        ("short", Rule::Window { limit: limits[2], period_ms: 7 }),
        ("money", Rule::Budget { limit: limits[3], start_ms: NOW, end_ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// All four invariants: every answer, wait and standing is the naive ledger's, and so is every cell.
    #[test]
    fn every_history_is_the_naive_ledgers(history in steps()) {
        let (memory, mut naive) = (Memory::new(), Naive::default());
        let (mut now, mut limits) = (NOW, [10, 20, 5, 60]);
        for step in history {
            match step {
                Step::Wait(time) => now += time,
                Step::Limits(new) => limits = new,
                Step::Renew { hold, lease } => {
                    let hold = hold.to_string();
                    prop_assert_eq!(ready(memory.renew(&hold, lease, now))?, naive.renew(&hold, lease, now));
                }
                Step::Settle { hold, real } => {
                    let hold = hold.to_string();
                    let charge = real.as_deref().map_or(Charge::Held, Charge::Amounts);
                    prop_assert_eq!(ready(memory.settle(&hold, charge, now))?, naive.settle(&hold, charge, now));
                }
                Step::Reserve { hold, amounts, lease } => {
                    let hold = hold.to_string();
                    let claims: Vec<Claim> = std::iter::zip(rules(limits), amounts)
                        .filter_map(|((cell, rule), amount)| Some(Claim { cell: cell.into(), rule, amount: amount? }))
                        .collect();
                    let answer = ready(memory.reserve(&hold, &claims, lease, now))?;
                    prop_assert_eq!(&answer, &naive.reserve(&hold, &claims, lease, now));
                }
            }
            for cell in memory.snapshot(now).cells {
                let (_, rule) = rules(limits).into_iter().find(|(name, _)| *name == cell.name).unwrap();
                prop_assert_eq!(cell.used, naive.used(&cell.name, rule, now), "{}", cell.name);
                prop_assert!(cell.held <= cell.used);
            }
        }
    }

    /// However a clock is set back, in real time no trailing period ever holds more than the limit.
    #[test]
    fn never_over_admit_under_a_clock_that_goes_back(
        steps in prop::collection::vec((0..900_u64, prop_oneof![6 => Just(0), 1 => 0..50_u64, 1 => 0..5_000_u64], 1..4_u64), 1..200)
    ) {
        let (limit, period) = (6, 1_000);
        let (mut window, mut real, mut behind) = (Window::default(), 10_000_000, 0);
        let mut granted: Vec<(u64, u64)> = Vec::new();
        for (passes, back, amount) in steps {
            real += passes;
            behind += back;
            let now = real - behind;
            window.observe(period, now);
            if window.fit(limit, amount, now) == Fit::Now {
                window.take(amount);
                granted.push((real, amount));
            }
            let trailing = granted.iter().filter(|(at, _)| at + period > real);
            prop_assert!(trailing.map(|(_, amount)| amount).sum::<u64>() <= limit);
        }
    }

    /// Raising a limit never turns yes into no.
    #[test]
    fn a_higher_limit_never_refuses_more(
        taken in prop::collection::vec((0..2_000_u64, 0..10_u64), 0..40), limit in 0..60_u64, more in 0..60_u64, amount in 0..80_u64
    ) {
        let (mut window, mut now) = (Window::default(), NOW);
        for (wait, units) in taken {
            now += wait;
            window.observe(MINUTE, now);
            window.take(units);
        }
        prop_assert!(window.fit(limit + more, amount, now) <= window.fit(limit, amount, now));
    }
}

#[test]
fn cells_and_holds_that_are_over_are_dropped_as_time_passes() {
    let memory = Memory::new();
    for number in 0..3_000 {
        let claims = [window(&format!("w{number}"), 1, 1), budget(&format!("b{number}"), 1, 1)];
        ready(memory.reserve(&format!("hold-{number}"), &claims, LEASE, NOW)).unwrap();
    }
    assert_eq!(memory.snapshot(NOW).holds.len(), 3_000);
    let mut now = NOW + 40 * 86_400_000;
    for _ in 0..1_100 {
        now += 60;
        ready(memory.settle("nobody", Charge::Held, now)).unwrap();
    }
    assert_eq!(memory.snapshot(NOW), tollgate_ledger::Snapshot::default());
}

#[test]
fn never_over_admit_when_the_clock_leaves_a_period_and_comes_back() {
    let memory = Memory::new();
    let claims = [budget("b", 10, 10)];
    ready(memory.reserve("one", &claims, LEASE, NOW)).unwrap();
    let month = NOW + 31 * 86_400_000;
    for step in 0..1_100 {
        ready(memory.settle("nobody", Charge::Held, month + step * 60)).unwrap();
    }
    assert!(memory.snapshot(month).cells.is_empty());
    let answer = ready(memory.reserve("two", &claims, LEASE, NOW + 5)).unwrap();
    assert!(
        matches!(answer, Reservation::Limited { retry_after_ms: Some(wait), .. } if wait == 86_400_000 - 5)
    );
}

#[test]
fn no_phantom_refusal_by_a_lease_granted_before_the_clock_went_back() {
    let memory = Memory::new();
    let month = NOW + 31 * 86_400_000;
    ready(memory.reserve("one", &[window("w", 1, 1)], LEASE, month)).unwrap();
    for step in 0..1_100 {
        ready(memory.settle("nobody", Charge::Held, NOW + step * 60)).unwrap();
    }
    let holds = memory.snapshot(NOW).holds;
    assert!(holds.iter().all(|hold| hold.until_ms <= NOW + 1_100 * 60 + LEASE), "{holds:?}");
    assert!(matches!(ready(memory.reserve("two", &[window("w", 1, 1)], LEASE, NOW)).unwrap(),
        Reservation::Limited { retry_after_ms: Some(wait), .. } if wait <= MINUTE + MINUTE / 30));
}

#[test]
fn a_snapshot_is_sorted_and_tells_held_from_settled() {
    let memory = Memory::new();
    ready(memory.reserve("z", &[window("w", 9, 2), budget("b", 90, 20)], LEASE, NOW)).unwrap();
    ready(memory.reserve("a", &[window("w", 9, 3), budget("b", 90, 30)], LEASE, NOW)).unwrap();
    assert_eq!(ready(memory.settle("z", Charge::Amounts(&[1, 10]), NOW)), Ok(Settled::Done));
    let snapshot = memory.snapshot(NOW);
    let cells: Vec<_> =
        snapshot.cells.iter().map(|cell| (cell.name.as_str(), cell.used, cell.held)).collect();
    assert_eq!(cells, [("b", 40, 30), ("w", 4, 3)]);
    assert_eq!(snapshot.holds.len(), 1);
    assert_eq!(snapshot.holds[0].amounts, [("w".to_owned(), 3), ("b".to_owned(), 30)]);
    assert_eq!(memory.snapshot(NOW + LEASE).holds, []);
}

#[test]
fn never_over_admit_among_threads() {
    let memory = Memory::new();
    let claims = [window("w", 1_000, 1), budget("b", 100, 1)];
    let grants: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (memory, claims) = (&memory, &claims);
                scope.spawn(move || {
                    let tries = (0..500).map(|number| format!("hold-{thread}-{number}"));
                    let answers = tries.map(|hold| ready(memory.reserve(&hold, claims, LEASE, NOW)).unwrap());
                    answers.filter(|answer| matches!(answer, Reservation::Granted(_))).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(grants, 100);
}
