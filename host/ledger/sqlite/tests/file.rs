//! What is in the file: it survives a restart as it was, one server has it, tools read and change it beside that
//! server, and a person can read it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod place;

use std::sync::Arc;

use place::{Place, wait};
use rusqlite::Connection;
use tollgate_contract::{
    END, LEASE, MINUTE, NOW, all_rows, budget, entry, granted, raised, remaining, reserve, settle, slots,
    window,
};
use tollgate_ledger::keys::{Kept, Key, Keys, Limits, Scope};
use tollgate_ledger::{
    Charge, Charges as _, Claim, Entry, Ledger as _, Outcome, Query, Reservation, Rule, Settled,
};
use tollgate_sqlite::{OpenError, Records, Sqlite};

const DAY: u64 = 86_400_000;

async fn three_holds(store: &Sqlite) {
    let claims = [window("w", 100, 3), budget("b", 100, 20), slots("s", 9, 1)];
    for id in ["open", "settled", "lost"] {
        assert!(granted(store, id, &claims, NOW).await);
    }
    assert!(store.renew("open", 2 * LEASE, NOW + 5).await.unwrap());
    assert_eq!(settle(store, "settled", Charge::Amounts(&[1, 7, 1]), NOW + 5).await, Settled::Done);
}

#[test]
fn everything_survives_a_restart() {
    let place = Place::new();
    let mut scope = Scope { name: "acme".into(), limits: Limits::default(), version: 0 };
    scope.limits.budgets.push("10 USD/month".into());
    let (store, later) = (place.open(NOW), NOW + 10);
    wait(async {
        three_holds(&store).await;
        assert_eq!(store.keep_key(&Key::new("acme/alice", [7; 32], NOW)).await, Ok(Kept::Done));
        assert_eq!(store.keep_scope(&scope).await, Ok(Kept::Done));
    });
    let (before, rows, found) =
        (store.snapshot(later), wait(all_rows(&store)), wait(store.find(&[7; 32])).unwrap());
    assert_eq!((before.holds.len(), rows.len(), found.as_ref().unwrap().scopes.len()), (2, 1, 1));
    drop(store);
    let states = place.shell("SELECT name, state FROM counters");
    assert_eq!(states.len(), 3);
    for _ in 0..3 {
        let store = place.open(later);
        assert_eq!(store.snapshot(later), before);
        assert_eq!(wait(all_rows(&store)), rows);
        assert_eq!(wait(store.find(&[7; 32])).unwrap(), found);
        drop(store);
        assert_eq!(place.shell("SELECT name, state FROM counters"), states);
    }
}

#[test]
fn a_raised_hold_survives_a_restart_as_it_was_raised() {
    let place = Place::new();
    let claims = |amount| [window("w", 100, amount), budget("b", 100, amount), slots("s", 9, 1)];
    let restarted = |store: Sqlite, now| {
        let before = store.snapshot(now);
        drop(store);
        let states = place.shell("SELECT name, state FROM counters");
        let store = place.open(now);
        assert_eq!(store.snapshot(now), before);
        assert_eq!(place.shell("SELECT name, state FROM counters"), states);
        store
    };
    let mut store = place.open(NOW);
    for id in ["one", "lost"] {
        assert!(wait(granted(&store, id, &claims(10), NOW)));
    }
    // One that the file has, one that was opened since, and one in between.
    for (number, amount) in [(1, 20), (2, 30), (3, 40)] {
        let now = NOW + number * 10_000;
        assert!(wait(raised(&store, "one", &claims(amount), now)));
        assert!(wait(store.renew("one", 2 * LEASE, now)).unwrap());
        store = restarted(store, now);
    }
    assert!(wait(raised(&store, "lost", &claims(25), NOW + 40_000)));
    store = restarted(store, NOW + 40_000);
    wait(async {
        assert!(!raised(&store, "one", &claims(76), NOW + 50_000).await);
        assert_eq!(settle(&store, "one", Charge::Amounts(&[33, 32, 1]), NOW + 50_000).await, Settled::Done);
        assert_eq!(remaining(&store, budget("b", 100, 0), NOW + 50_000).await, 100 - 32 - 25);
        // 10 of each were taken by the reservations, which the window has forgotten by then.
        let later = NOW + MINUTE + 2_000;
        assert_eq!(remaining(&store, window("w", 100, 0), later).await, 100 - 23 - 15);
        assert_eq!(store.expire(NOW + 40_000 + LEASE).await, Ok(1));
        let charges: Vec<_> = all_rows(&store).await.into_iter().map(|row| row.charge).collect();
        assert_eq!(charges, [25, 0]);
    });
}

#[test]
fn a_hold_of_an_ended_budget_is_raised_after_a_restart() {
    let place = Place::new();
    let store = place.open(NOW);
    wait(async {
        assert!(granted(&store, "one", &[budget("b", 10, 4)], END - 1).await);
        assert!(store.renew("one", 60 * MINUTE, END).await.unwrap());
    });
    drop(store);
    let late = END + 30 * MINUTE;
    let store = place.open(late);
    wait(async {
        store.expire(late).await.unwrap();
        assert!(raised(&store, "one", &[budget("b", 10, 10)], late).await);
        assert!(!granted(&store, "two", &[budget("b", 10, 1)], late).await);
        store.flush().await.unwrap();
    });
    assert_eq!(place.shell("SELECT used FROM counters"), ["10"]);
}

#[test]
fn settle_once_over_a_restart() {
    let place = Place::new();
    wait(three_holds(&place.open(NOW)));
    let store = place.open(NOW + 10);
    wait(async {
        assert_eq!(settle(&store, "settled", Charge::Held, NOW + 10).await, Settled::Already);
        assert!(granted(&store, "settled", &[budget("b", 100, 20)], NOW + 10).await);
        assert!(granted(&store, "open", &[budget("b", 100, 20)], NOW + 10).await);
        assert_eq!(settle(&store, "never", Charge::Held, NOW + 10).await, Settled::Unknown);
        assert_eq!(settle(&store, "open", Charge::Amounts(&[1, 2, 1]), NOW + 10).await, Settled::Done);
        assert_eq!(remaining(&store, budget("b", 100, 0), NOW + 10).await, 100 - 7 - 2 - 20);
        assert_eq!(all_rows(&store).await.len(), 2);
    });
}

#[test]
fn no_phantom_refusal_by_a_hold_of_a_server_that_died() {
    let place = Place::new();
    wait(three_holds(&place.open(NOW)));
    // The renewed one is still open.
    let late = NOW + LEASE + MINUTE;
    let store = place.open(late);
    wait(async {
        assert_eq!(store.snapshot(late).holds.len(), 1);
        assert_eq!(store.expire(late).await, Ok(1), "what was lost meanwhile is told once");
        assert_eq!(store.expire(late).await, Ok(0));
        let rows: Vec<_> =
            all_rows(&store).await.into_iter().map(|row| (row.request_id, row.outcome)).collect();
        assert!(rows.contains(&("lost".into(), Outcome::Lost)), "{rows:?}");
        assert_eq!(settle(&store, "lost", Charge::Nothing, late).await, Settled::Already);
        assert_eq!(remaining(&store, budget("b", 100, 0), late).await, 100 - 7 - 20 - 20);
        assert_eq!(remaining(&store, slots("s", 9, 0), late).await, 8);
        assert_eq!(remaining(&store, window("w", 100, 0), late).await, 100);
    });
    drop(store);
    assert_eq!(place.shell("SELECT request_id FROM holds"), ["open"]);
}

#[test]
fn never_over_admit_in_a_budget_that_ended_before_the_restart() {
    let place = Place::new();
    assert!(wait(granted(&place.open(NOW), "one", &[budget("b", 10, 10)], NOW)));
    let late = END + 2 * MINUTE;
    let store = place.open(late);
    let answer = wait(reserve(&store, "two", &[budget("b", 10, 1)], late));
    assert!(matches!(answer, Reservation::Limited { .. }), "{answer:?}");
    drop(store);
    // The clock was wrong: the file has kept what was spent.
    let store = place.open(NOW + 5);
    assert_eq!(wait(remaining(&store, budget("b", 25, 0), NOW + 5)), 15);
}

#[test]
fn never_over_admit_in_a_budget_whose_counter_is_gone_when_the_clock_comes_back() {
    let place = Place::new();
    let store = place.open(NOW);
    assert!(wait(granted(&store, "one", &[budget("b", 10, 10), window("w", 9, 1)], NOW)));
    wait(async {
        store.expire(END + DAY).await.unwrap();
        reserve(&store, "at-last", &[], END + DAY).await;
        store.flush().await.unwrap();
    });
    drop(store);
    assert_eq!(place.shell("SELECT count(*) FROM counters"), ["0"]);
    let store = place.open(NOW);
    let answer = wait(reserve(&store, "two", &[budget("b", 10, 1)], NOW));
    assert!(matches!(answer, Reservation::Limited { .. }), "{answer:?}");
    // A budget that ends later has lost nothing.
    let later =
        Claim { rule: Rule::Budget { limit: 10, start_ms: 0, end_ms: END + 1 }, ..budget("later", 10, 1) };
    assert!(wait(granted(&store, "three", &[later], NOW)));
}

#[test]
fn counters_that_are_over_leave_the_file_a_day_later() {
    let place = Place::new();
    let store = place.open(NOW);
    wait(async {
        for number in 0..2_500 {
            let claims = [window(&format!("w{number}"), 9, 1), budget(&format!("b{number}"), 9, 1)];
            assert!(granted(&store, &format!("hold-{number}"), &claims, NOW).await);
        }
        for (now, left) in [(END, ["5000"]), (NOW + DAY + 2 * MINUTE, ["2500"]), (END + DAY, ["0"])] {
            // Each looks at a thousand of them.
            for round in 0..8 {
                store.expire(now).await.unwrap();
                reserve(&store, &format!("at-{now}-{round}"), &[], now).await;
                store.flush().await.unwrap();
            }
            assert_eq!(place.shell("SELECT count(*) FROM counters"), left, "{now}");
        }
    });
}

#[test]
fn one_file_has_one_server() {
    let place = Place::new();
    let store = place.open(NOW);
    let second = Sqlite::open(place.file(), NOW).err().unwrap();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    assert!(second.to_string().contains("another server"), "{second}");
    drop(store);
    place.open(NOW);
}

#[test]
fn a_new_file_may_be_opened_by_many_at_once() {
    for _ in 0..10 {
        let place = Place::new();
        std::thread::scope(|scope| {
            let opened: Vec<_> = (0..4).map(|_| scope.spawn(|| Records::open(place.file()))).collect();
            for opened in opened {
                let tool = opened.join().unwrap().unwrap();
                assert_eq!(wait(tool.keys()), Ok(vec![]));
            }
        });
    }
}

#[test]
fn tools_beside_a_server_change_its_keys_at_once() {
    let place = Place::new();
    let tool = Records::open(place.file()).unwrap();
    let store = place.open(NOW);
    wait(async {
        assert_eq!(tool.keep_key(&Key::new("acme/alice", [7; 32], NOW)).await, Ok(Kept::Done));
        let mut key = store.find(&[7; 32]).await.unwrap().unwrap().key;
        for round in 1..50 {
            assert!(granted(&store, &format!("hold-{round}"), &[budget("b", 100, 1)], NOW).await);
            let (from, to): (&dyn Keys, &dyn Keys) =
                if round % 2 == 0 { (&tool, &store) } else { (&store, &tool) };
            key.rotate([round; 32], 0, NOW + u64::from(round));
            assert_eq!(from.keep_key(&key).await, Ok(Kept::Done));
            key = to.find(&[round; 32]).await.unwrap().unwrap().key;
            assert_eq!(from.keep_key(&Key { version: 1, ..key.clone() }).await, Ok(Kept::Conflict));
        }
        settle(&store, "hold-1", Charge::Held, NOW).await;
        store.flush().await.unwrap();
        assert_eq!(tool.charges(&Query::default()).await.unwrap().len(), 1);
    });
}

#[test]
fn a_file_that_is_no_ledger_is_refused_and_left_alone() {
    let place = Place::new();
    let refused = |said: &str| {
        for cause in
            [Sqlite::open(place.file(), NOW).err().unwrap(), Records::open(place.file()).err().unwrap()]
        {
            assert!(cause.to_string().contains(said), "{cause}");
        }
    };
    std::fs::write(place.file(), "budgets = []\n".repeat(100)).unwrap();
    refused("is not a ledger");
    assert!(std::fs::read_to_string(place.file()).unwrap().starts_with("budgets"));
    std::fs::remove_file(place.file()).unwrap();
    Connection::open(place.file()).unwrap().execute_batch("CREATE TABLE other (a)").unwrap();
    refused("is not a ledger");
    std::fs::remove_file(place.file()).unwrap();
    drop(place.open(NOW));
    Connection::open(place.file()).unwrap().execute_batch("PRAGMA user_version = 3").unwrap();
    refused("written by a newer Tollgate");
    std::fs::remove_file(place.file()).unwrap();
    std::fs::create_dir(place.file()).unwrap();
    refused("cannot be opened");
}

#[test]
fn a_row_that_cannot_be_understood_is_named() {
    let place = Place::new();
    wait(three_holds(&place.open(NOW)));
    for (damage, said) in [
        ("UPDATE counters SET state = 'budget x 7' WHERE name = 'b'", "counters, b:"),
        (
            "UPDATE holds SET parts = '[[\"b\", 1, 2]]' WHERE number = 1; UPDATE counters SET state = 'slots'",
            "holds, number 1:",
        ),
    ] {
        Connection::open(place.file()).unwrap().execute_batch(damage).unwrap();
        let cause = Sqlite::open(place.file(), NOW).err().unwrap();
        assert!(matches!(cause, OpenError::Unreadable { .. }) && cause.to_string().contains(said), "{cause}");
    }
}

#[test]
fn the_tables_are_read_by_hand() {
    let place = Place::new();
    let store = place.open(NOW);
    wait(async {
        for (number, (key, charge)) in
            [("acme/ml/alice", 1_500_000_000), ("acme/ml/alice", 7), ("acme/bob", 3), ("eve", 0)]
                .into_iter()
                .enumerate()
        {
            let row = Entry { key: key.into(), ..entry(&format!("hold-{number}"), charge) };
            let row = Arc::new(Entry { at_ms: NOW + number as u64 * DAY / 3, ..row });
            let hold = tollgate_ledger::Hold { entry: &row, claims: &[], lease_ms: LEASE };
            store.reserve(hold, NOW).await.unwrap();
            if key != "eve" {
                store.settle(&row, Charge::Held, NOW).await.unwrap();
            }
        }
        store.flush().await.unwrap();
    });
    assert_eq!(
        place.shell("SELECT at, organisation, team, key, charge_nano FROM charges"),
        [
            "2023-11-14T22:13:20.000Z|acme|ml|acme/ml/alice|1500000000",
            "2023-11-15T06:13:20.000Z|acme|ml|acme/ml/alice|7",
            "2023-11-15T14:13:20.000Z|acme||acme/bob|3",
        ]
    );
    assert_eq!(
        place.shell("SELECT day, key, currency, exchanges, spend FROM spend_by_day"),
        [
            "2023-11-14|acme/ml/alice|USD|1|1.500000000",
            "2023-11-15|acme/bob|USD|1|0.000000003",
            "2023-11-15|acme/ml/alice|USD|1|0.000000007",
        ]
    );
    assert_eq!(
        place.shell("SELECT month, model, exchanges, spend FROM spend_by_model"),
        ["2023-11|small|3|1.500000010"]
    );
    assert_eq!(
        place.shell("SELECT request_id, key, at, until, charge, currency FROM open_holds"),
        ["hold-3|eve|2023-11-15T22:13:20.000Z|2023-11-14T22:18:20.000Z|0.000000000|USD",]
    );
}

#[test]
fn rows_are_found_along_an_index_also_in_a_scope_of_many() {
    let place = Place::new();
    let store = place.open(NOW);
    let fill = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 59999)
        INSERT INTO charges SELECT i, 'id-' || i, iif(i % 6, 'acme/ml/alice', 'acme/bob'), 'm', NULL, NULL,
        0, 0, 0, 0, 0, 0, 1, 'USD', 0, 0, 0, 0, 0, NULL, NULL, 200, 'completed', 0, NULL FROM n";
    Connection::open(place.file()).unwrap().execute_batch(fill).unwrap();
    for (scope, number) in
        [("acme", 60_000), ("acme/ml", 50_000), ("acme/ml/alice", 50_000), ("acme/bob", 10_000)]
    {
        let mut query = Query { scope: Some(scope.into()), limit: 7_000, ..Query::default() };
        let mut rows: Vec<Entry> = Vec::new();
        loop {
            let page = wait(store.charges(&query)).unwrap();
            let Some(last) = page.last() else { break };
            query.after = Some((last.at_ms, last.request_id.clone()));
            rows.extend(page);
        }
        assert_eq!(rows.len(), number, "{scope}");
        assert!(rows.is_sorted_by_key(|row| row.at_ms) && rows.iter().all(|row| query_key(&row.key, scope)));
    }
}

fn query_key(key: &str, scope: &str) -> bool {
    tollgate_ledger::scopes(key).any(|around| around == scope)
}
