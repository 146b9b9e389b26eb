//! The plugin in a real Envoy: alone, as the example has it, and with a server's books.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod example;
mod ledger;
mod plugin;
mod provider;
