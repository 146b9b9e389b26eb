//! Holding in slots: only what is held counts.

use tollgate_ledger::{Charge, Reservation, Settled, Standing, Store};

use crate::terms::{LEASE, NOW, granted, remaining, reserve, settle, slots, standing};

pub async fn never_over_admit_is_kept_by_slots(store: &dyn Store) {
    for number in 0..5 {
        assert_eq!(granted(store, &format!("hold-{number}"), &[slots("s", 3, 1)], NOW).await, number < 3);
    }
    assert_eq!(standing(store, slots("s", 3, 0), NOW).await, Standing { remaining: 0, reset_ms: LEASE });
}

pub async fn no_phantom_refusal_by_a_slot_once_it_is_settled(store: &dyn Store) {
    for charge in [Charge::Nothing, Charge::Held, Charge::Amounts(&[0]), Charge::Amounts(&[1_000_000])] {
        let id = format!("hold-{charge:?}").replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        assert!(granted(store, &id, &[slots("s", 1, 1)], NOW).await, "{id}");
        assert!(!granted(store, "other", &[slots("s", 1, 1)], NOW).await);
        assert_eq!(settle(store, &id, charge, NOW).await, Settled::Done);
        assert_eq!(standing(store, slots("s", 1, 0), NOW).await, Standing { remaining: 1, reset_ms: 0 });
    }
}

pub async fn no_phantom_refusal_by_a_slot_whose_lease_has_passed(store: &dyn Store) {
    assert!(granted(store, "lost", &[slots("s", 1, 1)], NOW).await);
    let Reservation::Limited { retry_after_ms, .. } =
        reserve(store, "next", &[slots("s", 1, 1)], NOW + 10).await
    else {
        panic!("granted")
    };
    assert_eq!(retry_after_ms, Some(LEASE - 10));
    assert!(!granted(store, "next", &[slots("s", 1, 1)], NOW + LEASE - 1).await);
    assert!(granted(store, "next", &[slots("s", 1, 1)], NOW + LEASE).await);
    // The late settlement of the lost one must not free the place of its successor.
    assert_eq!(settle(store, "lost", Charge::Held, NOW + LEASE).await, Settled::Already);
    assert_eq!(remaining(store, slots("s", 1, 0), NOW + LEASE).await, 0);
}

pub async fn a_renewed_lease_keeps_its_slot(store: &dyn Store) {
    assert!(granted(store, "long", &[slots("s", 1, 1)], NOW).await);
    assert!(store.renew("long", LEASE, NOW + 1_000).await.unwrap());
    assert!(!granted(store, "next", &[slots("s", 1, 1)], NOW + LEASE + 999).await);
    assert!(granted(store, "next", &[slots("s", 1, 1)], NOW + LEASE + 1_000).await);
}

pub async fn one_hold_may_take_several_slots(store: &dyn Store) {
    assert!(granted(store, "two", &[slots("s", 5, 2)], NOW).await);
    assert!(granted(store, "three", &[slots("s", 5, 3)], NOW + 10).await);
    let Reservation::Limited { retry_after_ms, .. } =
        reserve(store, "four", &[slots("s", 5, 4)], NOW + 10).await
    else {
        panic!("granted")
    };
    assert_eq!(retry_after_ms, Some(LEASE), "the first lease frees two only");
    settle(store, "three", Charge::Held, NOW + 20).await;
    assert_eq!(remaining(store, slots("s", 5, 0), NOW + 20).await, 3);
    let never = reserve(store, "six", &[slots("s", 5, 6)], NOW + 20).await;
    assert!(matches!(never, Reservation::Limited { retry_after_ms: None, .. }), "{never:?}");
}
