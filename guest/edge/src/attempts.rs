//! The loop over attempts: send to a target, have the policy judge what came of it, until there is an answer.
//!
//! Before each try its target's breaker is asked; a try that was kept from its upstream is judged like one that
//! failed. The order of targets, waits and the end are all the policy's.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tollgate_ledger::Standing;
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};

use crate::exchange::{Decided, Exchange, Stop};
use crate::platform::{Cause, Client, Clock as _, Ledger as _, Platform};
use crate::shell::Shell;
use crate::upstream::{Received, Upstream};
use crate::{translate, wit};

/// What became of one try.
enum Tried<B> {
    /// An answer, or none.
    Sent(Result<Received<B>, wit::Fault>),
    /// The breaker let nobody pass; milliseconds until it may be asked again.
    Tripped(u64),
}

type BodyOf<P> = <<P as Platform>::Client as Client>::Body;

/// A client's request, as each target gets it.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'r> {
    pub headers: &'r HeaderMap,
    pub body: &'r Bytes,
}

/// A try that a breaker let pass. Dropped without a word, nothing was learnt, and a probe frees its place.
struct Passed<P: Platform> {
    shell: Rc<Shell<P>>,
    name: String,
    rule: BreakerRule,
    generation: u64,
    told: bool,
}

impl<P: Platform> Passed<P> {
    fn tell(&mut self, health: Health) {
        if !std::mem::replace(&mut self.told, true) {
            let now = self.shell.clock.now_ms();
            self.shell.ledger.tell(&self.name, self.rule, self.generation, health, now);
        }
    }
}

impl<P: Platform> Drop for Passed<P> {
    fn drop(&mut self) {
        self.tell(Health::Unknown);
    }
}

impl<P: Platform> Exchange<P> {
    /// Tries targets as the policy says, beginning with the first.
    pub(crate) async fn attempts(
        &mut self,
        targets: &[wit::Target],
        asked: Asked<'_>,
        standings: &[Standing],
    ) -> Result<Decided<BodyOf<P>>, Stop> {
        let shell = Rc::clone(&self.shell);
        let (mut target, mut number) = (0, 0_u32);
        loop {
            let (upstream, chosen) = find(&shell, targets, target)?;
            self.keep_alive();
            let begun = shell.clock.elapsed();
            let (tried, passed) = match self.pass(chosen).await {
                Err(wait_ms) => (Tried::Tripped(wait_ms), None),
                Ok(passed) => {
                    number = number.saturating_add(1);
                    shell.load.sent(number, shell.clock.now_ms());
                    (Tried::Sent(self.send(upstream, chosen, asked).await), passed)
                }
            };
            let took = shell.clock.elapsed().saturating_sub(begun);
            let wit::Judgement { verdict, health } = self.judge(target, number, &tried, standings);
            self.learn(upstream, chosen, passed, health, took);
            match verdict {
                wit::Verdict::Relay(relay) => return self.decided(relay, tried),
                wit::Verdict::Retry(retry) => {
                    self.ticket = retry.ticket;
                    target = retry.target;
                    if retry.after_ms > 0 {
                        shell.clock.pause(Duration::from_millis(retry.after_ms)).await;
                    }
                }
                wit::Verdict::Reply(answered) => {
                    self.ticket = answered.ticket;
                    return Err(Stop::Reply(answered.reply));
                }
            }
        }
    }

    /// Asks the target's breaker; or how long it lets nobody pass, in milliseconds. A ledger that cannot be asked lets
    /// everybody pass: a breaker saves time, it guards nothing.
    async fn pass(&self, target: &wit::Target) -> Result<Option<Passed<P>>, u64> {
        let Some(rule) = target.breaker.map(translate::breaker) else { return Ok(None) };
        let Shell { ledger, clock, .. } = &*self.shell;
        match ledger.ask(&target.upstream, rule, clock.now_ms()).await {
            Ok(Passage::Wait(wait_ms)) => Err(wait_ms),
            Ok(Passage::Pass { generation, .. }) => Ok(Some(Passed {
                shell: Rc::clone(&self.shell),
                name: target.upstream.clone(),
                rule,
                generation,
                told: false,
            })),
            Err(_) => Ok(None),
        }
    }

    async fn send(
        &mut self,
        upstream: &Upstream,
        target: &wit::Target,
        asked: Asked<'_>,
    ) -> Result<Received<BodyOf<P>>, wit::Fault> {
        let Some(body) = translate::edited(asked.body, &target.edits) else {
            self.note("the policy's edits do not fit the body", &"edits");
            return Err(wit::Fault::Malformed);
        };
        let headers = translate::pick(asked.headers, &self.shell.generation.forward_headers);
        let before = self.dispatched();
        self.mark_dispatched(true);
        let received = upstream.send(&self.shell.client, &target.path, headers, body).await;
        if let Err(wit::Fault::Connect) = received {
            // Nothing was sent. The mark stood while we waited, in case this future is dropped.
            self.mark_dispatched(before);
        }
        received
    }

    fn judge(
        &self,
        target: u32,
        number: u32,
        tried: &Tried<BodyOf<P>>,
        standings: &[Standing],
    ) -> wit::Judgement {
        let Shell { generation, clock, load, .. } = &*self.shell;
        let headers;
        let outcome = match tried {
            Tried::Sent(Ok(received)) => {
                headers = translate::readable_headers(&received.headers, &generation.answer_headers);
                wit::OutcomeParam::Answer(wit::AnswerParam {
                    status: received.status.as_u16(),
                    headers: &headers,
                    body: received.whole().map(|body| &**body),
                })
            }
            Tried::Sent(Err(fault)) => wit::OutcomeParam::Fault(*fault),
            Tried::Tripped(wait_ms) => wit::OutcomeParam::Tripped(*wait_ms),
        };
        let standings: Vec<_> = standings.iter().map(translate::standing).collect();
        let now_ms = clock.now_ms();
        let attempt = wit::AttemptParam {
            target,
            number,
            outcome,
            standings: &standings,
            now_ms,
            random: clock.random(),
            load: load.lately(now_ms),
        };
        generation.gateway.judge(&self.ticket, attempt)
    }

    /// Passes on what a try tells of its upstream.
    fn learn(
        &self,
        upstream: &Upstream,
        target: &wit::Target,
        passed: Option<Passed<P>>,
        health: wit::Health,
        took: Duration,
    ) {
        match health {
            wit::Health::Good => upstream.latency.measured(took),
            wit::Health::Denied => {
                self.note("the upstream refused this gateway's credential", &target.upstream);
            }
            wit::Health::Bad | wit::Health::Unknown => {}
        }
        if let Some(mut passed) = passed {
            passed.tell(translate::health(health));
        }
    }

    fn decided(
        &mut self,
        mut relay: wit::Relay,
        tried: Tried<BodyOf<P>>,
    ) -> Result<Decided<BodyOf<P>>, Stop> {
        self.ticket = std::mem::take(&mut relay.ticket);
        match tried {
            Tried::Sent(Ok(received)) => Ok(Decided { relay, received }),
            _ => Err(Cause("the policy relays an answer that there is not").into()),
        }
    }
}

/// The upstream that a target names. A policy that names one it was not given is broken.
fn find<'s, 't, P: Platform>(
    shell: &'s Shell<P>,
    targets: &'t [wit::Target],
    index: u32,
) -> Result<(&'s Upstream, &'t wit::Target), Stop> {
    let target = usize::try_from(index).ok().and_then(|index| targets.get(index));
    let found = target.and_then(|t| shell.generation.upstreams.get(&t.upstream).map(|u| (u, t)));
    found.ok_or_else(|| Cause("the policy chose a target that does not exist").into())
}
