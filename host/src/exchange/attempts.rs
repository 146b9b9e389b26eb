//! The loop over attempts: send to a target, have the policy judge what came of it, until there is an answer.
//!
//! Before each try the target's hold is raised where it needs more, and its breaker is asked; a try that was kept from
//! its upstream is judged like one that failed. The order of targets, waits and the end are all the policy's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use tollgate_ledger::Standing;

use super::{Decided, Exchange, Stop};
use crate::breakers::{self, Passed};
use crate::policy::{Broken, wit};
use crate::stage;
use crate::translate;
use crate::upstream::{Received, Upstream};

/// What became of one try.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made: a box would cost more")]
pub(super) enum Tried {
    /// An answer, or none.
    Sent(Result<Received, wit::Fault>),
    /// The breaker let nobody pass; milliseconds until it may be asked again.
    Tripped(u64),
}

/// A client's request, as each target gets it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'r> {
    pub headers: &'r HeaderMap,
    pub body: &'r Bytes,
}

impl Exchange {
    /// Tries targets as the policy says, beginning with the first.
    pub(super) async fn attempts(
        &mut self,
        targets: &[wit::Target],
        asked: Asked<'_>,
        standings: &[Standing],
    ) -> Result<Decided, Stop> {
        let (mut target, mut number) = (0, 0_u32);
        loop {
            let (upstream, chosen) = self.target(targets, target)?;
            stage::next().await;
            let begun = Instant::now();
            let (tried, passed) = match self.pass(&upstream, chosen).await {
                Err(wait_ms) => (Tried::Tripped(wait_ms), None),
                Ok(passed) => {
                    number = number.saturating_add(1);
                    self.shell.load.sent(number, (self.shell.clock)());
                    (Tried::Sent(self.send(&upstream, chosen, asked).await), passed)
                }
            };
            let took = begun.elapsed();
            // INVARIANT (conservation): an answer that is here is judged at once. Nothing that can be cut lies between.
            let wit::Judgement { verdict, health } = self.judge(target, number, &tried, standings)?;
            self.learn(&upstream, chosen, passed, health, took);
            match verdict {
                wit::Verdict::Relay(relay) => return self.decided(relay, tried),
                wit::Verdict::Retry(retry) => {
                    self.ticket = retry.ticket;
                    target = retry.target;
                    if retry.after_ms > 0 {
                        (self.shell.pause)(Duration::from_millis(retry.after_ms)).await;
                    }
                }
                wit::Verdict::Reply(answered) => {
                    self.ticket = answered.ticket;
                    return Err(Stop::Reply(answered.reply));
                }
            }
        }
    }

    /// The upstream that a target names. A policy that names one it was not given is broken.
    fn target<'t>(
        &self,
        targets: &'t [wit::Target],
        index: u32,
    ) -> Result<(Arc<Upstream>, &'t wit::Target), Stop> {
        let target = usize::try_from(index).ok().and_then(|index| targets.get(index));
        let found =
            target.and_then(|t| self.generation.upstreams.get(&t.upstream).map(|u| (Arc::clone(u), t)));
        found.ok_or_else(|| Stop::Broken(Broken::new("the policy chose a target that does not exist")))
    }

    /// Asks the target's breaker; or how long it lets nobody pass, in milliseconds.
    async fn pass(&self, upstream: &Arc<Upstream>, target: &wit::Target) -> Result<Option<Passed>, u64> {
        let Some(rule) = target.breaker else { return Ok(None) };
        breakers::ask(&self.shell, upstream, &target.upstream, translate::breaker(rule)).await.map(Some)
    }

    async fn send(
        &mut self,
        upstream: &Upstream,
        target: &wit::Target,
        asked: Asked<'_>,
    ) -> Result<Received, wit::Fault> {
        let Some(body) = translate::edited(asked.body, &target.edits) else {
            tracing::error!(request_id = %self.id, "the policy's edits do not fit the body");
            return Err(wit::Fault::Malformed);
        };
        let headers = translate::pick(asked.headers, &self.generation.forward_headers);
        let before = self.dispatched();
        self.mark_dispatched(true);
        let received = upstream.send(&target.path, headers, body).await;
        if let Err(wit::Fault::Connect) = received {
            // Nothing was sent. The mark stood while we waited, in case this future is dropped.
            self.mark_dispatched(before);
        }
        received
    }

    fn judge(
        &mut self,
        target: u32,
        number: u32,
        tried: &Tried,
        standings: &[Standing],
    ) -> Result<wit::Judgement, Stop> {
        let headers;
        let outcome = match tried {
            Tried::Sent(Ok(received)) => {
                headers = translate::readable_headers(received.headers(), &self.generation.answer_headers);
                wit::Outcome::Answer(wit::Answer {
                    status: received.status().as_u16(),
                    headers: &headers,
                    body: received.whole().map(|body| &**body),
                })
            }
            Tried::Sent(Err(fault)) => wit::Outcome::Fault(*fault),
            Tried::Tripped(wait_ms) => wit::Outcome::Tripped(*wait_ms),
        };
        let standings: Vec<_> = standings.iter().map(translate::standing).collect();
        let now_ms = (self.shell.clock)();
        let attempt = wit::Attempt {
            target,
            number,
            outcome,
            standings: &standings,
            now_ms,
            random: (self.shell.random)(),
            load: self.shell.load.lately(now_ms),
        };
        Ok(self.generation.policy.call(|policy| policy.judge(&self.ticket, attempt))?)
    }

    /// Passes on what a try tells of its upstream.
    fn learn(
        &self,
        upstream: &Upstream,
        target: &wit::Target,
        passed: Option<Passed>,
        health: wit::Health,
        took: Duration,
    ) {
        match health {
            wit::Health::Good => upstream.latency.measured(took),
            wit::Health::Denied => tracing::error!(
                request_id = %self.id,
                upstream = target.upstream,
                alarm = "upstream_credential",
                "the upstream refused this gateway's credential"
            ),
            wit::Health::Bad | wit::Health::Unknown => {}
        }
        if let Some(passed) = passed {
            passed.tell(translate::health(health));
        }
    }

    fn decided(&mut self, mut relay: wit::Relay, tried: Tried) -> Result<Decided, Stop> {
        self.ticket = std::mem::take(&mut relay.ticket);
        match tried {
            Tried::Sent(Ok(received)) => Ok(Decided { relay, received }),
            _ => Err(Stop::Broken(Broken::new("the policy relays an answer that there is not"))),
        }
    }
}
