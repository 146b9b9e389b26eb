//! The books in memory: the time of one reservation and its settlement, and the room of a million counters.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use tollgate_ledger::{Charge, Claim, Entry, Hold, Ledger as _, Memory, Pending, Reservation, Rule, Settled};

use crate::process::resident_here;
use crate::report::{Report, Target, median};

const NOW: u64 = 1_764_000_000_000;
const LEASE: u64 = 300_000;
const BATCHES: u64 = 5_000;
const BATCH: u64 = 64;

/// Measures both.
pub fn measure(report: &mut Report) -> Result<()> {
    for keys in [100, 10_000] {
        let us = pairs(keys)?;
        let name = format!("memory: reserve and settle three claims, {keys} keys");
        report.figure(name, us, "µs", Target::AtMost(2.0));
    }
    for kind in ["windows", "budgets"] {
        // Memory that was given back must not count for what comes after: each in a process of its own.
        let output = Command::new(std::env::current_exe()?).args(["counters", kind]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mb = text.trim().parse().with_context(|| format!("`counters {kind}` printed {text:?}"))?;
        report.figure(format!("memory: a million {kind}"), mb, "MB", Target::AtMost(200.0));
    }
    Ok(())
}

/// Microseconds for one reservation and its settlement, the keys in turn, a millisecond each. The rows are made
/// shortly before, as a server makes them.
fn pairs(keys: u64) -> Result<f64> {
    let store = Memory::new();
    let claims: Vec<[Claim; 3]> = (0..keys).map(claims).collect();
    let mut claims = claims.iter().cycle();
    let mut spent = Vec::new();
    for batch in 0..BATCHES {
        let row =
            |number| Arc::new(Entry { request_id: format!("req_{batch:09}{number:09}"), ..Entry::default() });
        let rows: Vec<Arc<Entry>> = (0..BATCH).map(row).collect();
        let begin = Instant::now();
        for (now, (entry, claims)) in (NOW + batch * BATCH..).zip(rows.iter().zip(&mut claims)) {
            let hold = Hold { entry, claims, lease_ms: LEASE };
            let granted = matches!(ready(store.reserve(hold, now))?, Reservation::Granted { .. });
            let settled = ready(store.settle(entry, Charge::Amounts(&[1, 2, 3]), now + 1))?;
            if !granted || settled != Settled::Done {
                bail!("the books in memory refused what fits");
            }
        }
        spent.push(begin.elapsed().as_secs_f64() * 1e6 / BATCH as f64);
    }
    Ok(median(spent))
}

fn claims(key: u64) -> [Claim; 3] {
    [
        window(format!("requests:acme/team/key-{key}")),
        window(format!("tokens:acme/team/key-{key}")),
        budget(format!("budget:acme/team/key-{key}:USD:2026-11")),
    ]
}

fn window(cell: String) -> Claim {
    Claim { cell, rule: Rule::Window { limit: 1 << 40, period_ms: 60_000 }, amount: 1 }
}

fn budget(cell: String) -> Claim {
    let rule = Rule::Budget { limit: 1 << 50, start_ms: NOW - 1, end_ms: NOW + 86_400_000_000 };
    Claim { cell, rule, amount: 900 }
}

/// Prints the megabytes that a million counters keep resident. For a process that does nothing else.
pub fn print_counters(kind: &str) -> Result<()> {
    let make = if kind == "windows" { window } else { budget };
    let before = resident_here()?;
    let store = Memory::new();
    for number in 0..1_000_000_u64 {
        let claims = [make(format!("tokens:acme/team-7/key-{number:06}"))];
        let entry = Arc::new(Entry { request_id: format!("req_{number}"), ..Entry::default() });
        let now = NOW + number / 1_000;
        ready(store.reserve(Hold { entry: &entry, claims: &claims, lease_ms: LEASE }, now))?;
        ready(store.settle(&entry, Charge::Held, now))?;
    }
    println!("{}", (resident_here()? - before) / 1e6);
    black_box(store);
    Ok(())
}

/// The answer of a store that never makes anyone wait.
fn ready<T>(mut pending: Pending<'_, T>) -> Result<T> {
    match pending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Ok(answer?),
        Poll::Pending => bail!("the books in memory wait for nothing"),
    }
}
