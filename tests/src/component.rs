//! The policy component as the reference walk sees it: the host library's instances behind [`Policy`], with the
//! crate's own types on this side. Conversions only.

use std::sync::Arc;

use tollgate::policy::{Component, Engine, Instance, Policy as Warm, Refused, wit};
use tollgate_policy::message::{
    Admission, Admitted, Attempt, Breaker, Claim, Edit, Ending, Failure, Fault, Fed, Head, Header, Health,
    Holding, Identified, Identity, Judgement, Limited, Outcome, Output, Own, OwnHeader, Piece, Price,
    Principal, Problem, Reply, Rule, Settings, Settlement, Surroundings, Target, Usage, Verdict,
};

use crate::policy::{Headers, Limits, Load, Loaded, Policy, Trap};
use crate::principal;

/// Loads policies of one component.
pub struct Components {
    component: Component,
    /// Whether every call runs on an instance that was never used before.
    fresh: bool,
}

impl Components {
    /// The component that is built into the host library.
    pub fn embedded() -> Self {
        let engine = Engine::new().expect("an engine starts here");
        Self { component: engine.embedded().expect("the embedded component is sound"), fresh: false }
    }

    /// The same, with a fresh instance for each call.
    pub fn fresh(self) -> Self {
        Self { fresh: true, ..self }
    }
}

impl Load for Components {
    fn load(&self, settings: &Settings<'_>) -> Result<Loaded, Vec<Problem>> {
        let (tables, upstreams) = (settings.shell_tables.clone(), settings.upstreams.clone());
        let (config, catalogue) = (settings.config.to_owned(), settings.catalogue.map(str::to_owned));
        match Warm::load(self.component.clone(), config, tables, upstreams, catalogue) {
            Ok(warm) => {
                let names = warm.headers();
                let headers = Headers {
                    request: names.request.clone(),
                    forward: names.forward.clone(),
                    answer: names.answer.clone(),
                    relay: names.relay.clone(),
                };
                assert_eq!(names.own, Own::NAMES, "the names of the policy's own headers");
                let wants_latencies = warm.wants_latencies();
                let notes = warm.notes().to_vec();
                let policy =
                    Box::new(Called { warm: Arc::new(warm), fresh: self.fresh, names: headers.clone() });
                Ok(Loaded { policy, headers, wants_latencies, notes })
            }
            Err(Refused::Problems(problems)) => Err(problems),
            Err(Refused::Broken(broken)) => panic!("the component did not load: {broken}"),
        }
    }
}

struct Called {
    warm: Arc<Warm>,
    fresh: bool,
    names: Headers,
}

impl Called {
    fn call<T>(&self, call: impl FnOnce(&mut Instance) -> wasmtime::Result<T>) -> Result<T, Trap> {
        let answer = if self.fresh { self.warm.call_fresh(call) } else { self.warm.call(call) };
        answer.map_err(|broken| Trap(broken.to_string()))
    }
}

impl Policy for Called {
    fn identify(&mut self, head: &Head) -> Result<Identity, Trap> {
        let headers = numbered(&head.headers, &self.names.request);
        let head = wit::Head { method: &head.method, path: &head.path, headers: &headers };
        Ok(match self.call(|policy| policy.identify(head))? {
            wit::Identity::Reply(answer) => Identity::Reply(reply(answer)),
            wit::Identity::Caller(caller) => Identity::Caller(Identified {
                ticket: caller.ticket,
                digest: caller.digest.try_into().expect("a digest is 32 bytes"),
                configured: caller.configured,
            }),
        })
    }

    fn admit(
        &mut self,
        ticket: &[u8],
        caller: Option<&Principal>,
        body: &[u8],
        around: &Surroundings,
    ) -> Result<Admission, Trap> {
        let around =
            wit::Surroundings { now_ms: around.now_ms, random: around.random, latencies: &around.latencies };
        let admission =
            principal::lent(caller, |caller| self.call(|policy| policy.admit(ticket, caller, body, around)));
        Ok(match admission? {
            wit::Admission::Reply(answer) => Admission::Reply(reply(answer)),
            wit::Admission::Admitted(admitted) => Admission::Admitted(Admitted {
                ticket: admitted.ticket,
                claims: admitted.claims.into_iter().map(claim).collect(),
                targets: admitted.targets.into_iter().map(target).collect(),
                usage: usage(admitted.usage),
            }),
        })
    }

    fn judge(&mut self, ticket: &[u8], attempt: &Attempt) -> Result<Judgement, Trap> {
        let headers;
        let outcome = match &attempt.outcome {
            Outcome::Fault(why) => wit::Outcome::Fault(fault(*why)),
            Outcome::Answer(answer) => {
                headers = numbered(&answer.headers, &self.names.answer);
                wit::Outcome::Answer(wit::Answer {
                    status: answer.status,
                    headers: &headers,
                    body: answer.body.as_deref(),
                })
            }
            Outcome::Tripped(wait_ms) => wit::Outcome::Tripped(*wait_ms),
        };
        let standings = standings(&attempt.standings);
        let attempt = wit::Attempt {
            target: attempt.target,
            number: attempt.number,
            outcome,
            standings: &standings,
            now_ms: attempt.now_ms,
            random: attempt.random,
            load: wit::Load { requests: attempt.load.requests, retries: attempt.load.retries },
        };
        let judgement = self.call(|policy| policy.judge(ticket, attempt))?;
        let health = match judgement.health {
            wit::Health::Good => Health::Good,
            wit::Health::Bad => Health::Bad,
            wit::Health::Denied => Health::Denied,
            wit::Health::Unknown => Health::Unknown,
        };
        let verdict = match judgement.verdict {
            wit::Verdict::Relay(relay) => {
                Verdict::Relay { ticket: relay.ticket, headers: owned(relay.headers), inspect: relay.inspect }
            }
            wit::Verdict::Retry(retry) => {
                Verdict::Retry { ticket: retry.ticket, target: retry.target, after_ms: retry.after_ms }
            }
            wit::Verdict::Reply(answered) => {
                Verdict::Reply { ticket: answered.ticket, reply: reply(answered.reply) }
            }
        };
        Ok(Judgement { verdict, health })
    }

    fn feed(&mut self, ticket: &[u8], piece: Piece<'_>) -> Result<Fed, Trap> {
        let piece = match piece {
            Piece::Chunk(bytes) => wit::Piece::Chunk(bytes),
            Piece::End => wit::Piece::End,
            Piece::Broken(why) => wit::Piece::Broken(fault(why)),
            Piece::Limited => wit::Piece::Limited,
        };
        let fed = self.call(|policy| policy.feed(ticket, piece))?;
        let output = match fed.output {
            wit::Output::Pass => Output::Pass,
            wit::Output::Replace(bytes) => Output::Replace(bytes),
            wit::Output::Stop(bytes) => Output::Stop(bytes),
        };
        let holding =
            fed.holding.map(|holding| Holding { amounts: holding.amounts, usage: usage(holding.usage) });
        Ok(Fed { ticket: fed.ticket, output, holding })
    }

    fn settle(&mut self, ticket: &[u8], ending: Ending) -> Result<Settlement, Trap> {
        let ending = match ending {
            Ending::Undispatched => wit::Ending::Undispatched,
            Ending::Completed => wit::Ending::Completed,
            Ending::ClientLeft => wit::Ending::ClientLeft,
            Ending::UpstreamBroke => wit::Ending::UpstreamBroke,
            Ending::PolicyFailed => wit::Ending::PolicyFailed,
        };
        let settlement = self.call(|policy| policy.settle(ticket, ending))?;
        Ok(Settlement { amounts: settlement.amounts, usage: usage(settlement.usage) })
    }

    fn refuse(&mut self, ticket: Option<&[u8]>, failure: &Failure) -> Result<Reply, Trap> {
        let list;
        let failure = match failure {
            Failure::Malformed(what) => wit::Failure::Malformed(what),
            Failure::HeadTooLarge(what) => wit::Failure::HeadTooLarge(what),
            Failure::BodyTooLarge(limit) => wit::Failure::BodyTooLarge(*limit),
            Failure::RequestTimeout => wit::Failure::RequestTimeout,
            Failure::UnknownKey => wit::Failure::UnknownKey,
            Failure::Limited(Limited { claim, retry_after_ms, standings: all }) => {
                list = standings(all);
                let (claim, retry_after_ms) = (*claim, *retry_after_ms);
                wit::Failure::Limited(wit::Limited { claim, retry_after_ms, standings: &list })
            }
            Failure::LedgerUnavailable => wit::Failure::LedgerUnavailable,
            Failure::Unavailable(what) => wit::Failure::Unavailable(what),
            Failure::Internal(id) => wit::Failure::Internal(id),
        };
        self.call(|policy| policy.refuse(ticket, failure)).map(reply)
    }

    fn callers(&mut self) -> Result<Vec<Principal>, Trap> {
        let callers = self.call(Instance::callers)?;
        Ok(callers.into_iter().map(principal::owned).collect())
    }

    fn limits(&mut self, caller: &Principal, now: u64) -> Result<Limits, Trap> {
        let limits = principal::lent(Some(caller), |caller| {
            let caller = caller.expect("it was given");
            self.call(|policy| policy.limits(caller, now))
        })?;
        let problem =
            |found: wit::Problem| Problem { at: found.at, line: found.line, message: found.message };
        Ok(match limits {
            Ok(limits) => Ok(limits.into_iter().map(principal::limit).collect()),
            Err(problems) => Err(problems.into_iter().map(problem).collect()),
        })
    }
}

/// Headers by the places of their names.
fn numbered<'h>(headers: &'h [Header], names: &[String]) -> Vec<wit::HeaderParam<'h>> {
    let place = |header: &Header| (0..).zip(names).find(|(_, name)| **name == header.name);
    let numbered = |header: &'h Header| {
        let (name, _) = place(header).expect("only headers that were asked for are passed");
        wit::HeaderParam { name, value: &header.value }
    };
    headers.iter().map(numbered).collect()
}

fn owned(headers: Vec<wit::HeaderResult>) -> Vec<OwnHeader> {
    let named = |header: wit::HeaderResult| {
        let name = usize::try_from(header.name).ok().and_then(|place| Own::ALL.get(place));
        OwnHeader { name: *name.expect("a name that was said"), value: header.value }
    };
    headers.into_iter().map(named).collect()
}

fn reply(reply: wit::Reply) -> Reply {
    Reply { status: reply.status, headers: owned(reply.headers), body: reply.body }
}

fn standings(list: &[tollgate_policy::message::Standing]) -> Vec<wit::Standing> {
    list.iter().map(|s| wit::Standing { remaining: s.remaining, reset_ms: s.reset_ms }).collect()
}

/// A claim of the interface, as the crate has it.
pub fn claim(claim: wit::Claim) -> Claim {
    let rule = match claim.rule {
        wit::Rule::Window(wit::Window { limit, period_ms }) => Rule::Window { limit, period_ms },
        wit::Rule::Budget(wit::Budget { limit, start_ms, end_ms }) => {
            Rule::Budget { limit, start_ms, end_ms }
        }
        wit::Rule::Slots(limit) => Rule::Slots { limit },
    };
    Claim { cell: claim.cell, rule, amount: claim.amount }
}

fn target(target: wit::Target) -> Target {
    let edit = |edit: wit::Edit| Edit { start: edit.start, end: edit.end, bytes: edit.bytes };
    Target {
        upstream: target.upstream,
        path: target.path,
        edits: target.edits.into_iter().map(edit).collect(),
        breaker: target.breaker.map(|wit::Breaker { failures, open_ms, probe_ms }| Breaker {
            failures,
            open_ms,
            probe_ms,
        }),
    }
}

fn fault(fault: Fault) -> wit::Fault {
    match fault {
        Fault::Connect => wit::Fault::Connect,
        Fault::Timeout => wit::Fault::Timeout,
        Fault::Closed => wit::Fault::Closed,
        Fault::Malformed => wit::Fault::Malformed,
    }
}

/// A usage record of the interface, as the crate has it.
pub fn usage(usage: wit::Usage) -> Usage {
    Usage {
        key: usage.key,
        model: usage.model,
        upstream: usage.upstream,
        upstream_model: usage.upstream_model,
        input_tokens: usage.input_tokens,
        cached_input_tokens: usage.cached_input_tokens,
        cache_write_tokens: usage.cache_write_tokens,
        output_tokens: usage.output_tokens,
        reasoning_tokens: usage.reasoning_tokens,
        estimated: usage.estimated,
        charge: usage.charge,
        currency: usage.currency,
        price: Price {
            input: usage.price.input,
            cached_input: usage.price.cached_input,
            cache_write: usage.price.cache_write,
            output: usage.price.output,
            reasoning: usage.price.reasoning,
            since_ms: usage.price.since_ms,
            source: usage.price.source,
        },
    }
}
