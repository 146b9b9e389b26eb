//! The store in memory keeps the contract, agrees with the naive ledger on random histories, and forgets what is
//! over without ever stopping for long.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tollgate_contract::naive::Naive;
use tollgate_contract::operations::{Operations, apply, apply_naively};
use tollgate_contract::{
    END, LEASE, MINUTE, NOW, all_rows, budget, contract, entry, is_granted, reserve, settle, slots, window,
};
use tollgate_ledger::window::Window;
use tollgate_ledger::{
    Charge, Claim, Fit, Hold, Ledger, Memory, Reservation, Rule, Settled, Snapshot, Store,
};

contract!(Box::new(Memory::new()), ready);

/// The answer of a future that never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the store in memory never waits"),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        hold: u8,
        amounts: [Option<u64>; 5],
        lease: u64,
    },
    /// To so much more of each claim that its last reservation had.
    Raise {
        hold: u8,
        more: [u64; 5],
        lease: u64,
    },
    Settle {
        hold: u8,
        real: Option<Vec<u64>>,
    },
    Renew {
        hold: u8,
        lease: u64,
    },
    Expire,
    Wait(u64),
    Limits([u64; 5]),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amounts = prop::array::uniform5(prop::option::of(0..12_u64));
    let lease = prop_oneof![Just(50), Just(5_000), Just(100_000)];
    let wait = prop_oneof![3 => 0..50_u64, 2 => 0..3_000_u64, 1 => 0..40_000_u64, 1 => Just(200_000)];
    let step = prop_oneof![
        6 => (0..40_u8, amounts, lease.clone())
            .prop_map(|(hold, amounts, lease)| Step::Reserve { hold, amounts, lease }),
        4 => (0..40_u8, prop::array::uniform5(0..20_u64), lease.clone())
            .prop_map(|(hold, more, lease)| Step::Raise { hold, more, lease }),
        5 => (0..40_u8, prop::option::of(prop::collection::vec(0..15_u64, 0..5)))
            .prop_map(|(hold, real)| Step::Settle { hold, real }),
        1 => (0..40_u8, lease).prop_map(|(hold, lease)| Step::Renew { hold, lease }),
        1 => Just(Step::Expire),
        4 => wait.prop_map(Step::Wait),
        1 => prop::array::uniform5(0..40_u64).prop_map(Step::Limits),
    ];
    prop::collection::vec(step, 1..120)
}

fn rules(limits: [u64; 5]) -> [(&'static str, Rule); 5] {
    let end_ms = NOW + 1_000_000_000;
    [
        ("second", Rule::Window { limit: limits[0], period_ms: 1_000 }),
        ("minute", Rule::Window { limit: limits[1], period_ms: MINUTE }),
        ("short", Rule::Window { limit: limits[2], period_ms: 7 }),
        ("money", Rule::Budget { limit: limits[3], start_ms: NOW, end_ms }),
        ("places", Rule::Slots { limit: limits[4] }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// All four invariants: every answer, wait and standing is the naive ledger's, and so is every cell and row.
    #[test]
    fn every_history_is_the_naive_ledgers(history in steps()) {
        let (memory, mut naive) = (Memory::new(), Naive::default());
        let (mut now, mut limits) = (NOW, [10, 20, 5, 60, 8]);
        let mut reserved: HashMap<u8, [Option<u64>; 5]> = HashMap::new();
        let claims = |limits, amounts: [Option<u64>; 5]| -> Vec<Claim> {
            std::iter::zip(rules(limits), amounts)
                .filter_map(|((cell, rule), amount)| Some(Claim { cell: cell.into(), rule, amount: amount? }))
                .collect()
        };
        for step in history {
            match step {
                Step::Wait(time) => now += time,
                Step::Limits(new) => limits = new,
                Step::Expire => prop_assert_eq!(ready(memory.expire(now))?, naive.expire(now)),
                Step::Renew { hold, lease } => {
                    let hold = hold.to_string();
                    prop_assert_eq!(ready(memory.renew(&hold, lease, now))?, naive.renew(&hold, lease, now));
                }
                Step::Raise { hold, more, lease } => {
                    let had = reserved.get(&hold).copied().unwrap_or_default();
                    let to = std::array::from_fn(|index| had[index].map(|amount| amount + more[index]));
                    let row = Arc::new(entry(&hold.to_string(), more[0]));
                    let claims = claims(limits, to);
                    let hold = Hold { entry: &row, claims: &claims, lease_ms: lease };
                    prop_assert_eq!(ready(memory.raise(hold, now))?, naive.raise(hold, now));
                }
                Step::Settle { hold, real } => {
                    let row = Arc::new(entry(&hold.to_string(), 1));
                    let charge = real.as_deref().map_or(Charge::Held, Charge::Amounts);
                    prop_assert_eq!(ready(memory.settle(&row, charge, now))?, naive.settle(&row, charge, now));
                }
                Step::Reserve { hold, amounts, lease } => {
                    let row = Arc::new(entry(&hold.to_string(), 9));
                    reserved.insert(hold, amounts);
                    let claims = claims(limits, amounts);
                    let hold = Hold { entry: &row, claims: &claims, lease_ms: lease };
                    prop_assert_eq!(ready(memory.reserve(hold, now))?, naive.reserve(hold, now));
                }
            }
            for cell in memory.snapshot(now).cells {
                prop_assert_eq!(cell.used, naive.used(&cell.name, now), "{}", cell.name);
                prop_assert!(cell.held <= cell.used);
            }
        }
        naive.rows.sort_by(|a, b| a.request_id.cmp(&b.request_id));
        prop_assert_eq!(ready(all_rows(&memory)), naive.rows);
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
fn random_operations_are_answered_as_the_naive_ledger_does() {
    for seed in 0..8 {
        let (memory, mut naive) = (Memory::new(), Naive::default());
        for (number, operation) in Operations::steady(seed).take(1_500).enumerate() {
            let answer = ready(apply(&memory, &operation));
            if let Some(expected) = apply_naively(&mut naive, &operation) {
                assert_eq!(answer, expected, "seed {seed}, operation {number}: {operation:?}");
            }
        }
    }
}

#[test]
fn random_operations_are_answered_the_same_again_and_reach_every_answer() {
    let (first, second) = (Memory::new(), Memory::new());
    let mut seen = String::new();
    for (number, operation) in Operations::new(1).take(30_000).enumerate() {
        let answer = ready(apply(&first, &operation));
        // Where the cells lie differs from store to store.
        assert_eq!(answer, ready(apply(&second, &operation)), "operation {number}: {operation:?}");
        if number < 20_000 {
            writeln!(seen, "{answer:?}").unwrap();
        }
    }
    for answer in [
        "Reserved(Granted",
        "Reserved(Limited { claim: 0, retry_after_ms: Some",
        "Reserved(Limited { claim: 0, retry_after_ms: None",
        "Raised(Granted",
        "Raised(Limited { claim: 1, retry_after_ms: Some",
        "Raised(Limited { claim: 1, retry_after_ms: None",
        "Raised(Gone",
        "Done",
        "Already",
        "Unknown",
        "Renewed(true)",
        "Renewed(false)",
        "Expired(0)",
        "Expired(3)",
        "probe: true",
        "Wait(",
        "Standings",
    ] {
        assert!(seen.contains(answer), "{answer} was never answered");
    }
    assert_eq!(ready(all_rows(&first)).len(), ready(all_rows(&second)).len());
}

/// Lets the store look for what is over often enough to see every table.
fn expire_often(memory: &Memory, from: u64) {
    for step in 0..64 {
        ready(memory.expire(from + step * 1_000)).unwrap();
    }
}

#[test]
fn cells_and_holds_that_are_over_are_dropped_as_time_passes() {
    let memory = Memory::new();
    for number in 0..3_000 {
        let cell = |kind| format!("{kind}{number}");
        let claims = [window(&cell("w"), 1, 1), budget(&cell("b"), 1, 1), slots(&cell("s"), 1, 1)];
        assert!(is_granted(&ready(reserve(&memory, &cell("hold"), &claims, NOW))));
    }
    assert_eq!(memory.snapshot(NOW).holds.len(), 3_000);
    expire_often(&memory, NOW + 40 * 86_400_000);
    assert_eq!(memory.snapshot(NOW), Snapshot::default());
}

#[test]
fn never_over_admit_when_the_clock_leaves_a_period_and_comes_back() {
    let memory = Memory::new();
    assert!(is_granted(&ready(reserve(&memory, "one", &[budget("b", 10, 10)], NOW))));
    let month = NOW + 31 * 86_400_000;
    expire_often(&memory, month);
    assert!(memory.snapshot(month).cells.is_empty());
    let answer = ready(reserve(&memory, "two", &[budget("b", 10, 10)], NOW + 5));
    assert!(
        matches!(answer, Reservation::Limited { retry_after_ms: Some(wait), .. } if wait == END - NOW - 5)
    );
}

#[test]
fn no_phantom_refusal_by_a_lease_granted_before_the_clock_went_back() {
    let memory = Memory::new();
    let month = NOW + 31 * 86_400_000;
    let claims = [window("w", 1, 1), slots("s", 1, 1)];
    assert!(is_granted(&ready(reserve(&memory, "one", &claims, month))));
    assert_eq!(ready(memory.expire(NOW)), Ok(0));
    let holds = memory.snapshot(NOW).holds;
    assert!(holds.len() == 1 && holds[0].until_ms <= NOW + LEASE, "{holds:?}");
    for (number, claim) in claims.iter().enumerate() {
        let next = format!("next-{number}");
        let answer = ready(reserve(&memory, &next, std::slice::from_ref(claim), NOW));
        assert!(matches!(answer, Reservation::Limited { .. }), "{answer:?}");
        assert!(is_granted(&ready(reserve(&memory, &next, std::slice::from_ref(claim), NOW + LEASE))));
    }
    assert_eq!(ready(memory.expire(NOW + LEASE)), Ok(1));
}

#[test]
fn a_snapshot_is_sorted_and_tells_held_from_settled() {
    let memory = Memory::new();
    ready(reserve(&memory, "z", &[window("w", 9, 2), budget("b", 90, 20)], NOW));
    ready(reserve(&memory, "a", &[window("w", 9, 3), budget("b", 90, 30), slots("s", 5, 2)], NOW));
    assert_eq!(ready(settle(&memory, "z", Charge::Amounts(&[1, 10]), NOW)), Settled::Done);
    let snapshot = memory.snapshot(NOW);
    let cells: Vec<_> =
        snapshot.cells.iter().map(|cell| (cell.name.as_str(), cell.used, cell.held)).collect();
    assert_eq!(cells, [("b", 40, 30), ("s", 2, 2), ("w", 4, 3)]);
    assert_eq!(snapshot.holds.len(), 1);
    let amounts = [("w".to_owned(), 3), ("b".to_owned(), 30), ("s".to_owned(), 2)];
    assert_eq!(snapshot.holds[0].amounts, amounts);
    assert_eq!(memory.snapshot(NOW + LEASE).holds, []);
}

#[test]
fn every_store_can_be_named_by_its_traits_alone() {
    let store: Box<dyn Store> = Box::new(Memory::new());
    assert!(is_granted(&ready(reserve(&*store, "one", &[], NOW))));
}
