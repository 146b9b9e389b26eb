//! What this worker saw lately: tries of the last ten seconds, and how long upstreams take to begin their answers.
//! Each worker counts its own; it decides only whether there is room for a further try, and which target is fastest.

use tollgate_policy::Load;

/// Seconds that are looked back on.
const SPAN: u64 = 10;
/// The part that one measurement has in an average: one of so many.
const WEIGHT: u32 = 8;

/// Counts and averages.
pub struct Lately {
    /// By second: which one, first tries, tries after the first.
    seconds: Vec<(u64, u32, u32)>,
    /// In the order of the upstreams' names.
    latencies: Vec<Option<u32>>,
}

impl Lately {
    /// Nothing yet, of so many upstreams.
    pub fn new(upstreams: usize) -> Self {
        Self { seconds: Vec::new(), latencies: vec![None; upstreams] }
    }

    /// Counts a try; `number` is 1 for an exchange's first.
    pub fn sent(&mut self, number: u32, now: u64) {
        let at = now / 1_000;
        self.seconds.retain(|(second, ..)| at.abs_diff(*second) < SPAN);
        if !self.seconds.iter().any(|(second, ..)| *second == at) {
            self.seconds.push((at, 0, 0));
        }
        if let Some((_, first, further)) = self.seconds.iter_mut().find(|(second, ..)| *second == at) {
            let count = if number <= 1 { first } else { further };
            *count = count.saturating_add(1);
        }
    }

    /// What was sent until then.
    pub fn load(&self, now: u64) -> Load {
        let at = now / 1_000;
        let mut load = Load::default();
        for (_, first, further) in self.seconds.iter().filter(|(second, ..)| at.abs_diff(*second) < SPAN) {
            load.requests = load.requests.saturating_add(*first);
            load.retries = load.retries.saturating_add(*further);
        }
        load
    }

    /// Takes a measurement in.
    pub fn measured(&mut self, upstream: usize, took_ms: u64) {
        let sample = u32::try_from(took_ms).unwrap_or(u32::MAX);
        if let Some(average) = self.latencies.get_mut(upstream) {
            *average = Some(match *average {
                None => sample,
                Some(before) if sample > before => {
                    before.saturating_add(sample.abs_diff(before).div_ceil(WEIGHT))
                }
                Some(before) => before.saturating_sub(before.abs_diff(sample).div_ceil(WEIGHT)),
            });
        }
    }

    /// The averages.
    pub fn latencies(&self) -> Vec<Option<u32>> {
        self.latencies.clone()
    }
}
