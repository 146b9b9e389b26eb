//! The shell for edge platforms: as Spin's application, with its Redis, by `spin up`, and as the component that needs
//! nothing but WASI.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod application;
mod portable;
mod redis;
mod up;

use std::sync::LazyLock;

use tollgate_tests::spin::platform::Engine;

/// The application's component, compiled once for all tests.
static GATEWAY: LazyLock<Engine> = LazyLock::new(|| Engine::gateway().unwrap());
