//! The rows of the books: one for each exchange that was granted, however it ended, and what each ending is charged.

use std::sync::Arc;

use tollgate_ledger::{Charge, Entry, Hold, Outcome, Price, Query, Settled, Store};

use crate::terms::{
    END, LEASE, NOW, all_rows, budget, entry, granted, remaining, rows, settle, slots, window,
};

pub async fn settle_once_has_one_row_whatever_is_repeated(store: &dyn Store) {
    for _ in 0..2 {
        assert!(granted(store, "one", &[budget("b", 10, 5)], NOW).await);
    }
    let real = Arc::new(Entry { charge: 3, outcome: Outcome::Completed, ..entry("one", 5) });
    assert_eq!(store.settle(&real, Charge::Amounts(&[3]), NOW).await, Ok(Settled::Done));
    let other = Arc::new(Entry { charge: 4, outcome: Outcome::ClientLeft, ..entry("one", 5) });
    assert_eq!(store.settle(&other, Charge::Amounts(&[4]), NOW).await, Ok(Settled::Already));
    assert_eq!(store.expire(NOW + 2 * LEASE).await, Ok(0));
    assert!(granted(store, "one", &[budget("b", 10, 5)], NOW + 2 * LEASE).await);
    assert_eq!(all_rows(store).await, [Entry::clone(&real)]);
}

pub async fn no_row_for_what_was_refused(store: &dyn Store) {
    assert!(!granted(store, "one", &[budget("b", 10, 11)], NOW).await);
    assert_eq!(settle(store, "one", Charge::Held, NOW).await, Settled::Unknown);
    assert_eq!(store.expire(NOW + 2 * LEASE).await, Ok(0));
    assert_eq!(all_rows(store).await, []);
}

pub async fn expire_writes_one_row_for_each_lost_hold(store: &dyn Store) {
    for number in 0..5_u64 {
        let claims = [budget("b", 100, 2), window("w", 100, 1), slots("s", 100, 1)];
        assert!(granted(store, &format!("hold-{number}"), &claims, NOW + number).await);
    }
    settle(store, "hold-4", Charge::Nothing, NOW + 10).await;
    assert!(store.renew("hold-3", LEASE, NOW + 10).await.unwrap());
    assert_eq!(store.expire(NOW + LEASE + 1).await, Ok(2));
    assert_eq!(store.expire(NOW + LEASE + 9).await, Ok(1));
    let lost: Vec<Entry> =
        all_rows(store).await.into_iter().filter(|row| row.request_id != "hold-4").collect();
    assert_eq!(lost, [entry("hold-0", 2), entry("hold-1", 2), entry("hold-2", 2)]);
    assert!(lost.iter().all(|row| row.outcome == Outcome::Lost && row.estimated));
    // What they held stays charged; a slot is free with its lease.
    assert_eq!(remaining(store, budget("b", 100, 0), NOW + LEASE + 9).await, 100 - 4 * 2);
    assert_eq!(remaining(store, slots("s", 100, 0), NOW + LEASE + 9).await, 99);
}

pub async fn conservation_between_rows_and_budgets(store: &dyn Store) {
    let keys = ["acme/ml/alice", "acme/ml/bob", "acme/ops/carol"];
    for number in 0..30_usize {
        let held = Entry { key: keys[number % 3].into(), ..entry(&format!("hold-{number}"), 100) };
        let claims: Vec<_> = held.scopes().map(|scope| budget(scope, 1_000_000, 100)).collect();
        let held = Arc::new(held);
        let now = NOW + number as u64;
        store.reserve(Hold { entry: &held, claims: &claims, lease_ms: LEASE }, now).await.unwrap();
        let real = [0, 7, 100, 250][number % 4];
        let row = Arc::new(Entry { charge: real, outcome: Outcome::Completed, ..Entry::clone(&held) });
        match number % 5 {
            0 => continue,
            1 => store.settle(&held, Charge::Held, now).await,
            2 => store.settle(&Arc::new(held.undispatched()), Charge::Nothing, now).await,
            _ => store.settle(&row, Charge::Amounts(&[real, real, real]), now).await,
        }
        .unwrap();
    }
    assert_eq!(store.expire(NOW + 2 * LEASE).await, Ok(6));
    for scope in ["acme", "acme/ml", "acme/ops", "acme/ml/alice", "acme/ml/bob", "acme/ops/carol"] {
        let query = Query { scope: Some(scope.to_owned()), ..Query::default() };
        let charged: u64 = rows(store, &query).await.iter().map(|row| row.charge).sum();
        let used = 1_000_000 - remaining(store, budget(scope, 1_000_000, 0), NOW + 2 * LEASE).await;
        assert_eq!(charged, used, "{scope}");
    }
    assert_eq!(all_rows(store).await.len(), 30);
}

/// Settles an exchange that holds 60, and says what its budget of 100 counts then. The row must be the only one.
async fn ending(store: &dyn Store, row: Entry, charge: Charge<'_>) -> u64 {
    assert!(granted(store, &row.request_id, &[budget("b", 100, 60), window("w", 1_000, 60)], NOW).await);
    assert_eq!(store.settle(&Arc::new(row.clone()), charge, NOW + 5).await, Ok(Settled::Done));
    assert_eq!(all_rows(store).await, [row]);
    // The same, as far as a larger limit can see it.
    1_000 - remaining(store, budget("b", 1_000, 0), NOW + 5).await
}

fn row(outcome: Outcome, charge: u64) -> Entry {
    Entry { outcome, charge, estimated: false, status: 200, duration_ms: 5, ..entry("one", 60) }
}

pub async fn completed_is_charged_what_it_used(store: &dyn Store) {
    assert_eq!(ending(store, row(Outcome::Completed, 12), Charge::Amounts(&[12, 30])).await, 12);
    assert_eq!(remaining(store, window("w", 1_000, 0), NOW + 5).await, 970);
}

pub async fn usage_that_never_came_is_charged_as_estimated(store: &dyn Store) {
    let row = Entry { estimated: true, ..row(Outcome::Completed, 40) };
    assert_eq!(ending(store, row, Charge::Amounts(&[40, 40])).await, 40);
}

pub async fn an_explicit_zero_is_zero(store: &dyn Store) {
    assert_eq!(ending(store, row(Outcome::Completed, 0), Charge::Amounts(&[0, 0])).await, 0);
    assert_eq!(remaining(store, window("w", 1_000, 0), NOW + 5).await, 1_000);
}

pub async fn usage_above_the_hold_is_charged_in_full(store: &dyn Store) {
    assert_eq!(ending(store, row(Outcome::Completed, 250), Charge::Amounts(&[250, 70])).await, 250);
    assert_eq!(remaining(store, budget("b", 100, 0), NOW + 5).await, 0);
    assert!(!granted(store, "next", &[budget("b", 250, 1)], NOW + 5).await);
    assert!(granted(store, "next", &[budget("b", 251, 1)], NOW + 5).await);
    assert_eq!(remaining(store, window("w", 1_000, 0), NOW + 5).await, 930);
}

pub async fn what_failed_before_a_byte_was_sent_is_charged_nothing(store: &dyn Store) {
    assert_eq!(ending(store, entry("one", 60).undispatched(), Charge::Nothing).await, 0);
    assert_eq!(remaining(store, window("w", 1_000, 0), NOW + 5).await, 1_000);
}

pub async fn a_client_that_left_is_charged_what_was_produced(store: &dyn Store) {
    assert_eq!(ending(store, row(Outcome::ClientLeft, 9), Charge::Amounts(&[9, 9])).await, 9);
}

pub async fn an_upstream_that_broke_is_charged_what_was_produced(store: &dyn Store) {
    assert_eq!(ending(store, row(Outcome::UpstreamBroke, 21), Charge::Amounts(&[21, 21])).await, 21);
}

pub async fn a_policy_that_failed_is_charged_the_hold_if_it_cannot_say(store: &dyn Store) {
    let row = Entry { estimated: true, ..row(Outcome::PolicyFailed, 60) };
    assert_eq!(ending(store, row, Charge::Held).await, 60);
}

pub async fn a_policy_that_failed_before_dispatch_is_charged_nothing(store: &dyn Store) {
    assert_eq!(ending(store, row(Outcome::PolicyFailed, 0), Charge::Nothing).await, 0);
}

pub async fn a_server_that_died_is_charged_the_hold(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b", 100, 60), window("w", 1_000, 60)], NOW).await);
    assert_eq!(store.expire(NOW + LEASE).await, Ok(1));
    assert_eq!(all_rows(store).await, [entry("one", 60)]);
    assert_eq!(remaining(store, budget("b", 100, 0), NOW + LEASE).await, 40);
}

pub async fn a_row_is_read_as_it_was_written(store: &dyn Store) {
    let row = Entry {
        key: "acme".into(),
        model: "größer \"quoted\" 模型\n".into(),
        upstream: Some("first".into()),
        upstream_model: Some("first-large".into()),
        input_tokens: tollgate_ledger::MOST_UNITS,
        cached_input_tokens: 1,
        cache_write_tokens: 4,
        output_tokens: 2,
        reasoning_tokens: 3,
        currency: "EUR".into(),
        price: Price {
            reasoning: tollgate_ledger::MOST_UNITS,
            since_ms: None,
            source: None,
            ..Price::default()
        },
        first_byte_ms: Some(0),
        ..row(Outcome::Completed, 7)
    };
    assert_eq!(ending(store, row, Charge::Amounts(&[7, 7])).await, 7);
}

/// Three exchanges of two keys, by their ids in the order of time.
async fn some_rows(store: &dyn Store) {
    let rows = [("z", NOW, "acme/ml/alice"), ("b", NOW + 10, "acme/ml/bob"), ("a", NOW + 10, "acmeother")];
    for (id, at_ms, key) in rows.into_iter().rev() {
        let row = Arc::new(Entry { at_ms, key: key.into(), ..entry(id, 1) });
        let claims = [budget("b", 100, 1)];
        store.reserve(Hold { entry: &row, claims: &claims, lease_ms: LEASE }, at_ms).await.unwrap();
        store.settle(&row, Charge::Held, at_ms).await.unwrap();
    }
}

async fn ids(store: &dyn Store, query: Query) -> Vec<String> {
    rows(store, &query).await.into_iter().map(|row| row.request_id).collect()
}

pub async fn rows_are_found_by_time_scope_and_exchange(store: &dyn Store) {
    some_rows(store).await;
    let all = Query::default;
    assert_eq!(ids(store, all()).await, ["z", "a", "b"]);
    assert_eq!(ids(store, Query { from_ms: NOW + 1, ..all() }).await, ["a", "b"]);
    assert_eq!(ids(store, Query { from_ms: NOW, to_ms: NOW + 10, ..all() }).await, ["z"]);
    assert_eq!(ids(store, Query { from_ms: END, ..all() }).await, [""; 0]);
    for (scope, expected) in [
        ("acme", &["z", "b"][..]),
        ("acme/ml", &["z", "b"]),
        ("acme/ml/alice", &["z"]),
        ("acmeother", &["a"]),
        ("acm", &[]),
        ("acme/", &[]),
        ("acme/%", &[]),
        ("ACME", &[]),
    ] {
        assert_eq!(ids(store, Query { scope: Some(scope.into()), ..all() }).await, expected, "{scope}");
    }
    assert_eq!(ids(store, Query { request_id: Some("b".into()), ..all() }).await, ["b"]);
    assert_eq!(ids(store, Query { request_id: Some("c".into()), ..all() }).await, [""; 0]);
    let both = Query { request_id: Some("b".into()), scope: Some("acmeother".into()), ..all() };
    assert_eq!(ids(store, both).await, [""; 0]);
}

pub async fn rows_are_read_page_by_page(store: &dyn Store) {
    some_rows(store).await;
    for size in 1..4 {
        let (mut read, mut query) = (Vec::new(), Query { limit: size, ..Query::default() });
        loop {
            let page = rows(store, &query).await;
            assert!(page.len() <= size);
            let Some(last) = page.last() else { break };
            query.after = Some((last.at_ms, last.request_id.clone()));
            read.extend(page.into_iter().map(|row| row.request_id));
        }
        assert_eq!(read, ["z", "a", "b"], "{size} at a time");
    }
    assert_eq!(ids(store, Query { limit: 0, ..Query::default() }).await, [""; 0]);
}
