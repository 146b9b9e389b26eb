//! How fast the books in memory are, and how large:
//! `cargo run --release -p tollgate-ledger --example speed [-- windows | budgets]`.
//!
//! Prints the time of one reservation and its settlement over three claims (two windows and a budget of one key),
//! at a few and at many keys; or the resident memory of a million windows or budgets.

#![allow(clippy::indexing_slicing, reason = "there are batches")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use tollgate_ledger::{Books, Charge, Claim, Entry, Hold, Reservation, Rule, Settled, Unkept};

const NOW: u64 = 1_764_000_000_000;
const LEASE: u64 = 300_000;
const PAIRS: u64 = 1_280_000;
const BATCH: u64 = 64;

fn main() {
    // Memory that was given back must not count for what comes after: each in a process of its own.
    match std::env::args().nth(1).as_deref() {
        Some("windows") => println!("a million windows: {} MB", counters(window)),
        Some("budgets") => println!("a million budgets: {} MB", counters(budget)),
        _ => times(),
    }
}

fn times() {
    for keys in [100, 10_000] {
        let (median, best) = pairs(keys);
        println!("{keys} keys: {median} ns for a reservation and its settlement, {best} ns undisturbed");
    }
}

fn window(cell: String) -> Claim {
    Claim { cell, rule: Rule::Window { limit: 1_000_000, period_ms: 60_000 }, amount: 1 }
}

fn budget(cell: String) -> Claim {
    let rule = Rule::Budget { limit: u64::MAX, start_ms: NOW - 1, end_ms: NOW + 86_400_000_000 };
    Claim { cell, rule, amount: 900 }
}

fn claims(key: u64) -> [Claim; 3] {
    [
        window(format!("requests:acme/team/key-{key}")),
        window(format!("tokens:acme/team/key-{key}")),
        budget(format!("budget:acme/team/key-{key}:USD:2026-11")),
    ]
}

/// Nanoseconds for one reservation and its settlement, the keys in turn, a millisecond each. The rows are made
/// shortly before, as a server makes them. The median of many batches, and the fastest tenth of them.
fn pairs(keys: u64) -> (u64, u64) {
    let books = Books::new(Unkept);
    let claims: Vec<_> = (0..keys).map(claims).collect();
    let mut claims = claims.iter().cycle();
    let mut spent = Vec::new();
    for batch in 0..PAIRS / BATCH {
        let row =
            |number| Arc::new(Entry { request_id: format!("req_{batch:09}{number:09}"), ..Entry::default() });
        let rows: Vec<Arc<Entry>> = (0..BATCH).map(row).collect();
        let start = Instant::now();
        for (now, (entry, claims)) in (NOW + batch * BATCH..).zip(rows.iter().zip(&mut claims)) {
            let reservation = books.reserve(Hold { entry, claims, lease_ms: LEASE }, now);
            assert!(matches!(black_box(reservation), Reservation::Granted { .. }));
            let settled = books.settle(entry, Charge::Amounts(&[1, 2, 3]), now + 1);
            assert_eq!(black_box(settled), Settled::Done);
        }
        spent.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX) / BATCH);
    }
    spent.sort_unstable();
    (spent[spent.len() / 2], spent[spent.len() / 10])
}

/// Megabytes that a million counters keep resident.
fn counters(make: fn(String) -> Claim) -> u64 {
    let before = resident();
    let books = Books::new(Unkept);
    for number in 0..1_000_000_u64 {
        let claims = [make(format!("tokens:acme/team-7/key-{number:06}"))];
        let entry = Arc::new(Entry { request_id: format!("req_{number}"), ..Entry::default() });
        let now = NOW + number / 1_000;
        black_box(books.reserve(Hold { entry: &entry, claims: &claims, lease_ms: LEASE }, now));
        black_box(books.settle(&entry, Charge::Held, now));
    }
    let after = resident();
    drop(black_box(books));
    after.saturating_sub(before) / 1_000_000
}

/// Bytes of this process that are resident.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).map_or(0, |pages: u64| pages * 4_096)
}
