//! How long an upstream takes to begin its answers: a moving average.
//!
//! The host compiles this file too.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The part that one measurement has in the average: one of so many.
const WEIGHT: u32 = 8;
/// Nothing was measured yet.
const NONE: u32 = u32::MAX;

/// An exponentially weighted average, in milliseconds.
#[derive(Debug)]
pub(crate) struct Latency(AtomicU32);

impl Default for Latency {
    fn default() -> Self {
        Self(AtomicU32::new(NONE))
    }
}

impl Latency {
    /// Takes a measurement in. Of two at the same time one may be lost.
    pub(crate) fn measured(&self, took: Duration) {
        let sample = u32::try_from(took.as_millis()).unwrap_or(NONE).min(NONE - 1);
        let average = match self.0.load(Ordering::Relaxed) {
            NONE => sample,
            before if sample > before => {
                before.saturating_add(sample.saturating_sub(before).div_ceil(WEIGHT))
            }
            before => before.saturating_sub(before.saturating_sub(sample).div_ceil(WEIGHT)),
        };
        self.0.store(average, Ordering::Relaxed);
    }

    /// The average, if there is one.
    pub(crate) fn average_ms(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|average| *average != NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_follows_what_is_measured() {
        let latency = Latency::default();
        assert_eq!(latency.average_ms(), None);
        latency.measured(Duration::from_millis(100));
        assert_eq!(latency.average_ms(), Some(100));
        latency.measured(Duration::from_millis(900));
        assert_eq!(latency.average_ms(), Some(200));
        for _ in 0..100 {
            latency.measured(Duration::from_millis(40));
        }
        assert_eq!(latency.average_ms(), Some(40), "and reaches it");
        latency.measured(Duration::MAX);
        assert!(latency.average_ms().is_some());
    }
}
