//! Breakers of upstreams: a line of text in the data that all workers share, or the server's.
//!
//! Neither is asked for every try; see [`Calm`]. One that cannot be asked lets pass: a breaker saves time, it guards nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proxy_wasm::types::LogLevel;
use tollgate_ledger::breaker::{Breaker, BreakerRule, Calm, Health, Passage};
use tollgate_remote::Call;

use crate::plugin::log;
use crate::server::{Asked, Server};
use crate::{outbox, shared};

/// The breakers, and what this worker knows of each by its upstream.
pub struct Breakers {
    books: Books,
    known: RefCell<BTreeMap<String, Known>>,
}

/// Where the breakers are.
enum Books {
    /// Of this Envoy alone.
    Here,
    /// Of a server.
    There(Rc<Server>),
}

#[derive(Clone, Copy, Default)]
struct Known {
    calm: Calm,
    /// Which of the breaker's generations let the last one pass.
    generation: u64,
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
    /// Those of this Envoy alone.
    pub fn here() -> Self {
        Self { books: Books::Here, known: RefCell::default() }
    }

    /// Those of a server.
    pub fn there(server: Rc<Server>) -> Self {
        Self { books: Books::There(server), known: RefCell::default() }
    }

    /// Who passes without asking, because an upstream's breaker let somebody pass lately.
    pub fn calm(&self, upstream: &str, rule: BreakerRule, now: u64) -> Option<Passed> {
        let known = self.known.borrow().get(upstream).copied().filter(|known| known.calm.holds(now))?;
        let generation = Some(known.generation);
        Some(Passed { upstream: upstream.to_owned(), rule, generation, was_asked: false })
    }

    /// Asks an upstream's breaker.
    pub fn ask(&self, upstream: &str, rule: BreakerRule, now: u64) -> Asked<Passage> {
        match &self.books {
            Books::Here => Asked::Answered(with(upstream, |breaker| breaker.ask(rule, now))),
            Books::There(server) => server.ask(Call::ask(upstream, rule, now)),
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
        let generation = match answer {
            Ok(Passage::Wait(wait_ms)) => return Err(wait_ms),
            Ok(Passage::Pass { generation, probe }) => {
                let mut all = self.known.borrow_mut();
                let known = all.entry(upstream.to_owned()).or_default();
                known.calm.heard(probe, now);
                known.generation = generation;
                Some(generation)
            }
            Err(cause) => {
                log(LogLevel::Error, &format!("the breaker of {upstream}: {cause}"));
                None
            }
        };
        Ok(Passed { upstream: upstream.to_owned(), rule, generation, was_asked: generation.is_some() })
    }

    /// Tells the breaker what became of a try.
    pub fn tell(&self, passed: &Passed, health: Health, now: u64) {
        let Passed { upstream, rule, generation, was_asked } = passed;
        if let Some(known) = self.known.borrow_mut().get_mut(upstream) {
            known.calm.saw(health);
        }
        let Some(generation) = generation.filter(|_| *was_asked || health == Health::Bad) else { return };
        match &self.books {
            Books::Here => {
                let told = with(upstream, |breaker| breaker.tell(*rule, generation, health, now));
                if let Err(cause) = told {
                    log(LogLevel::Error, &format!("the breaker of {upstream}: {cause}"));
                }
            }
            Books::There(server) => {
                outbox::tell(server, upstream, Call::tell(upstream, *rule, generation, health, now));
            }
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
