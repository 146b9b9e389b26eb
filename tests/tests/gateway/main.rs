//! The gateway in this process: with many clients, with upstreams that do anything, with a policy that does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod hostile;
mod load;
mod upstreams;
