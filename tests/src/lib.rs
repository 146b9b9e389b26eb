//! What the tests are made of: the vector format, one driver per runtime, a provider that can be scripted down
//! to the byte and a client that shows what it really received.
//!
//! A *vector* is one exchange as a file: configuration, request, scripted provider and the exact outcome. A
//! *driver* runs it and tells what it saw. The native driver may write the outcome into the file; every other
//! driver can only agree with it, byte for byte.
//!
//! Nothing here decides anything about a request: that is what is being tested.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test harness is a failed test"
)]

pub mod body;
pub mod books;
pub mod client;
pub mod component;
pub mod crowd;
pub mod dice;
pub mod driver;
pub mod envoy;
pub mod instant;
pub mod kept;
pub mod live;
pub mod outcome;
pub mod policy;
pub mod principal;
pub mod programs;
pub mod provider;
pub mod records;
pub mod script;
pub mod setup;
pub mod spin;
pub mod stored;
pub mod terms;
pub mod vector;
pub mod walk;
pub mod wire;
