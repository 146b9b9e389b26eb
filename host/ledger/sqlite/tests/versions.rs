//! A file that an earlier version made: whoever opens it first gives it the tables of this one, and nothing is lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic in a test is a failed test")]

mod place;

use place::{Place, wait};
use rusqlite::Connection;
use tollgate_contract::{NOW, all_rows, budget, granted, settle, slots, window};
use tollgate_ledger::Charge;
use tollgate_ledger::keys::{Kept, Key, Keys as _};
use tollgate_sqlite::Records;

/// Takes the tables of this version back to the first.
const FIRST: &str = "ALTER TABLE keys DROP COLUMN tags; ALTER TABLE charges DROP COLUMN price_since;
    ALTER TABLE charges DROP COLUMN price_since_ms; ALTER TABLE charges DROP COLUMN price_source;
    ALTER TABLE charges DROP COLUMN cache_write_tokens; ALTER TABLE charges DROP COLUMN cache_write_price;
    ALTER TABLE charges DROP COLUMN reasoning_price; PRAGMA user_version = 1";

#[test]
fn a_file_of_the_first_version_is_taken_up_by_server_and_tools() {
    let place = Place::new();
    let store = place.open(NOW);
    wait(async {
        let claims = [window("w", 100, 3), budget("b", 100, 20), slots("s", 9, 1)];
        for id in ["open", "settled"] {
            assert!(granted(&store, id, &claims, NOW).await);
        }
        settle(&store, "settled", Charge::Amounts(&[1, 7, 1]), NOW + 5).await;
        assert_eq!(store.keep_key(&Key::new("acme/alice", [7; 32], NOW)).await, Ok(Kept::Done));
    });
    let (before, mut rows) = (store.snapshot(NOW + 10), wait(all_rows(&store)));
    for row in &mut rows {
        // The first version knew no other rates, no dates and no sources.
        row.cache_write_tokens = 0;
        (row.price.cache_write, row.price.reasoning) = (row.price.input, row.price.output);
        (row.price.since_ms, row.price.source) = (None, None);
    }
    drop(store);
    for by_tools in [true, false] {
        Connection::open(place.file()).unwrap().execute_batch(FIRST).unwrap();
        if by_tools {
            // Of several at once one makes the step.
            std::thread::scope(|scope| {
                let opened: Vec<_> = (0..4).map(|_| scope.spawn(|| Records::open(place.file()))).collect();
                opened.into_iter().for_each(|opened| drop(opened.join().unwrap().unwrap()));
            });
            assert_eq!(place.shell("PRAGMA user_version"), ["2"]);
        }
        let store = place.open(NOW + 10);
        assert_eq!((store.snapshot(NOW + 10), wait(all_rows(&store))), (before.clone(), rows.clone()));
        let mut key = wait(store.key("acme/alice")).unwrap().unwrap();
        assert_eq!(key.tags, [""; 0]);
        key.tags = vec!["batch".into()];
        assert_eq!(wait(store.keep_key(&key)), Ok(Kept::Done));
        assert_eq!(wait(store.find(&[7; 32])).unwrap().unwrap().key.tags, ["batch"]);
    }
    assert_eq!(place.shell("SELECT name, tags FROM keys"), ["acme/alice|[\"batch\"]"]);
}
