//! Every order in which a few clients can reserve, renew, settle, repeat, crash and let time pass, on a few gateways,
//! against the naive ledger and the invariants. Deliberately broken stores are found by the same check, so the check
//! can fail.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod explorer;
mod faults;

use explorer::Step::{Crash, Expire, More, Pass, Renew, Reserve, Settle, SettleHeld};
use explorer::{LEASE, Program, explore, interleavings};
use faults::{Broken, Fault};
use tollgate_ledger::{Memory, Store};

fn memory() -> Box<dyn Store> {
    Box::new(Memory::new())
}

/// What one gateway does for its clients, step by step; two of them share a gateway if they have its number.
fn on(gateway: usize, steps: impl Into<Vec<explorer::Step>>) -> Program {
    Program { gateway, steps: steps.into() }
}

#[test]
fn the_invariants_hold_in_every_interleaving_of_repeats() {
    for limit in [1, 3] {
        let programs = [
            on(0, [Reserve("a", 1), Reserve("a", 1), Settle("a", 1)]),
            on(0, [Reserve("b", 2), Settle("b", 1)]),
            on(1, [Reserve("c", 1), Renew("c"), Settle("c", 3)]),
            on(2, [Pass(LEASE - 1), Pass(1)]),
        ];
        assert_eq!(explore(limit, &programs, &memory).unwrap(), interleavings(&programs));
    }
}

#[test]
fn the_invariants_hold_in_every_interleaving_of_crashes_and_leases() {
    for limit in [2, 3] {
        let programs = [
            on(0, [Reserve("a", 2), Renew("a"), Settle("a", 0)]),
            on(0, [Crash]),
            on(1, [Reserve("b", 1), Settle("b", 5), Reserve("c", 1)]),
            on(2, [Pass(LEASE), Expire, Pass(50)]),
        ];
        assert_eq!(explore(limit, &programs, &memory).unwrap(), interleavings(&programs));
    }
}

#[test]
fn the_invariants_hold_in_every_interleaving_of_expiry_and_settlement() {
    for limit in 1..=3 {
        let programs = [
            on(0, [Reserve("a", 1), Settle("a", 0), Reserve("a", 1)]),
            on(1, [Reserve("b", 1), Settle("b", 2)]),
            on(2, [Pass(LEASE), Expire]),
            on(3, [Expire, Pass(LEASE)]),
        ];
        assert_eq!(explore(limit, &programs, &memory).unwrap(), interleavings(&programs));
    }
}

#[test]
fn the_invariants_hold_when_answers_overtake_their_calls() {
    let programs = [
        on(0, [Settle("a", 1), Reserve("a", 1), Settle("a", 1), Settle("a", 0)]),
        on(1, [Renew("a"), Pass(LEASE), Expire, Reserve("a", 1)]),
    ];
    assert_eq!(explore(2, &programs, &memory).unwrap(), interleavings(&programs));
}

#[test]
fn the_invariants_hold_in_every_interleaving_of_raises() {
    for limit in [2, 4] {
        let programs = [
            on(0, [Reserve("a", 1), More("a", 2), More("a", 2), Settle("a", 1)]),
            on(1, [Reserve("b", 2), More("b", 3), SettleHeld("b")]),
            on(2, [Pass(400), Pass(LEASE - 400)]),
        ];
        assert_eq!(explore(limit, &programs, &memory).unwrap(), interleavings(&programs));
    }
}

#[test]
fn the_invariants_hold_in_every_interleaving_of_raises_leases_and_crashes() {
    for limit in [3, 5] {
        let programs = [
            // A raise that was on its way for long comes after a later one, and after the end.
            on(0, [Reserve("a", 1), More("a", 3), More("a", 2), SettleHeld("a")]),
            on(0, [Crash]),
            on(1, [More("b", 1), Reserve("b", 1), More("b", 2)]),
            on(2, [Pass(LEASE), Expire]),
        ];
        assert_eq!(explore(limit, &programs, &memory).unwrap(), interleavings(&programs));
    }
}

#[test]
fn a_crash_ends_the_steps_of_its_gateway_and_of_no_other() {
    let programs = [on(0, [Crash, Reserve("a", 1)]), on(1, [Reserve("b", 1), Pass(LEASE), Expire])];
    assert_eq!(explore(1, &programs, &memory).unwrap(), interleavings(&programs));
}

#[test]
fn broken_stores_are_found() {
    let programs = [
        on(0, [Reserve("a", 2), More("a", 3), Settle("a", 1), Settle("a", 1)]),
        on(1, [Reserve("b", 1), More("b", 2), SettleHeld("b")]),
        on(2, [Pass(LEASE), Expire, Pass(LEASE)]),
    ];
    assert_eq!(explore(2, &programs, &memory).unwrap(), interleavings(&programs));
    for fault in Fault::ALL {
        let found = explore(2, &programs, &|| Box::new(Broken::new(fault)));
        let broken = found.expect_err(&format!("{fault:?} was not found"));
        assert!(broken.starts_with(fault.breaks()), "{fault:?} was found as {broken}");
    }
}
