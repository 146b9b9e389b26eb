//! The life of a hold: opened, renewed, closed once by its settlement or by its lease.

use std::sync::Arc;

use tollgate_ledger::{Charge, Condition, Reservation, Settled, Standing, Store};

use crate::terms::{
    END, LEASE, NOW, all_rows, budget, entry, granted, remaining, reserve, settle, together, window,
};

pub async fn settle_once_whatever_is_repeated(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b", 10, 5)], NOW).await);
    assert_eq!(settle(store, "one", Charge::Amounts(&[3]), NOW).await, Settled::Done);
    assert_eq!(settle(store, "one", Charge::Amounts(&[3]), NOW).await, Settled::Already);
    assert_eq!(settle(store, "one", Charge::Nothing, NOW + 1).await, Settled::Already);
    assert_eq!(settle(store, "one", Charge::Held, NOW + 2 * LEASE).await, Settled::Already);
    assert!(!store.renew("one", LEASE, NOW).await.unwrap());
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 7);
}

pub async fn settle_once_when_a_reservation_is_repeated(store: &dyn Store) {
    for _ in 0..3 {
        let Reservation::Granted { standings, .. } = reserve(store, "one", &[budget("b", 10, 6)], NOW).await
        else {
            panic!("refused")
        };
        assert_eq!(standings, [Standing { remaining: 4, reset_ms: END - NOW }]);
    }
    settle(store, "one", Charge::Amounts(&[2]), NOW).await;
    // Its settlement came first: the exchange is over and charged.
    assert!(granted(store, "one", &[budget("b", 10, 6)], NOW).await);
    assert_eq!(settle(store, "one", Charge::Held, NOW).await, Settled::Already);
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 8);
}

pub async fn settle_once_when_many_settle_at_once(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b", 10, 5)], NOW).await);
    let row = Arc::new(entry("one", 3));
    let answers = together((0..20).map(|_| store.settle(&row, Charge::Amounts(&[3]), NOW))).await;
    assert_eq!(answers.iter().filter(|settled| **settled == Settled::Done).count(), 1, "{answers:?}");
    assert!(!answers.contains(&Settled::Unknown), "{answers:?}");
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 7);
    assert_eq!(all_rows(store).await.len(), 1);
}

pub async fn settle_once_when_the_lease_has_passed(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b", 10, 6)], NOW).await);
    assert!(!store.renew("one", LEASE, NOW + LEASE).await.unwrap());
    assert_eq!(settle(store, "one", Charge::Nothing, NOW + LEASE).await, Settled::Already);
    assert_eq!(settle(store, "one", Charge::Nothing, NOW + LEASE).await, Settled::Already);
    assert_eq!(remaining(store, budget("b", 10, 0), NOW + LEASE).await, 4);
    assert_eq!(store.expire(NOW + LEASE).await.unwrap(), 0, "the settlement has closed it");
}

pub async fn settle_once_when_it_was_lost_before(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b", 10, 6)], NOW).await);
    assert_eq!(store.expire(NOW + LEASE - 1).await.unwrap(), 0);
    assert_eq!(store.expire(NOW + LEASE).await.unwrap(), 1);
    assert_eq!(store.expire(NOW + LEASE).await.unwrap(), 0);
    assert_eq!(settle(store, "one", Charge::Nothing, NOW + LEASE).await, Settled::Already);
    assert!(!store.renew("one", LEASE, NOW + LEASE).await.unwrap());
    assert!(granted(store, "one", &[budget("b", 10, 6)], NOW + LEASE).await, "closed: takes nothing more");
    assert_eq!(remaining(store, budget("b", 10, 0), NOW + LEASE).await, 4);
}

pub async fn what_was_never_granted_is_unknown(store: &dyn Store) {
    assert_eq!(settle(store, "one", Charge::Held, NOW).await, Settled::Unknown);
    assert!(!store.renew("one", LEASE, NOW).await.unwrap());
    assert_eq!(store.expire(NOW + LEASE).await.unwrap(), 0);
    // The reservation may still come: the two were sent in the other order.
    assert!(granted(store, "one", &[budget("b", 10, 6)], NOW).await);
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 4);
}

pub async fn a_renewed_lease_can_be_settled_later(store: &dyn Store) {
    reserve(store, "one", &[budget("b", 10, 6)], NOW).await;
    assert!(store.renew("one", LEASE, NOW + LEASE - 1).await.unwrap());
    // A shorter one never brings the end nearer.
    assert!(store.renew("one", 1, NOW + LEASE).await.unwrap());
    assert_eq!(store.expire(NOW + 2 * LEASE - 2).await.unwrap(), 0);
    assert_eq!(settle(store, "one", Charge::Nothing, NOW + 2 * LEASE - 2).await, Settled::Done);
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 10);
}

pub async fn conservation_for_every_charge(store: &dyn Store) {
    let charges =
        [(Charge::Held, 5), (Charge::Nothing, 0), (Charge::Amounts(&[3]), 3), (Charge::Amounts(&[]), 5)];
    let mut left = 1_000;
    for (number, (charge, cost)) in charges.into_iter().enumerate() {
        let id = format!("hold-{number}");
        let claims = [budget("b", 1_000, 5), window("w", 1_000, 5)];
        reserve(store, &id, &claims, NOW).await;
        assert_eq!(remaining(store, budget("b", 1_000, 0), NOW).await, left - 5);
        settle(store, &id, charge, NOW).await;
        left -= cost;
        assert_eq!(remaining(store, budget("b", 1_000, 0), NOW).await, left);
    }
    // The amounts say nothing of the window, which is charged as held then.
    assert_eq!(remaining(store, window("w", 1_000, 0), NOW).await, 1_000 - 5 - 5 - 5);
}

pub async fn what_was_granted_is_durable(store: &dyn Store) {
    let claims = [budget("b", 10, 6)];
    let mut before = None;
    for id in ["one", "one", "two"] {
        let answer = reserve(store, id, &[budget("b", 10, 1)], NOW).await;
        let Reservation::Granted { position, .. } = answer else { panic!("refused") };
        assert!(before <= Some(position), "places grow");
        store.durable(position).await.unwrap();
        before = Some(position);
    }
    assert_eq!(remaining(store, claims[0].clone(), NOW).await, 8);
}

pub async fn a_store_that_answers_is_sound(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b", 10, 6)], NOW).await);
    store.flush().await.unwrap();
    assert_eq!(store.condition(), Condition::Sound);
}
