//! What was sent to upstreams in the last ten seconds: first tries, and tries after the first.
//!
//! The host compiles this file too: of a server it is what all exchanges sent, of an instance on the edge what it sent.

use std::sync::{Mutex, PoisonError};

use crate::wit;

/// Seconds that are looked back on.
const SPAN: usize = 10;

/// Counts by second.
#[derive(Debug, Default)]
pub(crate) struct Load(Mutex<[Second; SPAN]>);

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// Which one: seconds since the epoch.
    at: u64,
    requests: u32,
    retries: u32,
}

impl Load {
    /// Counts a try that is sent at this time, in milliseconds since the epoch; `number` is 1 for an exchange's first.
    pub(crate) fn sent(&self, number: u32, now_ms: u64) {
        let at = now_ms / 1_000;
        let mut seconds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(second) = usize::try_from(at % SPAN as u64).ok().and_then(|at| seconds.get_mut(at)) else {
            return;
        };
        if second.at != at {
            *second = Second { at, ..Second::default() };
        }
        let count = if number <= 1 { &mut second.requests } else { &mut second.retries };
        *count = count.saturating_add(1);
    }

    /// What was sent until then.
    pub(crate) fn lately(&self, now_ms: u64) -> wit::Load {
        let at = now_ms / 1_000;
        let seconds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut load = wit::Load { requests: 0, retries: 0 };
        for second in seconds.iter().filter(|second| at.abs_diff(second.at) < SPAN as u64) {
            load.requests = load.requests.saturating_add(second.requests);
            load.retries = load.retries.saturating_add(second.retries);
        }
        load
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_are_looked_back_on() {
        let load = Load::default();
        let lately = |now_ms| {
            let wit::Load { requests, retries } = load.lately(now_ms);
            (requests, retries)
        };
        assert_eq!(lately(1_795_424_400_000), (0, 0));
        load.sent(1, 1_795_424_400_000);
        load.sent(2, 1_795_424_400_999);
        load.sent(3, 1_795_424_401_000);
        load.sent(1, 1_795_424_401_500);
        assert_eq!(lately(1_795_424_401_999), (2, 2));
        assert_eq!(lately(1_795_424_409_999), (2, 2));
        assert_eq!(lately(1_795_424_410_000), (1, 1), "the first second is over");
        load.sent(1, 1_795_424_410_001);
        assert_eq!(lately(1_795_424_410_001), (2, 1), "its place is used again");
        assert_eq!(lately(1_795_424_500_000), (0, 0));
    }
}
