//! What every store must do, whatever keeps its books. A store's test names a way to make an empty one and to wait
//! for an answer, and gets one test for each sentence: see `memory.rs`.

use tollgate_ledger::{Charge, Claim, Ledger, Reservation, Rule, Settled, Standing};

pub const MINUTE: u64 = 60_000;
pub const LEASE: u64 = 300_000;
/// A moment at the very beginning of a bucket of a minute's window.
pub const NOW: u64 = 1_700_000_000_000 / 2_000 * 2_000;
const START: u64 = NOW - 1_000;
const END: u64 = NOW + 86_400_000;

pub fn window(cell: &str, limit: u64, amount: u64) -> Claim {
    Claim { cell: cell.into(), rule: Rule::Window { limit, period_ms: MINUTE }, amount }
}

pub fn budget(cell: &str, limit: u64, amount: u64) -> Claim {
    Claim { cell: cell.into(), rule: Rule::Budget { limit, start_ms: START, end_ms: END }, amount }
}

macro_rules! contract {
    ($make:expr, $wait:path) => {
        $crate::contract::contract!(@each $make, $wait,
            never_over_admit_is_kept_by_a_budget,
            never_over_admit_is_kept_by_a_window,
            never_over_admit_when_one_claim_of_several_does_not_fit,
            never_over_admit_when_a_cell_is_claimed_twice,
            no_phantom_refusal_after_a_settlement_gives_back,
            no_phantom_refusal_after_a_refusal,
            no_phantom_refusal_by_a_window_whose_hold_was_never_settled,
            settle_once_whatever_is_repeated,
            settle_once_when_a_reservation_is_repeated,
            settle_once_when_the_lease_has_passed,
            a_renewed_lease_can_be_settled_later,
            conservation_for_every_charge,
            usage_above_the_hold_is_charged_in_full,
            an_explicit_zero_is_zero,
            the_longest_wait_is_told_and_true,
            larger_than_the_limit_is_never,
            a_new_limit_applies_to_the_kept_cell,
            no_claims_are_always_granted,
        );
    };
    (@each $make:expr, $wait:path, $($name:ident,)*) => {
        $(#[test] fn $name() { let ledger = $make; $wait($crate::contract::$name(&ledger)); })*
    };
}
pub(crate) use contract;

async fn reserve(ledger: &dyn Ledger, hold: &str, claims: &[Claim], now: u64) -> Reservation {
    ledger.reserve(hold, claims, LEASE, now).await.unwrap()
}

async fn settle(ledger: &dyn Ledger, hold: &str, charge: Charge<'_>, now: u64) -> Settled {
    ledger.settle(hold, charge, now).await.unwrap()
}

async fn remaining(ledger: &dyn Ledger, mut claim: Claim, now: u64) -> u64 {
    claim.amount = claim.rule.limit() + 1;
    match reserve(ledger, "probe", &[claim], now).await {
        Reservation::Limited { claim: 0, retry_after_ms: None, standings } => standings[0].remaining,
        other => panic!("{other:?}"),
    }
}

fn granted(reservation: &Reservation) -> bool {
    matches!(reservation, Reservation::Granted(_))
}

pub async fn never_over_admit_is_kept_by_a_budget(ledger: &dyn Ledger) {
    for number in 0..30_u64 {
        let hold = format!("hold-{number}");
        let answer = reserve(ledger, &hold, &[budget("b", 10, 1)], NOW + number).await;
        assert_eq!(granted(&answer), number < 10);
        if number % 2 == 0 {
            settle(ledger, &hold, Charge::Held, NOW + number).await;
        }
    }
    assert_eq!(remaining(ledger, budget("b", 10, 0), NOW).await, 0);
}

pub async fn never_over_admit_is_kept_by_a_window(ledger: &dyn Ledger) {
    let mut grants = Vec::new();
    for step in 0..4_000_u64 {
        let now = NOW + step * 97;
        let hold = format!("hold-{step}");
        if granted(&reserve(ledger, &hold, &[window("w", 7, 1)], now).await) {
            settle(ledger, &hold, Charge::Held, now).await;
            grants.push(now);
            let trailing = grants.iter().filter(|at| *at + MINUTE > now).count();
            assert!(trailing <= 7);
        }
    }
    // Late by at most a thirtieth: 388 s hold six full periods.
    assert!(grants.len() >= 7 * 6, "{}", grants.len());
}

pub async fn never_over_admit_when_one_claim_of_several_does_not_fit(ledger: &dyn Ledger) {
    let claims = [window("w", 5, 1), window("t", 100, 60), budget("b", 1_000, 10)];
    assert!(granted(&reserve(ledger, "one", &claims, NOW).await));
    let Reservation::Limited { claim: 1, standings, .. } = reserve(ledger, "two", &claims, NOW).await else {
        panic!("granted")
    };
    let left: Vec<u64> = standings.iter().map(|standing| standing.remaining).collect();
    assert_eq!(left, [4, 40, 990]);
    assert_eq!(settle(ledger, "two", Charge::Held, NOW).await, Settled::Unknown);
    assert_eq!(remaining(ledger, budget("b", 1_000, 0), NOW).await, 990);
}

pub async fn never_over_admit_when_a_cell_is_claimed_twice(ledger: &dyn Ledger) {
    let twice = [budget("b", 10, 6), budget("b", 10, 6)];
    let answer = reserve(ledger, "one", &twice, NOW).await;
    assert!(matches!(answer, Reservation::Limited { claim: 1, retry_after_ms: None, .. }));
    let twice = [budget("b", 10, 4), budget("b", 10, 6)];
    assert!(granted(&reserve(ledger, "two", &twice, NOW).await));
    assert_eq!(remaining(ledger, budget("b", 10, 0), NOW).await, 0);
}

pub async fn no_phantom_refusal_after_a_settlement_gives_back(ledger: &dyn Ledger) {
    let claims = [window("w", 10, 10), budget("b", 10, 10)];
    assert!(granted(&reserve(ledger, "one", &claims, NOW).await));
    assert!(!granted(&reserve(ledger, "two", &claims, NOW).await));
    assert_eq!(settle(ledger, "one", Charge::Nothing, NOW).await, Settled::Done);
    assert!(granted(&reserve(ledger, "three", &claims, NOW).await));
}

pub async fn no_phantom_refusal_after_a_refusal(ledger: &dyn Ledger) {
    let claims = [window("w", 10, 1), budget("b", 0, 1)];
    for number in 0..20 {
        assert!(!granted(&reserve(ledger, &format!("hold-{number}"), &claims, NOW).await));
    }
    assert!(granted(&reserve(ledger, "all", &[window("w", 10, 10)], NOW).await));
}

pub async fn no_phantom_refusal_by_a_window_whose_hold_was_never_settled(ledger: &dyn Ledger) {
    assert!(granted(&reserve(ledger, "lost", &[window("w", 10, 10)], NOW).await));
    let late = NOW + MINUTE + MINUTE / 30;
    assert!(granted(&reserve(ledger, "next", &[window("w", 10, 10)], late).await));
}

pub async fn settle_once_whatever_is_repeated(ledger: &dyn Ledger) {
    assert_eq!(settle(ledger, "one", Charge::Held, NOW).await, Settled::Unknown);
    assert!(granted(&reserve(ledger, "one", &[budget("b", 10, 5)], NOW).await));
    assert_eq!(settle(ledger, "one", Charge::Amounts(&[3]), NOW).await, Settled::Done);
    assert_eq!(settle(ledger, "one", Charge::Amounts(&[3]), NOW).await, Settled::Already);
    assert_eq!(settle(ledger, "one", Charge::Nothing, NOW + 1).await, Settled::Already);
    assert!(!ledger.renew("one", LEASE, NOW).await.unwrap());
    assert_eq!(remaining(ledger, budget("b", 10, 0), NOW).await, 7);
}

pub async fn settle_once_when_a_reservation_is_repeated(ledger: &dyn Ledger) {
    for _ in 0..3 {
        let Reservation::Granted(standings) = reserve(ledger, "one", &[budget("b", 10, 6)], NOW).await else {
            panic!("refused")
        };
        assert_eq!(standings, [Standing { remaining: 4, reset_ms: END - NOW }]);
    }
    settle(ledger, "one", Charge::Amounts(&[2]), NOW).await;
    // Its settlement came first: the exchange is over and charged.
    assert!(granted(&reserve(ledger, "one", &[budget("b", 10, 6)], NOW).await));
    assert_eq!(settle(ledger, "one", Charge::Held, NOW).await, Settled::Already);
    assert_eq!(remaining(ledger, budget("b", 10, 0), NOW).await, 8);
}

pub async fn settle_once_when_the_lease_has_passed(ledger: &dyn Ledger) {
    reserve(ledger, "one", &[budget("b", 10, 6)], NOW).await;
    assert_eq!(settle(ledger, "one", Charge::Nothing, NOW + LEASE).await, Settled::Unknown);
    assert!(!ledger.renew("one", LEASE, NOW + LEASE).await.unwrap());
    assert_eq!(remaining(ledger, budget("b", 10, 0), NOW + LEASE).await, 4);
}

pub async fn a_renewed_lease_can_be_settled_later(ledger: &dyn Ledger) {
    reserve(ledger, "one", &[budget("b", 10, 6)], NOW).await;
    assert!(ledger.renew("one", LEASE, NOW + LEASE - 1).await.unwrap());
    // A shorter one never brings the end nearer.
    assert!(ledger.renew("one", 1, NOW + LEASE).await.unwrap());
    let settled = settle(ledger, "one", Charge::Nothing, NOW + 2 * LEASE - 2).await;
    assert_eq!(settled, Settled::Done);
    assert_eq!(remaining(ledger, budget("b", 10, 0), NOW).await, 10);
}

pub async fn conservation_for_every_charge(ledger: &dyn Ledger) {
    let charges =
        [(Charge::Held, 5), (Charge::Nothing, 0), (Charge::Amounts(&[3]), 3), (Charge::Amounts(&[]), 5)];
    let mut left = 1_000;
    for (number, (charge, cost)) in charges.into_iter().enumerate() {
        let hold = format!("hold-{number}");
        reserve(ledger, &hold, &[budget("b", 1_000, 5)], NOW).await;
        assert_eq!(remaining(ledger, budget("b", 1_000, 0), NOW).await, left - 5);
        settle(ledger, &hold, charge, NOW).await;
        left -= cost;
        assert_eq!(remaining(ledger, budget("b", 1_000, 0), NOW).await, left);
    }
}

pub async fn usage_above_the_hold_is_charged_in_full(ledger: &dyn Ledger) {
    reserve(ledger, "one", &[budget("b", 10, 6), window("w", 10, 1)], NOW).await;
    settle(ledger, "one", Charge::Amounts(&[25, 3]), NOW).await;
    assert_eq!(remaining(ledger, budget("b", 10, 0), NOW).await, 0);
    assert_eq!(remaining(ledger, budget("b", 30, 0), NOW).await, 5);
    assert_eq!(remaining(ledger, window("w", 10, 0), NOW).await, 7);
}

pub async fn an_explicit_zero_is_zero(ledger: &dyn Ledger) {
    reserve(ledger, "one", &[budget("b", 10, 6)], NOW).await;
    settle(ledger, "one", Charge::Amounts(&[0]), NOW).await;
    assert_eq!(remaining(ledger, budget("b", 10, 0), NOW).await, 10);
}

pub async fn the_longest_wait_is_told_and_true(ledger: &dyn Ledger) {
    let claims = [window("w", 1, 1), window("t", 100, 60)];
    reserve(ledger, "one", &claims, NOW).await;
    reserve(ledger, "two", &[window("t", 100, 40)], NOW + 10_000).await;
    let claims = [window("w", 1, 1), window("t", 100, 70)];
    let Reservation::Limited { claim: 1, retry_after_ms: Some(wait), .. } =
        reserve(ledger, "three", &claims, NOW + 20_000).await
    else {
        panic!("granted")
    };
    let ready = NOW + 20_000 + wait;
    let exact = NOW + 10_000 + MINUTE;
    assert!((exact..exact + MINUTE / 30).contains(&ready));
    assert!(!granted(&reserve(ledger, "four", &claims, ready - 1).await));
    assert!(granted(&reserve(ledger, "five", &claims, ready).await));
    // A budget waits for the end of its period.
    reserve(ledger, "six", &[budget("b", 10, 10)], NOW).await;
    let Reservation::Limited { claim: 0, retry_after_ms, standings } =
        reserve(ledger, "seven", &[budget("b", 10, 1)], NOW + 5).await
    else {
        panic!("granted")
    };
    assert_eq!(retry_after_ms, Some(END - NOW - 5));
    assert_eq!(standings, [Standing { remaining: 0, reset_ms: END - NOW - 5 }]);
}

pub async fn larger_than_the_limit_is_never(ledger: &dyn Ledger) {
    reserve(ledger, "one", &[window("w", 1, 1)], NOW).await;
    let claims = [window("w", 1, 1), budget("b", 10, 11)];
    let answer = reserve(ledger, "two", &claims, NOW).await;
    assert!(matches!(answer, Reservation::Limited { claim: 1, retry_after_ms: None, .. }), "{answer:?}");
}

pub async fn a_new_limit_applies_to_the_kept_cell(ledger: &dyn Ledger) {
    reserve(ledger, "one", &[window("w", 10, 6), budget("b", 10, 6)], NOW).await;
    assert!(!granted(&reserve(ledger, "two", &[window("w", 6, 1)], NOW).await));
    assert!(!granted(&reserve(ledger, "three", &[budget("b", 5, 1)], NOW).await));
    assert!(granted(&reserve(ledger, "four", &[window("w", 20, 14), budget("b", 20, 14)], NOW).await));
}

pub async fn no_claims_are_always_granted(ledger: &dyn Ledger) {
    assert_eq!(reserve(ledger, "one", &[], NOW).await, Reservation::Granted(vec![]));
    assert_eq!(settle(ledger, "one", Charge::Held, NOW).await, Settled::Done);
}
