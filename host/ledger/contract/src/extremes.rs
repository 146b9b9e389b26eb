//! The largest numbers and the oddest names: nothing wraps, nothing is admitted by rounding.

use std::sync::Arc;

use tollgate_ledger::{Charge, Hold, MOST_UNITS, Reservation, Settled, Store};

use crate::terms::{LEASE, NOW, budget, entry, granted, remaining, reserve, settle, slots, window};

type Make = fn(&str, u64, u64) -> tollgate_ledger::Claim;
const RULES: [(&str, Make); 3] = [("b", budget), ("w", window), ("s", slots)];

pub async fn never_over_admit_with_the_largest_numbers(store: &dyn Store) {
    for (cell, claim) in RULES {
        let all = [claim(cell, MOST_UNITS, MOST_UNITS - 1)];
        assert!(granted(store, &format!("all-{cell}"), &all, NOW).await);
        assert!(!granted(store, &format!("two-{cell}"), &[claim(cell, MOST_UNITS, 2)], NOW).await);
        assert!(granted(store, &format!("one-{cell}"), &[claim(cell, MOST_UNITS, 1)], NOW).await);
        assert!(!granted(store, &format!("more-{cell}"), &[claim(cell, MOST_UNITS, 1)], NOW).await);
        let twice = [claim("twice", MOST_UNITS, MOST_UNITS), claim("twice", MOST_UNITS, 1)];
        let answer = reserve(store, "twice", &twice, NOW).await;
        assert!(matches!(answer, Reservation::Limited { claim: 1, retry_after_ms: None, .. }), "{answer:?}");
    }
}

pub async fn a_claim_above_the_largest_number_is_never_granted(store: &dyn Store) {
    for (cell, claim) in RULES {
        for amount in [MOST_UNITS + 1, MOST_UNITS + 2, u64::MAX] {
            let answer = reserve(store, "one", &[claim(cell, u64::MAX, amount)], NOW).await;
            assert!(
                matches!(&answer, Reservation::Limited { claim: 0, retry_after_ms: None, standings }
                    if standings[0].remaining == MOST_UNITS),
                "{answer:?}"
            );
        }
        assert!(granted(store, &format!("all-{cell}"), &[claim(cell, u64::MAX, MOST_UNITS)], NOW).await);
        let answer = reserve(store, "two", &[claim(cell, u64::MAX, 1)], NOW).await;
        assert!(matches!(answer, Reservation::Limited { retry_after_ms: Some(_), .. }), "{answer:?}");
    }
}

pub async fn a_settlement_above_the_largest_number_is_the_largest(store: &dyn Store) {
    for (cell, claim) in RULES.into_iter().take(2) {
        for (id, real) in [("one", MOST_UNITS), ("two", u64::MAX), ("three", u64::MAX / 2)] {
            let id = format!("{id}-{cell}");
            assert!(granted(store, &id, &[claim(&id, 10, 1)], NOW).await);
            assert!(granted(store, &format!("{id}-2"), &[claim(&id, 10, 1)], NOW).await);
            assert_eq!(settle(store, &id, Charge::Amounts(&[real]), NOW).await, Settled::Done);
            assert_eq!(remaining(store, claim(&id, MOST_UNITS, 0), NOW).await, 0);
            let again = reserve(store, &format!("{id}-3"), &[claim(&id, MOST_UNITS, 1)], NOW).await;
            assert!(matches!(again, Reservation::Limited { retry_after_ms: Some(_), .. }), "{again:?}");
        }
    }
}

pub async fn a_zero_is_granted_while_nothing_is_over(store: &dyn Store) {
    for (cell, claim) in RULES {
        assert!(granted(store, &format!("none-{cell}"), &[claim(cell, 0, 0)], NOW).await);
        assert!(granted(store, &format!("all-{cell}"), &[claim(cell, 5, 5)], NOW).await);
        assert!(granted(store, &format!("zero-{cell}"), &[claim(cell, 5, 0)], NOW).await);
        assert!(!granted(store, &format!("over-{cell}"), &[claim(cell, 4, 0)], NOW).await);
        let never = reserve(store, &format!("never-{cell}"), &[claim(cell, 0, 1)], NOW).await;
        assert!(matches!(never, Reservation::Limited { retry_after_ms: None, .. }), "{never:?}");
    }
}

pub async fn names_may_hold_any_text(store: &dyn Store) {
    let longest = "x".repeat(400);
    for cell in ["b:acme/ml/alice:USD:2026-11", "a b", "ü", "a:b c:d", "{x}", "'; --", "\n", &longest] {
        let id: String = format!("hold-{}-{}", cell.len(), cell.bytes().next().unwrap_or(0));
        let claims = [budget(&format!("b{cell}"), 10, 3), slots(&format!("s{cell}"), 10, 3)];
        let row = Arc::new(entry(&id, 3));
        let answer = store.reserve(Hold { entry: &row, claims: &claims, lease_ms: LEASE }, NOW).await;
        assert!(matches!(answer, Ok(Reservation::Granted { .. })), "{cell}");
        assert_eq!(store.settle(&row, Charge::Amounts(&[1, 1]), NOW).await, Ok(Settled::Done));
        assert_eq!(remaining(store, claims[0].clone(), NOW).await, 9, "{cell}");
        assert_eq!(remaining(store, claims[1].clone(), NOW).await, 10, "{cell}");
    }
}
