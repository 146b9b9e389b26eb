//! The command `tollgate`: as a process, with its files, its clock and its Redis, and what happens when these fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod clocks;
mod crashes;
mod disks;
mod keys;
mod ledger_api;
mod prices;
mod process;
