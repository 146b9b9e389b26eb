//! Breakers of upstreams: a line of text in the data that all workers share, or the server's.
//!
//! A server is not asked for every try: who was let pass by a closed breaker passes for a second more, until something
//! fails. One that cannot be asked lets pass: a breaker saves time, it guards nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proxy_wasm::types::LogLevel;
use tollgate_ledger::breaker::{Breaker, BreakerRule, Health, Passage};
use tollgate_remote::Call;

use crate::plugin::log;
use crate::server::{Asked, Server};
use crate::{outbox, shared};

/// For so long, in milliseconds, an upstream passes that its breaker let pass.
const CALM_MS: u64 = 1_000;

/// The breakers.
pub enum Breakers {
    /// Of this Envoy alone.
    Here,
    /// Of a server, with what this worker knows of them by upstream.
    There(Rc<Server>, RefCell<BTreeMap<String, Calm>>),
}

/// What this worker knows of a server's breaker.
#[derive(Clone, Copy, Default)]
pub struct Calm {
    /// Until then nobody asks: milliseconds since the epoch.
    until_ms: u64,
    /// Which of its generations let the last one pass.
    generation: u64,
    /// It failed, and did not answer since.
    is_failing: bool,
}

/// Who was let pass, to be told of.
pub struct Passed {
    upstream: String,
    rule: BreakerRule,
    /// None: the breaker knows nothing of it.
    generation: Option<u64>,
    /// The breaker waits to hear of it, whatever it is.
    was_asked: bool,
}

impl Breakers {
    /// Asks an upstream's breaker.
    pub fn ask(&self, upstream: &str, rule: BreakerRule, now: u64) -> Asked<Passage> {
        match self {
            Self::Here => Asked::Answered(with(upstream, |breaker| breaker.ask(rule, now))),
            Self::There(server, calm) => match calm.borrow().get(upstream) {
                Some(calm) if calm.holds(now) => {
                    Asked::Answered(Ok(Passage::Pass { generation: calm.generation, probe: false }))
                }
                _ => server.ask(Call::ask(upstream, rule, now)),
            },
        }
    }

    /// What its answer means: who was let pass, or how long nobody is, in milliseconds.
    pub fn passed(
        &self,
        upstream: &str,
        rule: BreakerRule,
        answer: Result<Passage, String>,
        now: u64,
    ) -> Result<Passed, u64> {
        let upstream = upstream.to_owned();
        match answer {
            Ok(Passage::Wait(wait_ms)) => Err(wait_ms),
            Ok(Passage::Pass { generation, probe }) => {
                let was_asked = match self {
                    Self::Here => true,
                    Self::There(_, all) => {
                        all.borrow_mut().entry(upstream.clone()).or_default().heard(generation, probe, now)
                    }
                };
                Ok(Passed { upstream, rule, generation: Some(generation), was_asked })
            }
            Err(cause) => {
                log(LogLevel::Error, &format!("the breaker of {upstream}: {cause}"));
                Ok(Passed { upstream, rule, generation: None, was_asked: false })
            }
        }
    }

    /// Tells the breaker what became of a try.
    pub fn tell(&self, passed: &Passed, health: Health, now: u64) {
        let Passed { upstream, rule, generation, was_asked } = passed;
        let Some(generation) = *generation else { return };
        match self {
            Self::Here => {
                let told = with(upstream, |breaker| breaker.tell(*rule, generation, health, now));
                if let Err(cause) = told {
                    log(LogLevel::Error, &format!("the breaker of {upstream}: {cause}"));
                }
            }
            Self::There(server, all) => {
                all.borrow_mut().entry(upstream.clone()).or_default().saw(health);
                if *was_asked || health == Health::Bad {
                    outbox::tell(server, upstream, Call::tell(upstream, *rule, generation, health, now));
                }
            }
        }
    }
}

impl Calm {
    /// Whether nobody asks. A clock that went back is no reason not to ask for long.
    fn holds(self, now: u64) -> bool {
        self.until_ms > now && self.until_ms.abs_diff(now) <= CALM_MS
    }

    /// The breaker let somebody pass. Whether it was asked.
    fn heard(&mut self, generation: u64, probe: bool, now: u64) -> bool {
        let was_asked = !self.holds(now);
        self.generation = generation;
        if was_asked && !probe && !self.is_failing {
            self.until_ms = now.saturating_add(CALM_MS);
        }
        was_asked
    }

    fn saw(&mut self, health: Health) {
        match health {
            Health::Bad => (self.is_failing, self.until_ms) = (true, 0),
            Health::Good => self.is_failing = false,
            Health::Unknown => {}
        }
    }
}

fn with<T>(upstream: &str, change: impl Fn(&mut Breaker) -> T) -> Result<T, String> {
    shared::swap(&format!("breaker/{upstream}"), |bytes| {
        let text = str::from_utf8(bytes).unwrap_or_default();
        let before: Breaker = text.parse().unwrap_or_default();
        let mut after = before;
        let answer = change(&mut after);
        Ok((answer, (after != before).then(|| after.to_string().into_bytes())))
    })
}
