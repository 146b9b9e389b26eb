//! Time and chance, as WASI gives them.

use std::time::Duration;

use crate::Clock;
use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::random::random;

/// The clocks and the randomness of WASI.
pub struct Wasi;

impl Clock for Wasi {
    fn now_ms(&self) -> u64 {
        let now = system_clock::now();
        let seconds = u64::try_from(now.seconds).unwrap_or(0);
        seconds.saturating_mul(1_000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(monotonic_clock::now())
    }

    fn random(&self) -> u64 {
        random::get_random_u64()
    }

    async fn pause(&self, span: Duration) {
        monotonic_clock::wait_for(nanoseconds(span)).await;
    }

    fn note(&self, line: &str) {
        println!("{line}");
    }
}

/// A duration as WASI has it.
pub(super) fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
