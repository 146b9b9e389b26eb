//! A disk that takes no more: nothing is granted that could not be kept, nothing that was granted is lost, and all is
//! well again when it takes more.
//!
//! The limit of a file's size is a real failure of every write, and can be set for a process that is not asked. A
//! process that passes it is killed by a signal unless it ignores it, so each test runs itself in a process that does.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic in a test is a failed test")]

mod place;

use std::process::Command;

use place::{Place, wait};
use tollgate_contract::{LEASE, NOW, all_rows, budget, granted, remaining, reserve, settle};
use tollgate_ledger::{Charge, Condition, Ledger as _, Reservation, Settled};

const INSIDE: &str = "TOLLGATE_TEST_WITHOUT_SIGNAL";

/// Runs the named test of this file again, in a process that ignores the signal of a file that is too large; true
/// in that process.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let again = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(INSIDE, "1")
        .output()
        .unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
    assert!(String::from_utf8_lossy(&again.stdout).contains("1 passed"));
    false
}

/// No file of this process may become larger than this from now on.
fn limit(bytes: &str) {
    let process = std::process::id().to_string();
    let done = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={bytes}:")]).status();
    assert!(done.unwrap().success());
}

fn position(reservation: Reservation) -> tollgate_ledger::Position {
    match reservation {
        Reservation::Granted { position, .. } => position,
        Reservation::Limited { .. } => panic!("refused"),
    }
}

/// The disk takes nothing beyond so many bytes, and then takes more again.
fn full_and_well_again(bytes: impl FnOnce(&Place) -> String) {
    let place = Place::new();
    let store = place.open(NOW);
    wait(async {
        for id in ["one", "two", "three"] {
            assert!(granted(&store, id, &[budget("b", 100, 10)], NOW).await);
        }
        store.flush().await.unwrap();
        assert_eq!(store.condition(), Condition::Sound);

        limit(&bytes(&place));
        let four = position(reserve(&store, "four", &[budget("b", 100, 10)], NOW).await);
        let lost = store.durable(four).await.unwrap_err();
        assert!(lost.reason.contains("cannot be written"), "{lost}");
        assert!(matches!(store.condition(), Condition::Down(reason) if reason.contains("cannot be written")));

        // Nothing more is granted, nor is a hold raised; what is open can be settled, renewed and lost.
        let five = std::sync::Arc::new(tollgate_contract::entry("five", 1));
        let hold = tollgate_ledger::Hold { entry: &five, claims: &[], lease_ms: LEASE };
        assert!(store.reserve(hold, NOW).await.is_err());
        let two = std::sync::Arc::new(tollgate_contract::entry("two", 20));
        let claims = [budget("b", 100, 20)];
        let hold = tollgate_ledger::Hold { entry: &two, claims: &claims, lease_ms: LEASE };
        assert!(store.raise(hold, NOW).await.is_err());
        assert_eq!(settle(&store, "one", Charge::Amounts(&[3]), NOW).await, Settled::Done);
        assert!(store.renew("two", 2 * LEASE, NOW).await.unwrap());
        assert_eq!(settle(&store, "four", Charge::Nothing, NOW).await, Settled::Done);
        assert_eq!(store.expire(NOW + LEASE).await, Ok(1));
        assert!(store.flush().await.is_err());
        assert_eq!(remaining(&store, budget("b", 100, 0), NOW).await, 100 - 3 - 10 - 10);

        limit("unlimited");
        while store.condition() != Condition::Sound {
            std::thread::yield_now();
        }
        assert_eq!(store.durable(four).await, Ok(()));
        assert!(granted(&store, "five", &[budget("b", 100, 10)], NOW + LEASE).await);
        assert_eq!(all_rows(&store).await.len(), 3);
    });
    let before = store.snapshot(NOW + LEASE);
    drop(store);
    let store = place.open(NOW + LEASE);
    assert_eq!(store.snapshot(NOW + LEASE), before);
    assert_eq!(before.holds.len(), 2);
    let rows = place.shell("SELECT request_id, charge_nano, outcome FROM charges ORDER BY request_id");
    assert_eq!(rows, ["four|0|lost", "one|0|lost", "three|10|lost"]);
}

#[test]
fn a_disk_that_is_full_loses_nothing() {
    if is_inside("a_disk_that_is_full_loses_nothing") {
        // The log is there and may not grow.
        full_and_well_again(|place| {
            let mut log = place.file().into_os_string();
            log.push("-wal");
            std::fs::metadata(log).unwrap().len().to_string()
        });
    }
}

#[test]
fn a_disk_that_cannot_be_written_at_all_loses_nothing() {
    if is_inside("a_disk_that_cannot_be_written_at_all_loses_nothing") {
        full_and_well_again(|_| "0".to_owned());
    }
}
