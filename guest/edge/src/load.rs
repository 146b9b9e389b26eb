//! What this instance has sent to upstreams in the last ten seconds: first tries, and tries after the first.

use std::cell::RefCell;

use crate::wit;

/// Seconds that are looked back on.
const SPAN: usize = 10;

/// Counts by second.
#[derive(Debug, Default)]
pub(crate) struct Load(RefCell<[Second; SPAN]>);

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
        let mut seconds = self.0.borrow_mut();
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
        let mut load = wit::Load { requests: 0, retries: 0 };
        for second in self.0.borrow().iter().filter(|second| at.abs_diff(second.at) < SPAN as u64) {
            load.requests = load.requests.saturating_add(second.requests);
            load.retries = load.retries.saturating_add(second.retries);
        }
        load
    }
}
