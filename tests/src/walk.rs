//! The walk of `wit/policy.wit`, as plain as it can be written: one exchange, in memory, without time.
//!
//! This is the reading of the interface that every shell is held to. It acts (reserves, "sends" to a script, edits
//! bodies) and never decides. What the interface promises about the policy's answers is asserted here, at the call.

mod flow;

use serde_json::Value;
use tollgate_ledger::breaker::Passage;
use tollgate_ledger::{Breakers, Charge, Hold, Ledger, Memory, Outcome as Ended, Reservation};
use tollgate_policy::message::{
    Admission, Admitted, Answer, Attempt, Claim, Edit, Ending, Failure, Fault, Head, Header, Health,
    Identity, Limited, Load as Lately, Outcome as Tried, OwnHeader, Principal, Reply, Standing, Surroundings,
    Target, Verdict,
};

use crate::books;
use crate::outcome::{Outcome, Received, Sent, problem_line};
use crate::policy::{Headers, Load, Policy};
use crate::script::Script;
use crate::setup;
use crate::stored::Stored;
use crate::terms;
use crate::vector::{self, Request, Unavailable, Vector, headers};

/// The id of every exchange in a vector.
pub const REQUEST_ID: &str = "vector";
/// An answer that is no stream is judged with its body up to this many bytes.
const WHOLE_LIMIT: usize = 1 << 20;

/// Runs a vector.
pub fn run(vector: &Vector, load: &dyn Load) -> Outcome {
    let config = vector.config.text();
    let catalogue = vector.catalogue.as_ref().map(Value::to_string);
    let loaded = match load.load(&setup::settings(&config, catalogue.as_deref())) {
        Ok(loaded) => loaded,
        Err(problems) => {
            assert!(!problems.is_empty(), "a refused configuration has a problem");
            return Outcome { problems: problems.iter().map(problem_line).collect(), ..Outcome::default() };
        }
    };
    let notes = loaded.notes.iter().map(problem_line).collect();
    let Some(request) = &vector.request else { return Outcome { notes, ..Outcome::default() } };
    let mut walk = Walk {
        policy: loaded.policy,
        wants_latencies: loaded.wants_latencies,
        names: loaded.headers,
        vector,
        request,
        stored: &vector.stored,
        body_limit: setup::body_limit(&config),
        now: vector.now.ms,
        ledger: (vector.ledger_unavailable != Some(Unavailable::Always))
            .then(|| books::before(&vector.ledger, &vector.tripped, vector.now.ms)),
        script: Script::new(&vector.provider),
        ticket: Vec::new(),
        held: Vec::new(),
        outcome: Outcome { notes, ..Outcome::default() },
    };
    walk.exchange();
    let left = walk.script.left();
    assert!(
        left.is_empty(),
        "{left:?} were not asked; the client got {:?}",
        walk.outcome.client.map(|c| c.lossy())
    );
    walk.outcome.ledger =
        walk.ledger.as_ref().map(|ledger| books::cells(ledger, walk.now)).unwrap_or_default();
    walk.outcome
}

struct Walk<'v> {
    policy: Box<dyn Policy>,
    wants_latencies: bool,
    names: Headers,
    vector: &'v Vector,
    request: &'v Request,
    stored: &'v [Stored],
    body_limit: u64,
    now: u64,
    ledger: Option<Memory>,
    script: Script,
    ticket: Vec<u8>,
    /// What is held: the claims with their amounts as they are now.
    held: Vec<Claim>,
    outcome: Outcome,
}

impl Walk<'_> {
    fn exchange(&mut self) {
        let head = Head {
            method: self.request.method.clone(),
            path: self.request.path.clone(),
            headers: pick(&headers(&self.request.headers), &self.names.request),
        };
        let caller = match self.policy.identify(&head).unwrap() {
            Identity::Reply(reply) => return self.reply(reply),
            Identity::Caller(caller) => caller,
        };
        self.ticket = caller.ticket;
        let stored = if caller.configured { None } else { self.stored(&head.headers) };
        if !caller.configured && stored.is_none() {
            return self.refuse(&Failure::UnknownKey);
        }
        let body = self.request.body.bytes();
        if body.len() as u64 > self.body_limit {
            return self.refuse(&Failure::BodyTooLarge(self.body_limit));
        }
        let around = self.around();
        let admitted = match self.policy.admit(&self.ticket, stored.as_ref(), body, &around).unwrap() {
            Admission::Reply(reply) => return self.reply(reply),
            Admission::Admitted(admitted) => admitted,
        };
        self.ticket = admitted.ticket.clone();
        terms::assert_agree(&mut *self.policy, &admitted, stored.as_ref(), self.now);
        let Some(standings) = self.reserve(&admitted) else { return };
        let ending = self.attempts(&admitted, &standings);
        self.settle(ending, &admitted);
    }

    /// What a shell knows when the request is to be admitted.
    fn around(&self) -> Surroundings {
        let latency = |upstream: &String| self.vector.latencies.get(upstream).copied();
        let upstreams = setup::upstreams(&self.vector.config.text());
        let latencies = self.wants_latencies.then(|| upstreams.iter().map(latency).collect());
        Surroundings {
            now_ms: self.now,
            random: self.vector.random,
            latencies: latencies.unwrap_or_default(),
        }
    }

    /// What the store has for the key that was presented.
    fn stored(&self, headers: &[Header]) -> Option<Principal> {
        let found = self.stored.iter().find(|stored| stored.is_presented(headers))?;
        (!found.revoked).then(|| found.principal())
    }

    /// Holds the claims, or answers.
    fn reserve(&mut self, admitted: &Admitted) -> Option<Vec<Standing>> {
        let Some(ledger) = &self.ledger else {
            self.refuse(&Failure::LedgerUnavailable);
            return None;
        };
        let claims: Vec<_> = admitted.claims.iter().map(books::claim).collect();
        let entry = books::entry(REQUEST_ID, self.now, &admitted.usage, Ended::Lost);
        let hold = Hold { entry: &entry, claims: &claims, lease_ms: books::LEASE_MS };
        match books::now(ledger.reserve(hold, self.now)) {
            Reservation::Granted { standings, .. } => {
                self.held.clone_from(&admitted.claims);
                Some(standings.iter().map(books::standing).collect())
            }
            Reservation::Limited { claim, retry_after_ms, standings } => {
                let standings = standings.iter().map(books::standing).collect();
                self.refuse(&Failure::Limited(Limited { claim: claim as u32, retry_after_ms, standings }));
                None
            }
        }
    }

    /// Tries targets as the policy says and answers the client.
    fn attempts(&mut self, admitted: &Admitted, standings: &[Standing]) -> Ending {
        let mut dispatched = false;
        let (mut target, mut number, mut steps) = (0, 0, 0);
        loop {
            steps += 1;
            assert!(steps < 200, "the policy tries for ever");
            let chosen = &admitted.targets[target as usize];
            let passed = self.pass(chosen);
            let answer = passed.is_ok().then(|| self.send(chosen));
            number += u32::from(answer.is_some());
            if let Some(answer) = &answer {
                dispatched |= answer.ending != vector::Ending::Refuse;
                if self.request.leaves && !answer.is_event_stream() && is_silent(answer.ending) {
                    return Ending::ClientLeft;
                }
            }
            let outcome = match (&answer, passed) {
                (Some(answer), _) => self.tried(answer),
                (None, Err(wait_ms)) => Tried::Tripped(wait_ms),
                (None, Ok(_)) => unreachable!("who passes is sent to"),
            };
            let attempt = Attempt {
                target,
                number,
                outcome,
                standings: standings.to_vec(),
                now_ms: self.now,
                random: self.vector.random,
                load: Lately { requests: self.vector.load.0, retries: self.vector.load.1 },
            };
            let judgement = self.policy.judge(&self.ticket, &attempt).unwrap();
            self.learn(chosen, passed, judgement.health);
            match judgement.verdict {
                Verdict::Relay { ticket, headers, inspect } => {
                    self.ticket = ticket;
                    let answer = answer.expect("only an answer is relayed");
                    return self.relay(&answer, &attempt.outcome, &headers, inspect);
                }
                Verdict::Retry { ticket, target: next, after_ms } => {
                    self.ticket = ticket;
                    self.outcome.waits.extend((after_ms > 0).then_some(after_ms));
                    target = next;
                }
                Verdict::Reply { ticket, reply } => {
                    self.ticket = ticket;
                    self.reply(reply);
                    return if dispatched { Ending::Completed } else { Ending::Undispatched };
                }
            }
        }
    }

    /// Asks the target's breaker: its generation, or how long nobody passes.
    fn pass(&self, target: &Target) -> Result<Option<u64>, u64> {
        let (Some(rule), Some(ledger)) = (target.breaker, &self.ledger) else { return Ok(None) };
        match books::now(ledger.ask(&target.upstream, books::breaker(rule), self.now)) {
            Passage::Pass { generation, .. } => Ok(Some(generation)),
            Passage::Wait(wait_ms) => Err(wait_ms),
        }
    }

    /// Tells the breaker of a target what became of a try that it let pass.
    fn learn(&self, target: &Target, passed: Result<Option<u64>, u64>, health: Health) {
        let (Some(rule), Ok(Some(generation)), Some(ledger)) = (target.breaker, passed, &self.ledger) else {
            return;
        };
        let (rule, health) = (books::breaker(rule), books::health(health));
        books::now(ledger.tell(&target.upstream, rule, generation, health, self.now));
    }

    fn send(&mut self, target: &Target) -> vector::Answer {
        let answer = self.script.next(&target.upstream);
        if answer.ending != vector::Ending::Refuse {
            self.outcome.upstream.push(Sent {
                upstream: target.upstream.clone(),
                path: target.path.clone(),
                headers: sorted(pick(&headers(&self.request.headers), &self.names.forward)),
                body: edited(self.request.body.bytes(), &target.edits),
            });
        }
        answer
    }

    /// What the shell reports of an answer.
    fn tried(&self, answer: &vector::Answer) -> Tried {
        let whole = answer.pieces().concat();
        let streams = answer.is_event_stream() || whole.len() > WHOLE_LIMIT;
        let body = match answer.ending {
            vector::Ending::Refuse => return Tried::Fault(Fault::Connect),
            vector::Ending::CloseBeforeHead => return Tried::Fault(Fault::Closed),
            vector::Ending::HangBeforeHead => return Tried::Fault(Fault::Timeout),
            vector::Ending::Garbage => return Tried::Fault(Fault::Malformed),
            vector::Ending::Close if !streams => return Tried::Fault(Fault::Closed),
            vector::Ending::Hang if !streams => return Tried::Fault(Fault::Timeout),
            _ => (!streams).then_some(whole),
        };
        let headers = pick(&headers(&answer.headers), &self.names.answer);
        Tried::Answer(Answer { status: answer.status, headers, body })
    }

    fn settle(&mut self, ending: Ending, admitted: &Admitted) {
        let settlement = self.policy.settle(&self.ticket, ending).unwrap();
        assert_eq!(settlement.amounts.len(), admitted.claims.len(), "one amount for each claim");
        let ledger = self.ledger.as_ref().unwrap();
        terms::assert_priced(&settlement.usage);
        let entry = books::entry(REQUEST_ID, self.now, &settlement.usage, ended(ending));
        books::now(ledger.settle(&entry, Charge::Amounts(&settlement.amounts), self.now));
        self.outcome.usage = Some(settlement.usage);
        self.outcome.ending = Some(ending_name(ending).into());
    }

    fn refuse(&mut self, failure: &Failure) {
        let reply = self.policy.refuse(Some(&self.ticket), failure).unwrap();
        self.reply(reply);
    }

    fn reply(&mut self, reply: Reply) {
        assert!((200..600).contains(&reply.status), "{} is no status of a reply", reply.status);
        let headers = sorted(made(&reply.headers));
        assert_sound(&headers);
        self.outcome.client = Some(Received { status: reply.status, headers, body: reply.body, cut: false });
    }
}

/// An ending, as the books have it.
fn ended(ending: Ending) -> Ended {
    match ending {
        Ending::Undispatched => Ended::Undispatched,
        Ending::Completed => Ended::Completed,
        Ending::ClientLeft => Ended::ClientLeft,
        Ending::UpstreamBroke => Ended::UpstreamBroke,
        Ending::PolicyFailed => Ended::PolicyFailed,
    }
}

/// The name of an ending, as the WIT has it.
pub fn ending_name(ending: Ending) -> &'static str {
    match ending {
        Ending::Undispatched => "undispatched",
        Ending::Completed => "completed",
        Ending::ClientLeft => "client-left",
        Ending::UpstreamBroke => "upstream-broke",
        Ending::PolicyFailed => "policy-failed",
    }
}

/// What the policy makes, as it is sent.
fn made(headers: &[OwnHeader]) -> Vec<Header> {
    let sent = |own: &OwnHeader| Header { name: own.name.as_str().to_owned(), value: own.value.clone() };
    headers.iter().map(sent).collect()
}

/// The same headers in the order of their names, repeated ones in theirs.
pub fn sorted(mut headers: Vec<Header>) -> Vec<Header> {
    headers.sort_by(|a, b| a.name.cmp(&b.name));
    headers
}

fn is_silent(ending: vector::Ending) -> bool {
    matches!(ending, vector::Ending::Hang | vector::Ending::HangBeforeHead)
}

fn pick(headers: &[Header], names: &[String]) -> Vec<Header> {
    headers.iter().filter(|header| names.contains(&header.name)).cloned().collect()
}

/// The shell makes framing and the request id, and HTTP carries only visible ASCII.
fn assert_sound(headers: &[Header]) {
    for Header { name, value } in headers {
        assert!(
            !["content-length", "transfer-encoding", "x-request-id", "connection"].contains(&&**name),
            "{name}"
        );
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        assert!(value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)), "{name}: {value:?}");
    }
}

fn edited(body: &[u8], edits: &[Edit]) -> Vec<u8> {
    let (mut out, mut kept) = (Vec::new(), 0);
    for edit in edits {
        assert!(kept <= edit.start && edit.start <= edit.end, "edits ascend and do not overlap: {edits:?}");
        out.extend_from_slice(&body[kept as usize..edit.start as usize]);
        out.extend_from_slice(&edit.bytes);
        kept = edit.end;
    }
    out.extend_from_slice(&body[kept as usize..]);
    out
}
