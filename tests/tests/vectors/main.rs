//! What is proven by many cases: the vectors through every runtime (see `vectors/README.md`), their streams split
//! anyhow, their configurations changed anyhow, and what the component is by its type.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod component;
mod configurations;
mod envoy;
mod host;
mod policy;
mod portable;
mod spin;
mod splits;
