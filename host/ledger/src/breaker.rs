//! The rule of a breaker: an upstream that failed too often in a row is left alone for a while, and then tried by
//! one exchange before all may come back.
//!
//! Closed, it lets everybody pass. After `failures` failures in a row it opens, and nobody passes for `open_ms`. Then
//! one exchange passes as its probe: success closes it, failure opens it again, and a probe that is cancelled, or
//! never heard of again for `probe_ms`, frees its place. Only what tells of the upstream's health counts: an answer
//! that is the client's fault, or a client that left, is [`Health::Unknown`]. A result of an exchange that passed
//! before the breaker last changed is of an older generation, and ignored.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BreakerRule {
    /// Failures in a row that open it; 0 is taken as 1.
    pub failures: u32,
    /// Milliseconds it stays open.
    pub open_ms: u64,
    /// Milliseconds after which a probe that was not heard of frees its place.
    pub probe_ms: u64,
}

/// For so long, in milliseconds, an upstream passes that its breaker let pass.
const CALM_MS: u64 = 1_000;

/// What somebody knows who asks a breaker that is kept elsewhere: a server's, or of all workers of one process.
///
/// As long as its upstream does not fail here, a breaker is asked once in a second and told nothing: it may be a round trip
/// away, and two for every exchange would buy nothing. From its first failure on it is asked and told every time, until the
/// upstream answers again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Calm {
    /// Until then nobody asks: milliseconds since the epoch.
    until_ms: u64,
    /// Whether it failed, and did not answer since.
    is_failing: bool,
}

impl Calm {
    /// Whether it passes without being asked. A clock that went back is no reason not to ask for long.
    #[must_use]
    pub fn holds(self, now: u64) -> bool {
        self.until_ms > now && self.until_ms.saturating_sub(now) <= CALM_MS
    }

    /// The breaker was asked and let pass, as its probe or not.
    pub fn heard(&mut self, probe: bool, now: u64) {
        if !probe && !self.is_failing {
            self.until_ms = now.saturating_add(CALM_MS);
        }
    }

    /// What became of a try.
    pub fn saw(&mut self, health: Health) {
        match health {
            Health::Bad => *self = Self { until_ms: 0, is_failing: true },
            Health::Good => self.is_failing = false,
            Health::Unknown => {}
        }
    }
}

/// What a breaker remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Breaker {
    pub(crate) generation: u64,
    pub(crate) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Closed { failures: u32 },
    Open { until_ms: u64 },
    Probing { until_ms: u64 },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// Whether an exchange may go to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passage {
    /// Yes. The generation comes back with the result.
    Pass {
        /// Which state of the breaker let it pass.
        generation: u64,
        /// Whether it is the one probe of an open breaker.
        probe: bool,
    },
    /// No; it may ask again after this many milliseconds.
    Wait(u64),
}

/// What an exchange tells of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It answered.
    Good,
    /// It did not, or with a failure of its own.
    Bad,
    /// Nothing was learnt: the exchange was cancelled, or failed by the client's fault.
    Unknown,
}

impl Breaker {
    /// Asks to pass at `now`.
    pub fn ask(&mut self, rule: BreakerRule, now: u64) -> Passage {
        match self.state {
            State::Closed { .. } => Passage::Pass { generation: self.generation, probe: false },
            State::Open { until_ms } | State::Probing { until_ms } => {
                // After a clock that went back nobody waits longer than the rule says.
                let longest = rule.open_ms.max(rule.probe_ms);
                let wait = until_ms.saturating_sub(now);
                if wait > 0 && wait <= longest {
                    return Passage::Wait(wait);
                }
                self.change(State::Probing { until_ms: now.saturating_add(rule.probe_ms) });
                Passage::Pass { generation: self.generation, probe: true }
            }
        }
    }

    /// Hears of an exchange that passed.
    pub fn tell(&mut self, rule: BreakerRule, generation: u64, health: Health, now: u64) {
        if generation != self.generation {
            return;
        }
        let open = State::Open { until_ms: now.saturating_add(rule.open_ms) };
        match (self.state, health) {
            (State::Closed { .. }, Health::Good) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, Health::Bad) => {
                let failures = failures.saturating_add(1);
                if failures >= rule.failures.max(1) {
                    self.change(open);
                } else {
                    self.state = State::Closed { failures };
                }
            }
            (State::Probing { .. }, Health::Good) => self.change(State::Closed { failures: 0 }),
            (State::Probing { .. }, Health::Bad) => self.change(open),
            // The place is free at once: the next one to ask is the probe.
            (State::Probing { .. }, Health::Unknown) => self.change(State::Open { until_ms: now }),
            (State::Closed { .. }, Health::Unknown) | (State::Open { .. }, _) => {}
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.generation = self.generation.wrapping_add(1);
    }
}

/// Breakers by name, inside one process.
#[derive(Debug, Default)]
pub struct Board {
    breakers: Mutex<HashMap<String, Breaker>>,
}

impl Board {
    /// Asks the named breaker.
    pub fn ask(&self, name: &str, rule: BreakerRule, now: u64) -> Passage {
        self.with(name, |breaker| breaker.ask(rule, now))
    }

    /// Tells the named breaker.
    pub fn tell(&self, name: &str, rule: BreakerRule, generation: u64, health: Health, now: u64) {
        self.with(name, |breaker| breaker.tell(rule, generation, health, now));
    }

    fn with<T>(&self, name: &str, ask: impl FnOnce(&mut Breaker) -> T) -> T {
        // Nothing under the lock panics; a poisoned one would still hold sound breakers.
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(breaker) = breakers.get_mut(name) {
            return ask(breaker);
        }
        ask(breakers.entry(name.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BreakerRule = BreakerRule { failures: 3, open_ms: 60_000, probe_ms: 5_000 };

    fn generation(passage: Passage) -> u64 {
        match passage {
            Passage::Pass { generation, .. } => generation,
            Passage::Wait(wait) => panic!("waits {wait}"),
        }
    }

    fn fail(breaker: &mut Breaker, now: u64) {
        let passed = generation(breaker.ask(RULE, now));
        breaker.tell(RULE, passed, Health::Bad, now);
    }

    fn opened(now: u64) -> Breaker {
        let mut breaker = Breaker::default();
        (0..3).for_each(|_| fail(&mut breaker, now));
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_only_then() {
        let mut breaker = Breaker::default();
        fail(&mut breaker, 0);
        fail(&mut breaker, 0);
        let passed = generation(breaker.ask(RULE, 0));
        breaker.tell(RULE, passed, Health::Good, 0);
        fail(&mut breaker, 0);
        fail(&mut breaker, 0);
        let passed = generation(breaker.ask(RULE, 0));
        breaker.tell(RULE, passed, Health::Unknown, 0);
        fail(&mut breaker, 10);
        assert_eq!(breaker.ask(RULE, 10), Passage::Wait(60_000));
        assert_eq!(breaker.ask(RULE, 60_009), Passage::Wait(1));
    }

    #[test]
    fn who_is_calm_asks_once_in_a_second_until_something_fails() {
        let mut calm = Calm::default();
        assert!(!calm.holds(5_000));
        calm.heard(false, 5_000);
        assert!(calm.holds(5_000) && calm.holds(5_999) && !calm.holds(6_000));
        assert!(!calm.holds(4_999), "a clock that went back");
        calm.saw(Health::Unknown);
        assert!(calm.holds(5_000));
        calm.saw(Health::Bad);
        assert!(!calm.holds(5_000));
        calm.heard(false, 5_000);
        assert!(!calm.holds(5_000), "it has not answered since");
        calm.saw(Health::Good);
        calm.heard(true, 5_000);
        assert!(!calm.holds(5_000), "a probe passes alone");
        calm.heard(false, 5_000);
        assert!(calm.holds(5_000));
    }

    #[test]
    fn one_probe_decides() {
        for (health, passes) in [(Health::Good, true), (Health::Bad, false)] {
            let mut breaker = opened(0);
            let Passage::Pass { generation, probe: true } = breaker.ask(RULE, 60_000) else {
                panic!("waits")
            };
            assert_eq!(breaker.ask(RULE, 60_000), Passage::Wait(5_000), "one at a time");
            breaker.tell(RULE, generation, health, 61_000);
            assert_eq!(matches!(breaker.ask(RULE, 61_000), Passage::Pass { probe: false, .. }), passes);
        }
    }

    #[test]
    fn a_probe_that_is_cancelled_or_lost_frees_its_place() {
        let mut breaker = opened(0);
        let probe = generation(breaker.ask(RULE, 60_000));
        breaker.tell(RULE, probe, Health::Unknown, 60_001);
        assert!(matches!(breaker.ask(RULE, 60_001), Passage::Pass { probe: true, .. }));
        assert_eq!(breaker.ask(RULE, 65_000), Passage::Wait(1));
        assert!(matches!(breaker.ask(RULE, 65_001), Passage::Pass { probe: true, .. }));
    }

    #[test]
    fn a_late_result_of_an_older_generation_is_ignored() {
        let mut breaker = Breaker::default();
        let early = generation(breaker.ask(RULE, 0));
        (0..3).for_each(|_| fail(&mut breaker, 0));
        breaker.tell(RULE, early, Health::Good, 1);
        assert!(matches!(breaker.ask(RULE, 1), Passage::Wait(_)));
        let probe = generation(breaker.ask(RULE, 60_000));
        breaker.tell(RULE, early, Health::Bad, 60_001);
        breaker.tell(RULE, probe, Health::Good, 60_002);
        breaker.tell(RULE, probe, Health::Bad, 60_003);
        assert!(matches!(breaker.ask(RULE, 60_003), Passage::Pass { probe: false, .. }));
    }

    #[test]
    fn a_clock_that_goes_back_keeps_nobody_out_for_long() {
        let mut breaker = opened(1_000_000_000);
        assert!(matches!(breaker.ask(RULE, 5), Passage::Pass { probe: true, .. }));
    }

    #[test]
    fn breakers_are_told_apart_by_name() {
        let board = Board::default();
        for _ in 0..3 {
            let passed = generation(board.ask("one", RULE, 0));
            board.tell("one", RULE, passed, Health::Bad, 0);
        }
        assert!(matches!(board.ask("one", RULE, 0), Passage::Wait(_)));
        assert!(matches!(board.ask("two", RULE, 0), Passage::Pass { .. }));
    }
}
