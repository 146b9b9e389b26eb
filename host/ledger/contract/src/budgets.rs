//! Holding in budgets, and what holds for every claim: all or none, the wait, the standings.

use std::sync::Arc;

use tollgate_ledger::{Charge, Claim, Hold, Reservation, Rule, Settled, Standing, Store};

use crate::terms::{
    END, LEASE, NOW, budget, entry, granted, is_granted, placeless, remaining, reserve, settle, slots,
    standing, together, window,
};

pub async fn never_over_admit_is_kept_by_a_budget(store: &dyn Store) {
    for number in 0..30_u64 {
        let id = format!("hold-{number}");
        assert_eq!(granted(store, &id, &[budget("b", 10, 1)], NOW + number).await, number < 10);
        if number % 2 == 0 {
            settle(store, &id, Charge::Held, NOW + number).await;
        }
    }
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 0);
}

pub async fn never_over_admit_when_one_claim_of_several_does_not_fit(store: &dyn Store) {
    let claims = [window("w", 5, 1), window("t", 100, 60), budget("b", 1_000, 10)];
    assert!(granted(store, "one", &claims, NOW).await);
    let Reservation::Limited { claim: 1, standings, .. } = reserve(store, "two", &claims, NOW).await else {
        panic!("granted")
    };
    let left: Vec<u64> = standings.iter().map(|standing| standing.remaining).collect();
    assert_eq!(left, [4, 40, 990]);
    assert_eq!(settle(store, "two", Charge::Held, NOW).await, Settled::Unknown);
    assert_eq!(remaining(store, budget("b", 1_000, 0), NOW).await, 990);
}

pub async fn never_over_admit_when_a_cell_is_claimed_twice(store: &dyn Store) {
    let twice = [budget("b", 10, 6), budget("b", 10, 6)];
    let answer = reserve(store, "one", &twice, NOW).await;
    assert!(matches!(answer, Reservation::Limited { claim: 1, retry_after_ms: None, .. }), "{answer:?}");
    let twice = [budget("b", 10, 4), budget("b", 10, 6)];
    let Reservation::Granted { standings, .. } = reserve(store, "two", &twice, NOW).await else {
        panic!("refused")
    };
    assert_eq!(standings, [Standing { remaining: 0, reset_ms: END - NOW }; 2]);
    assert_eq!(settle(store, "two", Charge::Amounts(&[1, 2]), NOW).await, Settled::Done);
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 7);
}

pub async fn never_over_admit_among_many_at_once(store: &dyn Store) {
    let claims = [window("w", 1_000, 1), budget("b", 10, 1)];
    let entries: Vec<_> = (0..100).map(|number| Arc::new(entry(&format!("hold-{number}"), 1))).collect();
    let hold = |entry| store.reserve(Hold { entry, claims: &claims, lease_ms: LEASE }, NOW);
    let answers = together(entries.iter().map(hold)).await;
    assert_eq!(answers.iter().filter(|answer| is_granted(answer)).count(), 10);
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 0);
    assert_eq!(remaining(store, window("w", 1_000, 0), NOW).await, 990);
}

pub async fn no_phantom_refusal_after_a_settlement_gives_back(store: &dyn Store) {
    let claims = [window("w", 10, 10), budget("b", 10, 10)];
    assert!(granted(store, "one", &claims, NOW).await);
    assert!(!granted(store, "two", &claims, NOW).await);
    assert_eq!(settle(store, "one", Charge::Nothing, NOW).await, Settled::Done);
    assert!(granted(store, "three", &claims, NOW).await);
}

pub async fn no_phantom_refusal_after_a_refusal(store: &dyn Store) {
    let claims = [window("w", 10, 1), budget("b", 0, 1)];
    for number in 0..20 {
        assert!(!granted(store, &format!("hold-{number}"), &claims, NOW).await);
    }
    assert!(granted(store, "all", &[window("w", 10, 10)], NOW).await);
    // Refused is not closed: the same exchange may come again and be granted.
    assert!(granted(store, "hold-0", &[budget("b", 1, 1)], NOW).await);
    assert_eq!(remaining(store, budget("b", 1, 0), NOW).await, 0);
}

pub async fn no_phantom_refusal_in_the_next_period_of_a_budget(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b:1", 10, 10)], NOW).await);
    let next = Rule::Budget { limit: 10, start_ms: END, end_ms: END + 86_400_000 };
    let claims = [Claim { cell: "b:2".into(), rule: next, amount: 10 }];
    assert!(granted(store, "two", &claims, END).await);
    // A claim of the last moment counts in its own period, whenever it comes.
    assert!(!granted(store, "late", &[budget("b:1", 10, 1)], END + 5).await);
}

pub async fn all_scopes_are_held_or_none(store: &dyn Store) {
    let scopes = |amount| {
        [budget("acme", 100, amount), budget("acme/ml", 50, amount), budget("acme/ml/alice", 20, amount)]
    };
    let left = async |expected: [u64; 3]| {
        let standings = store.standings(&scopes(0), NOW).await.unwrap();
        assert_eq!(standings.iter().map(|standing| standing.remaining).collect::<Vec<_>>(), expected);
    };
    assert!(granted(store, "alice-1", &scopes(15), NOW).await);
    left([85, 35, 5]).await;
    // The key has no room: neither the team nor the organisation is charged.
    assert!(matches!(
        reserve(store, "alice-2", &scopes(6), NOW).await,
        Reservation::Limited { claim: 2, retry_after_ms: Some(_), .. }
    ));
    left([85, 35, 5]).await;
    let bob = [budget("acme", 100, 36), budget("acme/ml", 50, 36), budget("acme/ml/bob", 100, 36)];
    assert!(matches!(reserve(store, "bob", &bob, NOW).await, Reservation::Limited { claim: 1, .. }));
    assert_eq!(remaining(store, budget("acme/ml/bob", 100, 0), NOW).await, 100);
    let eve = [budget("acme", 100, 86), budget("acme/ops", 100, 86), budget("acme/ops/eve", 100, 86)];
    assert!(matches!(reserve(store, "eve", &eve, NOW).await, Reservation::Limited { claim: 0, .. }));
    left([85, 35, 5]).await;
    settle(store, "alice-1", Charge::Amounts(&[4, 4, 4]), NOW).await;
    left([96, 46, 16]).await;
}

pub async fn larger_than_the_limit_is_never(store: &dyn Store) {
    reserve(store, "one", &[window("w", 1, 1)], NOW).await;
    let claims = [window("w", 1, 1), budget("b", 10, 11)];
    let answer = reserve(store, "two", &claims, NOW).await;
    assert!(matches!(answer, Reservation::Limited { claim: 1, retry_after_ms: None, .. }), "{answer:?}");
}

pub async fn a_budget_waits_for_the_end_of_its_period(store: &dyn Store) {
    reserve(store, "one", &[budget("b", 10, 10)], NOW).await;
    let answer = reserve(store, "two", &[budget("b", 10, 1)], NOW + 5).await;
    let standings = vec![Standing { remaining: 0, reset_ms: END - NOW - 5 }];
    let limited = Reservation::Limited { claim: 0, retry_after_ms: Some(END - NOW - 5), standings };
    assert_eq!(answer, limited);
}

pub async fn a_new_limit_applies_to_the_kept_cell(store: &dyn Store) {
    reserve(store, "one", &[window("w", 10, 6), budget("b", 10, 6)], NOW).await;
    assert!(!granted(store, "two", &[window("w", 6, 1)], NOW).await);
    assert!(!granted(store, "three", &[budget("b", 5, 1)], NOW).await);
    assert!(granted(store, "four", &[window("w", 20, 14), budget("b", 20, 14)], NOW).await);
}

pub async fn no_claims_are_always_granted(store: &dyn Store) {
    let nothing = Reservation::Granted { standings: vec![], position: tollgate_ledger::Position::default() };
    assert_eq!(placeless(reserve(store, "one", &[], NOW).await), nothing);
    assert_eq!(settle(store, "one", Charge::Held, NOW).await, Settled::Done);
}

pub async fn standings_take_nothing(store: &dyn Store) {
    let claims = [budget("b", 10, 7), window("w", 10, 7)];
    assert!(granted(store, "one", &claims, NOW).await);
    for _ in 0..5 {
        let standings = store.standings(&claims, NOW).await.unwrap();
        assert_eq!(standings.iter().map(|standing| standing.remaining).collect::<Vec<_>>(), [3, 3]);
    }
    assert!(granted(store, "two", &[budget("b", 10, 3), window("w", 10, 3)], NOW).await);
}

pub async fn a_question_or_a_refusal_changes_nothing(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b", 10, 7), window("w", 10, 7), slots("s", 10, 7)], NOW).await);
    let later = NOW + 3 * LEASE;
    let day = Claim { rule: Rule::Window { limit: 9, period_ms: 86_400_000 }, ..window("w", 0, 9) };
    for claim in [day, budget("b", 9, 9), slots("s", 6, 7), budget("w", 1, 2), window("s", 1, 2)] {
        standing(store, claim.clone(), later).await;
        assert!(!granted(store, "two", &[claim], NOW + 10).await);
    }
    // Nobody has seen the later moment: not even what passed until then is forgotten.
    for claim in [budget("b", 10, 4), window("w", 10, 4), slots("s", 10, 4)] {
        assert_eq!(remaining(store, claim.clone(), NOW).await, 3, "{claim:?}");
        assert!(!granted(store, "three", &[claim], NOW).await);
    }
}

pub async fn a_cell_that_was_never_claimed_is_empty(store: &dyn Store) {
    for claim in [budget("b", 10, 3), window("w", 10, 3), slots("s", 10, 3)] {
        let empty = Standing { remaining: 10, reset_ms: 0 };
        assert_eq!(standing(store, claim.clone(), NOW).await, empty);
        assert_eq!(standing(store, claim, NOW).await, empty);
    }
}
