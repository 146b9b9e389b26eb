//! Holding in windows: never more than the limit in any trailing period, and the true wait.

use tollgate_ledger::{Charge, Claim, Reservation, Rule, Settled, Standing, Store};

use crate::terms::{MINUTE, NOW, budget, granted, remaining, reserve, settle, standing, window};

pub async fn never_over_admit_is_kept_by_a_window(store: &dyn Store) {
    let mut grants = Vec::new();
    for step in 0..1_000_u64 {
        let now = NOW + step * 397;
        let id = format!("hold-{step}");
        if granted(store, &id, &[window("w", 7, 1)], now).await {
            settle(store, &id, Charge::Held, now).await;
            grants.push(now);
            let trailing = grants.iter().filter(|at| *at + MINUTE > now).count();
            assert!(trailing <= 7);
        }
    }
    // Late by at most a thirtieth: 397 s hold six full periods.
    assert!(grants.len() >= 7 * 6, "{}", grants.len());
}

pub async fn no_phantom_refusal_by_a_window_whose_hold_was_never_settled(store: &dyn Store) {
    assert!(granted(store, "lost", &[window("w", 10, 10)], NOW).await);
    let late = NOW + MINUTE + MINUTE / 30;
    assert!(granted(store, "next", &[window("w", 10, 10)], late).await);
}

pub async fn the_longest_wait_is_told_and_true(store: &dyn Store) {
    let claims = [window("w", 1, 1), window("t", 100, 60)];
    reserve(store, "one", &claims, NOW).await;
    reserve(store, "two", &[window("t", 100, 40)], NOW + 10_000).await;
    let claims = [window("w", 1, 1), window("t", 100, 70)];
    let Reservation::Limited { claim: 1, retry_after_ms: Some(wait), .. } =
        reserve(store, "three", &claims, NOW + 20_000).await
    else {
        panic!("granted")
    };
    let ready = NOW + 20_000 + wait;
    let exact = NOW + 10_000 + MINUTE;
    assert!((exact..exact + MINUTE / 30).contains(&ready));
    assert!(!granted(store, "four", &claims, ready - 1).await);
    assert!(granted(store, "five", &claims, ready).await);
}

pub async fn a_settlement_in_a_window_counts_from_its_hold(store: &dyn Store) {
    reserve(store, "one", &[window("w", 10, 6)], NOW).await;
    reserve(store, "two", &[window("w", 10, 1)], NOW + 10_000).await;
    settle(store, "one", Charge::Amounts(&[2]), NOW + 30_000).await;
    assert_eq!(
        standing(store, window("w", 10, 0), NOW + 30_000).await,
        Standing { remaining: 7, reset_ms: 41_999 }
    );
    // More than was held also counts from the moment of the hold, and passes with it.
    settle(store, "two", Charge::Amounts(&[30]), NOW + 40_000).await;
    assert_eq!(
        standing(store, window("w", 10, 0), NOW + 40_000).await,
        Standing { remaining: 0, reset_ms: 31_999 }
    );
    assert_eq!(remaining(store, window("w", 10, 0), NOW + 71_998).await, 0);
    assert_eq!(remaining(store, window("w", 10, 0), NOW + 71_999).await, 10);
}

pub async fn a_settlement_after_the_window_changes_nothing(store: &dyn Store) {
    for (id, real) in [("less", 0), ("same", 5), ("more", 9)] {
        let cell = window(id, 10, 5);
        assert!(granted(store, id, std::slice::from_ref(&cell), NOW).await);
        assert!(granted(store, &format!("{id}-2"), &[window(id, 10, 2)], NOW + 70_000).await);
        assert_eq!(settle(store, id, Charge::Amounts(&[real]), NOW + 70_000).await, Settled::Done);
        assert_eq!(remaining(store, cell, NOW + 70_000).await, 8, "{id}");
    }
}

pub async fn a_clock_that_steps_back_stands_still_for_a_window(store: &dyn Store) {
    let full = [window("w", 10, 10)];
    assert!(granted(store, "one", &full, NOW + 10_000).await);
    let Reservation::Limited { retry_after_ms, .. } = reserve(store, "two", &full, NOW + 9_000).await else {
        panic!("admits early")
    };
    assert_eq!(retry_after_ms, Some(71_999 - 9_000));
    // One that goes back further is believed: what was counted then ages from there.
    let Reservation::Limited { retry_after_ms: Some(wait), .. } =
        reserve(store, "two", &full, NOW - 1_000_000).await
    else {
        panic!("admits early")
    };
    assert!((MINUTE..MINUTE + 2_000).contains(&wait), "{wait}");
    assert!(granted(store, "two", &full, NOW - 1_000_000 + wait).await);
}

pub async fn another_period_forgets_nothing_early(store: &dyn Store) {
    let claim =
        |period_ms, amount| [Claim { cell: "w".into(), rule: Rule::Window { limit: 10, period_ms }, amount }];
    for (number, amount) in [1, 2, 4].into_iter().enumerate() {
        let id = format!("hold-{number}");
        assert!(granted(store, &id, &claim(MINUTE, amount), NOW + 20_000 * number as u64).await);
    }
    let now = NOW + 50_000;
    assert!(!granted(store, "day", &claim(86_400_000, 4), now).await);
    let left = store.standings(&claim(86_400_000, 0), NOW + 86_399_999).await.unwrap()[0];
    assert_eq!(left.remaining, 3);
    let left = store.standings(&claim(86_400_000, 0), NOW + 50_000 + 86_400_000 / 30 * 31).await.unwrap()[0];
    assert_eq!(left, Standing { remaining: 10, reset_ms: 0 });
}

pub async fn a_cell_of_another_rule_begins_anew(store: &dyn Store) {
    assert!(granted(store, "one", &[window("cell", 10, 10)], NOW).await);
    assert!(granted(store, "two", &[budget("cell", 10, 10)], NOW).await);
    assert_eq!(remaining(store, budget("cell", 10, 0), NOW).await, 0);
}
