//! Keys made at run time: found by the digest of a secret, changed by compare-and-set.

use tollgate_ledger::Store;
use tollgate_ledger::keys::{Digest, Found, Kept, Key, Limits, Priority, Scope};

use crate::terms::{NOW, together};

async fn find(store: &dyn Store, digest: Digest) -> Option<Found> {
    store.find(&digest).await.unwrap()
}

async fn keep(store: &dyn Store, key: &Key) -> Kept {
    store.keep_key(key).await.unwrap()
}

async fn key(store: &dyn Store, name: &str) -> Key {
    store.key(name).await.unwrap().unwrap()
}

fn scope(name: &str, requests: &str) -> Scope {
    let limits = Limits { requests: Some(requests.into()), ..Limits::default() };
    Scope { name: name.into(), limits, version: 0 }
}

pub async fn a_new_key_is_found_by_its_digest(store: &dyn Store) {
    assert_eq!(find(store, [1; 32]).await, None);
    assert_eq!(store.key("alice").await, Ok(None));
    assert_eq!(keep(store, &Key::new("alice", [1; 32], NOW)).await, Kept::Done);
    let kept = Key { version: 1, ..Key::new("alice", [1; 32], NOW) };
    assert_eq!(find(store, [1; 32]).await, Some(Found { key: kept.clone(), scopes: vec![] }));
    assert_eq!(key(store, "alice").await, kept);
    // All of the digest counts.
    let mut close = [1; 32];
    close[31] = 2;
    assert_eq!(find(store, close).await, None);
}

pub async fn a_key_is_found_with_the_scopes_around_it(store: &dyn Store) {
    for name in ["acme/ml/alice", "acme/ops/bob", "acme"] {
        let first = name.len() as u8;
        assert_eq!(keep(store, &Key::new(name, [first; 32], NOW)).await, Kept::Done);
    }
    for name in ["acme", "acme/ml", "acme/m", "other"] {
        assert_eq!(store.keep_scope(&scope(name, "100/1m")).await, Ok(Kept::Done));
    }
    let names = async |digest| -> Vec<String> {
        find(store, digest).await.unwrap().scopes.into_iter().map(|scope| scope.name).collect()
    };
    assert_eq!(names([13; 32]).await, ["acme", "acme/ml"]);
    assert_eq!(names([12; 32]).await, ["acme"]);
    assert_eq!(names([4; 32]).await, [""; 0], "a key is not a scope around itself");
    let changed = Scope { version: 1, ..scope("acme/ml", "5/1m") };
    assert_eq!(store.keep_scope(&changed).await, Ok(Kept::Done));
    let found = find(store, [13; 32]).await.unwrap();
    assert_eq!(found.scopes[1], Scope { version: 2, ..changed });
}

pub async fn a_rotated_key_is_found_by_both_secrets(store: &dyn Store) {
    keep(store, &Key::new("alice", [1; 32], NOW)).await;
    let mut alice = key(store, "alice").await;
    alice.rotate([2; 32], 1_000, NOW + 5);
    assert_eq!(keep(store, &alice).await, Kept::Done);
    for digest in [[1; 32], [2; 32]] {
        let found = find(store, digest).await.unwrap().key;
        assert_eq!((found.name.as_str(), found.version), ("alice", 2));
        assert!(found.admits(&digest, NOW + 1_004));
        assert_eq!(found.admits(&digest, NOW + 1_005), digest == [2; 32]);
    }
    // A secret that ended long ago is dropped by the next rotation, and found no more.
    let mut alice = key(store, "alice").await;
    alice.rotate([3; 32], 1_000, NOW + 5_000);
    assert_eq!(keep(store, &alice).await, Kept::Done);
    assert_eq!(find(store, [1; 32]).await, None);
    assert!(find(store, [2; 32]).await.is_some() && find(store, [3; 32]).await.is_some());
}

pub async fn a_revoked_key_is_found_and_admits_nobody(store: &dyn Store) {
    keep(store, &Key::new("alice", [1; 32], NOW)).await;
    let mut alice = key(store, "alice").await;
    alice.revoke(NOW + 5);
    assert_eq!(keep(store, &alice).await, Kept::Done);
    let found = find(store, [1; 32]).await.unwrap().key;
    assert_eq!(found.revoked_ms, Some(NOW + 5));
    assert!(!found.admits(&[1; 32], NOW + 5));
}

pub async fn two_operators_at_once_lose_nothing(store: &dyn Store) {
    let new = Key::new("alice", [1; 32], NOW);
    let made = together((0..2).map(|_| store.keep_key(&new))).await;
    assert!(made.contains(&Kept::Done) && made.contains(&Kept::Conflict), "{made:?}");
    let read = key(store, "alice").await;
    let first = Key { priority: Priority::Batch, ..read.clone() };
    assert_eq!(keep(store, &first).await, Kept::Done);
    let second = Key { expires_ms: Some(NOW), ..read };
    assert_eq!(keep(store, &second).await, Kept::Conflict);
    assert_eq!(key(store, "alice").await, Key { version: 2, ..first });
    // One that is not there has version 0 only.
    assert_eq!(keep(store, &Key { version: 1, ..Key::new("bob", [2; 32], NOW) }).await, Kept::Conflict);
    assert_eq!(store.key("bob").await, Ok(None));
    assert_eq!(find(store, [2; 32]).await, None);
    let acme = scope("acme", "1/1m");
    assert_eq!(store.keep_scope(&acme).await, Ok(Kept::Done));
    assert_eq!(store.keep_scope(&acme).await, Ok(Kept::Conflict));
    assert_eq!(store.keep_scope(&Scope { version: 2, ..acme.clone() }).await, Ok(Kept::Conflict));
    assert_eq!(store.scope("acme").await, Ok(Some(Scope { version: 1, ..acme })));
}

pub async fn two_keys_never_share_a_secret(store: &dyn Store) {
    assert_eq!(keep(store, &Key::new("alice", [1; 32], NOW)).await, Kept::Done);
    assert_eq!(keep(store, &Key::new("bob", [1; 32], NOW)).await, Kept::Conflict);
    assert_eq!(store.key("bob").await, Ok(None));
    assert_eq!(keep(store, &Key::new("bob", [2; 32], NOW)).await, Kept::Done);
    let mut bob = key(store, "bob").await;
    bob.rotate([1; 32], 1_000, NOW);
    assert_eq!(keep(store, &bob).await, Kept::Conflict);
    assert_eq!(find(store, [1; 32]).await.unwrap().key.name, "alice");
    assert_eq!(find(store, [2; 32]).await.unwrap().key.version, 1);
}

pub async fn keys_and_scopes_are_listed_by_name(store: &dyn Store) {
    assert_eq!(store.keys().await, Ok(vec![]));
    for (name, digest) in [("b", [2; 32]), ("a/z", [3; 32]), ("a", [1; 32])] {
        keep(store, &Key::new(name, digest, NOW)).await;
        store.keep_scope(&scope(name, "1/1s")).await.unwrap();
    }
    let keys: Vec<String> = store.keys().await.unwrap().into_iter().map(|key| key.name).collect();
    assert_eq!(keys, ["a", "a/z", "b"]);
    let scopes: Vec<String> = store.scopes().await.unwrap().into_iter().map(|scope| scope.name).collect();
    assert_eq!(scopes, ["a", "a/z", "b"]);
}

pub async fn a_key_is_read_as_it_was_written(store: &dyn Store) {
    let limits = Limits {
        requests: Some("100/1m".into()),
        tokens: Some("200000/1m".into()),
        concurrent: Some(7),
        budgets: vec!["10 USD/month".into(), "1 USD/day".into()],
    };
    let mut written = Key {
        models: Some(vec!["small".into(), "größer".into()]),
        limits: limits.clone(),
        priority: Priority::Urgent,
        tags: vec!["batch-team".into(), "eu:west".into()],
        expires_ms: Some(NOW + 7),
        ..Key::new("acme/ml/alice", [9; 32], NOW)
    };
    written.rotate([8; 32], 60_000, NOW + 1);
    keep(store, &written).await;
    assert_eq!(key(store, "acme/ml/alice").await, Key { version: 1, ..written });
    let acme = Scope { name: "acme".into(), limits, version: 0 };
    store.keep_scope(&acme).await.unwrap();
    assert_eq!(store.scope("acme").await, Ok(Some(Scope { version: 1, ..acme })));
}
