//! Several processes with one database, and processes that end between any two statements.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod place;

use std::sync::Arc;

use place::file::File;
use place::{Place, wait};
use tollgate_contract::all_rows;
use tollgate_ledger::breaker::BreakerRule;
use tollgate_ledger::{Charge, Claim, Entry, Hold, Outcome, Raise, Reservation, Rule, Settled};
use tollgate_stepwise::{Database as _, Stepwise, Value};

const NOW: u64 = 1_795_435_200_000;

/// More statements than any step has.
const STATEMENTS: usize = 30;

fn entry(id: &str) -> Arc<Entry> {
    let (request_id, key) = (id.to_owned(), "acme/alice".to_owned());
    Arc::new(Entry { request_id, key, at_ms: NOW, outcome: Outcome::Lost, ..Entry::default() })
}

fn claims(amount: u64) -> Vec<Claim> {
    let budget = Rule::Budget { limit: 100, start_ms: NOW, end_ms: NOW + 86_400_000 };
    let window = Rule::Window { limit: 100, period_ms: 60_000 };
    let claim = |(cell, rule): (&str, Rule)| Claim { cell: cell.to_owned(), rule, amount };
    [("budget:acme", budget), ("tokens:acme", window)].map(claim).to_vec()
}

fn left(place: &Place) -> Vec<u64> {
    let standings = wait(tollgate_ledger::Ledger::standings(place, &claims(0), NOW)).unwrap();
    standings.iter().map(|standing| standing.remaining).collect()
}

#[test]
fn never_over_admit_among_many_processes() {
    let place = Place::new();
    let granted: usize = std::thread::scope(|scope| {
        let process = |process: usize| {
            let ledger = place.another(usize::MAX);
            scope.spawn(move || {
                let reserve = |number: usize| {
                    let (entry, claims) = (entry(&format!("{process}-{number}")), claims(3));
                    let hold = Hold { entry: &entry, claims: &claims, lease_ms: 60_000 };
                    matches!(ledger.reserve(hold, NOW).unwrap(), Reservation::Granted { .. })
                };
                (0..20).filter(|number| reserve(*number)).count()
            })
        };
        let processes: Vec<_> = (0..4).map(process).collect();
        processes.into_iter().map(|process| process.join().unwrap()).sum()
    });
    assert_eq!(granted, 33, "3 units each, of 100");
    assert_eq!(left(&place), [1, 1]);
}

#[test]
fn settle_once_wherever_a_process_ends() {
    let mut ended = [0; 3];
    for last in 0..STATEMENTS {
        let (place, row) = (Place::new(), entry("one"));
        let hold = |claims| Hold { entry: &row, claims, lease_ms: 60_000 };
        let (some, more) = (claims(10), claims(25));

        // Whoever comes next finds all of a step, or nothing.
        ended[0] += usize::from(place.another(last).reserve(hold(&some), NOW).is_err());
        assert!([[100, 100], [90, 90]].contains(&left(&place)[..].try_into().unwrap()), "{last}");
        let healthy = place.another(usize::MAX);
        assert!(matches!(healthy.reserve(hold(&some), NOW), Ok(Reservation::Granted { .. })), "{last}");
        assert_eq!(left(&place), [90, 90], "{last}");

        ended[1] += usize::from(place.another(last).raise(hold(&more), NOW).is_err());
        assert!([[90, 90], [75, 75]].contains(&left(&place)[..].try_into().unwrap()), "{last}");
        assert!(matches!(healthy.raise(hold(&more), NOW), Ok(Raise::Granted { .. })), "{last}");
        assert_eq!(left(&place), [75, 75], "{last}");

        let (cost, done) = ([7, 8], entry("one"));
        let died = place.another(last).settle(&done, Charge::Amounts(&cost), NOW);
        ended[2] += usize::from(died.is_err());
        let settled = healthy.settle(&done, Charge::Amounts(&cost), NOW).unwrap();
        assert!(matches!(settled, Settled::Done | Settled::Already), "{last}: {settled:?}");
        assert_eq!(left(&place), [93, 92], "{last}");
        assert_eq!(wait(all_rows(&place)).len(), 1, "{last}");
    }
    assert!(
        ended.iter().all(|ended| (5..STATEMENTS).contains(ended)),
        "{ended:?} of {STATEMENTS} died in a step"
    );
}

#[test]
fn there_are_no_views_to_be_read_with_each_instance_and_they_can_be_had() {
    let place = Place::new();
    let (entry, claims) = (entry("held"), claims(1));
    wait(tollgate_ledger::Ledger::reserve(
        &place,
        Hold { entry: &entry, claims: &claims, lease_ms: 60_000 },
        NOW,
    ))
    .unwrap();
    let mut file = place.file();
    let mut first = |statement: &str| -> Option<Value> {
        file.run(statement, &[]).unwrap().into_iter().next().map(|row| row.0.into_iter().next().unwrap())
    };
    assert_eq!(first("SELECT count(*) FROM sqlite_schema WHERE type = 'view'"), Some(Value::Integer(0)));
    let views = include_str!("../../sqlite/src/views.sql").split_inclusive(';');
    views.filter(|statement| statement.ends_with(';')).for_each(|statement| drop(first(statement)));
    assert_eq!(first("SELECT request_id FROM open_holds"), Some(Value::Text("held".into())));
    assert_eq!(first("SELECT day FROM spend_by_day"), None);
}

#[test]
fn a_database_of_something_else_or_of_another_version_is_left_alone() {
    for (before, expected) in [
        (&["CREATE TABLE other (a)"][..], "not one of Tollgate's"),
        (&["PRAGMA application_id = 7"], "not one of Tollgate's"),
        (&["PRAGMA user_version = 2"], "not one of Tollgate's"),
        (&["PRAGMA application_id = 1953459308", "PRAGMA user_version = 3"], "one of version 3"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let open = || File::open(&folder.path().join("other.db")).unwrap();
        let mut file = open();
        before.iter().for_each(|statement| drop(file.run(statement, &[]).unwrap()));
        let told = Stepwise::new(open()).standings(&[], NOW).unwrap_err().to_string();
        assert!(told.contains(expected), "{before:?}: {told}");
        let tables = file.run("SELECT name FROM sqlite_schema WHERE name <> 'other'", &[]).unwrap();
        assert!(tables.is_empty(), "{before:?}");
    }
}

#[test]
fn who_is_refused_keeps_no_writer_out_and_is_kept_out_by_none() {
    let place = Place::new();
    let row = entry("first");
    let all = claims(100);
    let granted =
        place.another(usize::MAX).reserve(Hold { entry: &row, claims: &all, lease_ms: 60_000 }, NOW);
    assert!(matches!(granted, Ok(Reservation::Granted { .. })), "{granted:?}");

    let mut writer = place.file();
    writer.run("BEGIN IMMEDIATE", &[]).unwrap();
    let (late, one) = (entry("late"), claims(1));
    let hold = Hold { entry: &late, claims: &one, lease_ms: 60_000 };
    let refused = place.another(usize::MAX).reserve(hold, NOW);
    assert!(matches!(refused, Ok(Reservation::Limited { claim: 0, .. })), "{refused:?}");
    // What would take something waits for its turn.
    let mut brief = place.file();
    brief.run("PRAGMA busy_timeout = 10", &[]).unwrap();
    let waits = Stepwise::new(brief).reserve(Hold { claims: &claims(0), ..hold }, NOW);
    assert!(waits.is_err_and(|cause| cause.to_string().contains("locked")));
    writer.run("ROLLBACK", &[]).unwrap();
}

#[test]
fn a_database_that_a_tool_made_gets_the_tables_it_lacks_when_one_is_needed() {
    type Needs = fn(&Stepwise<File>);
    let needs: [Needs; 2] = [
        |ledger| {
            let (row, some) = (entry("one"), claims(10));
            let granted = ledger.reserve(Hold { entry: &row, claims: &some, lease_ms: 60_000 }, NOW);
            assert!(matches!(granted, Ok(Reservation::Granted { .. })), "{granted:?}");
            assert_eq!(ledger.settle(&row, Charge::Amounts(&[1, 1]), NOW).unwrap(), Settled::Done);
        },
        |ledger| {
            let rule = BreakerRule { failures: 1, open_ms: 1_000, probe_ms: 1_000 };
            assert!(ledger.ask("upstream", rule, NOW).is_ok());
        },
    ];
    for needs in needs {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.db");
        drop(tollgate_sqlite::Records::open(&path).unwrap());
        let ours = || {
            let all = "SELECT count(*) FROM sqlite_schema WHERE name IN \
                       ('breakers', 'holds_by_request', 'holds_by_lease', 'counters_by_end')";
            File::open(&path).unwrap().run(all, &[]).unwrap().remove(0).0.remove(0)
        };
        assert_eq!(ours(), Value::Integer(0));
        needs(&Stepwise::new(File::open(&path).unwrap()));
        assert_eq!(ours(), Value::Integer(4));
    }
}

#[test]
fn a_budget_whose_counter_was_dropped_does_not_begin_anew_when_the_clock_goes_back() {
    let place = Place::new();
    let (row, all, done) = (entry("first"), claims(100), entry("first"));
    let ledger = place.another(usize::MAX);
    let granted = ledger.reserve(Hold { entry: &row, claims: &all, lease_ms: 60_000 }, NOW);
    assert!(matches!(granted, Ok(Reservation::Granted { .. })), "{granted:?}");
    assert_eq!(ledger.settle(&done, Charge::Amounts(&[100, 100]), NOW).unwrap(), Settled::Done);
    // A day after its end its counter is gone.
    ledger.expire(NOW + 3 * 86_400_000).unwrap();
    let counters = place.file().run("SELECT count(*) FROM counters", &[]).unwrap();
    assert_eq!(counters[0].0[0], Value::Integer(0));

    let (late, one) = (entry("late"), claims(1));
    let refused = ledger.reserve(Hold { entry: &late, claims: &one, lease_ms: 60_000 }, NOW);
    assert!(matches!(refused, Ok(Reservation::Limited { claim: 0, .. })), "{refused:?}");
}
