//! What is tried next when a try did not give an answer.
//!
//! A target that was not tried yet comes next, at once. When all were, they are tried again in their order, after a
//! wait. Every try after the first is extra load on providers that may already have too much: it needs leave of the
//! exchange's own count and of the retry budget that all exchanges share.
//!
//! A wait before the same targets are tried again is the `backoff` of the configuration, doubled for each try made
//! so far, plus a random part of up to a quarter of it, at most `max_backoff`: 2 to 2.5 s, then 4 to 5 s, then 8 to
//! 10 s. Where the provider said how long to wait (`retry-after-ms`, `retry-after`), that is the wait, exactly.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::config::Retry;
use crate::message::{Attempt, Load};

/// Nobody waits longer than this for a provider, in milliseconds: the client is told to come back instead.
const LONGEST_WAIT_MS: u64 = 60_000;
/// Tries after the first that the ten seconds of [`Load`] allow however little is sent: a quiet gateway may retry too.
const FREE_RETRIES: u64 = 3;

/// What came of the targets so far, by their position in the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// One bit for each that was sent to.
    sent: u128,
    /// One bit for each whose breaker is open.
    shut: u128,
    /// The shortest time one of them stays so, in milliseconds.
    opens_in_ms: Option<u64>,
    /// Instants before which a target asked to be left alone: position, milliseconds since the epoch.
    asked: Vec<(u32, u64)>,
}

/// Where to go on, and after how many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub position: u32,
    pub after_ms: u64,
}

impl Tries {
    /// Notes that something was sent there, and until when it asked to be left alone.
    pub fn sent(&mut self, position: u32, until_ms: Option<u64>) {
        self.sent |= bit(position);
        self.asked.retain(|(known, _)| *known != position);
        self.asked.extend(until_ms.map(|until_ms| (position, until_ms)));
    }

    /// Notes that its breaker lets nobody pass for so long. How long until the first of all that are open lets somebody
    /// pass, in milliseconds.
    pub fn shut(&mut self, position: u32, for_ms: u64) -> u64 {
        self.shut |= bit(position);
        let soonest = self.opens_in_ms.map_or(for_ms, |known| known.min(for_ms));
        *self.opens_in_ms.insert(soonest)
    }

    /// Where among these positions to go on after this attempt. `again` tells whether the same targets may be tried
    /// once more.
    pub fn next(&self, retry: &Retry, positions: Range<u32>, attempt: &Attempt, again: bool) -> Option<Next> {
        // A first try is no extra load, whichever target it goes to.
        let may_send =
            attempt.number == 0 || (attempt.number < retry.attempts && has_room(retry, attempt.load));
        if !may_send {
            return None;
        }
        let open = |position: &u32| self.shut & bit(*position) == 0;
        let untried = |position: &u32| self.sent & bit(*position) == 0;
        if let Some(position) = positions.clone().filter(open).find(untried) {
            return Some(Next { position, after_ms: 0 });
        }
        let mut positions = positions;
        let position = positions.find(open).filter(|_| again)?;
        let asked =
            self.asked.iter().find(|(known, _)| *known == position).map_or(0, |(_, until_ms)| *until_ms);
        let after_ms = match asked.saturating_sub(attempt.now_ms) {
            0 => backoff(retry, attempt),
            asked_ms => asked_ms,
        };
        Some(Next { position, after_ms }).filter(|next| next.after_ms <= LONGEST_WAIT_MS)
    }
}

/// Whether the retry budget that all exchanges share has room for one more.
fn has_room(retry: &Retry, load: Load) -> bool {
    let allowed = u64::from(load.requests).saturating_mul(retry.extra_load.into()) / 100;
    u64::from(load.retries) < allowed.saturating_add(if retry.extra_load == 0 { 0 } else { FREE_RETRIES })
}

fn backoff(retry: &Retry, attempt: &Attempt) -> u64 {
    let doublings = attempt.number.saturating_sub(1).min(32);
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    // So that the random part has room below the longest wait.
    let most = retry.max_backoff_ms.saturating_mul(4) / 5;
    let wait = retry.backoff_ms.saturating_mul(factor).min(most.max(retry.backoff_ms));
    let jitter = attempt.random.checked_rem((wait / 4).saturating_add(1)).unwrap_or(0);
    wait.saturating_add(jitter).min(retry.max_backoff_ms)
}

fn bit(position: u32) -> u128 {
    1_u128.checked_shl(position).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Fault, Outcome};

    fn attempt(number: u32, load: Load) -> Attempt {
        let outcome = Outcome::Fault(Fault::Closed);
        Attempt { target: 0, number, outcome, standings: vec![], now_ms: 1_000_000, random: 0, load }
    }

    const QUIET: Load = Load { requests: 0, retries: 0 };

    #[test]
    fn waits_double_up_to_the_longest() {
        let retry = Retry { attempts: 10, ..Retry::default() };
        let wait = |number, random| backoff(&retry, &Attempt { random, ..attempt(number, QUIET) });
        assert_eq!([1, 2, 3, 4, 9].map(|number| wait(number, 0)), [2_000, 4_000, 8_000, 8_000, 8_000]);
        assert_eq!([1, 2, 3, 4].map(|number| wait(number, number.into())), [2_001, 4_002, 8_003, 8_004]);
        for random in [0, 1, 500, 501, 2_000, u64::MAX] {
            assert!(
                (2_000..=2_500).contains(&wait(1, random)) && (8_000..=10_000).contains(&wait(3, random))
            );
        }
    }

    #[test]
    fn the_retry_budget_is_a_part_of_all_requests() {
        let retry = Retry::default();
        for (requests, retries, room) in [
            (0, 0, true),
            (0, 2, true),
            (0, 3, false),
            (100, 22, true),
            (100, 23, false),
            (u32::MAX, u32::MAX, false),
        ] {
            assert_eq!(has_room(&retry, Load { requests, retries }), room, "{requests} {retries}");
        }
        assert!(!has_room(&Retry { extra_load: 0, ..retry }, Load { requests: 100, retries: 0 }));
    }

    proptest! {
        /// Whatever happens at each target, there is an end, and no target is asked that is shut.
        #[test]
        fn every_walk_ends(
            positions in 1..65_u32, attempts in 1..11_u32,
            outcomes in prop::collection::vec((0..3_u8, any::<Option<u32>>()), 80),
        ) {
            let retry = Retry { attempts, ..Retry::default() };
            let (mut tries, mut number, mut position, mut steps) = (Tries::default(), 0, 0, 0);
            for (outcome, time) in outcomes {
                steps += 1;
                let time = time.map(u64::from);
                match outcome {
                    0 => {
                        number += 1;
                        tries.sent(position, time.map(|time| 1_000_000 + time));
                    }
                    _ => drop(tries.shut(position, time.unwrap_or(0))),
                }
                let Some(next) = tries.next(&retry, 0..positions, &attempt(number, QUIET), true) else {
                    prop_assert!(steps <= positions + attempts);
                    return Ok(());
                };
                prop_assert!(next.position < positions && next.after_ms <= LONGEST_WAIT_MS);
                prop_assert!(tries.shut & bit(next.position) == 0);
                prop_assert!(number < attempts);
                position = next.position;
            }
            prop_assert!(false, "it goes on for ever");
        }
    }
}
