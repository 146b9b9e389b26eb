//! An exchange behind its admission: the loop over attempts, and an answer on its way to the client.

use std::rc::Rc;
use std::sync::Arc;

use proxy_wasm::types::LogLevel;
use tollgate_ledger::breaker::Passage;
use tollgate_ledger::{Claim, Hold, Raise};
use tollgate_policy::{
    Attempt, BadTicket, Fault, Health, Holding, Judgement, Outcome, Output, OwnHeader, Piece, Reply, Target,
    Verdict,
};

use crate::breakers::Passed;
use crate::exchange::{Exchange, Stage, Stop};
use crate::head;
use crate::plugin::log;
use crate::server::{Asked, Pending};
use crate::{chance, translate};

/// What is to be done next.
pub enum Step {
    /// Wait whether the target's breaker lets pass; its answer is for [`Exchange::passage`].
    Wait(Pending<Passage>),
    /// Send to the target.
    Send,
    /// Try again after so many milliseconds.
    Again(u64),
    /// Relay the answer with these headers.
    Relay(Vec<OwnHeader>),
    /// Answer this.
    Reply(Reply),
}

impl Exchange {
    /// The next try, or what is to be done instead. One before it that ended without an answer is judged first.
    pub fn next_try(&mut self) -> Step {
        if let Some(after_ms) = self.postponed_ms.take() {
            return Step::Again(after_ms);
        }
        if self.stage == Stage::Sent {
            let fault = self.fault.take().unwrap_or(Fault::Closed);
            match self.judge(Outcome::Fault(fault)) {
                Step::Again(0) => {}
                step => return step,
            }
        }
        if self.stage == Stage::Decided {
            // Envoy tries what was answered already: its client is gone.
            return Step::Reply(self.words(Stop::Broken));
        }
        self.approach()
    }

    /// The breaker's answer.
    pub fn passage(&mut self, answer: Result<Passage, String>) -> Step {
        match self.passed(answer) {
            Step::Again(0) => self.approach(),
            step => step,
        }
    }

    /// Asks the breaker of the target that is to be tried; where it lets nobody pass, that of the next one.
    fn approach(&mut self) -> Step {
        loop {
            let gate = Rc::clone(&self.gate);
            let Some(target) = self.chosen() else { return Step::Reply(self.words(Stop::Broken)) };
            let Some(rule) = target.breaker.map(translate::breaker) else { return self.send(None) };
            let now = head::now();
            if let Some(passed) = gate.breakers.calm(&target.upstream, rule, now) {
                return self.send(Some(passed));
            }
            match gate.breakers.ask(&target.upstream, rule, now) {
                Asked::Waits(pending) => return Step::Wait(pending),
                Asked::Answered(answer) => match self.passed(answer) {
                    Step::Again(0) => {}
                    step => return step,
                },
            }
        }
    }

    fn passed(&mut self, answer: Result<Passage, String>) -> Step {
        let gate = Rc::clone(&self.gate);
        let Some((rule, target)) = self.chosen().and_then(|target| Some((target.breaker?, target))) else {
            return Step::Reply(self.words(Stop::Broken));
        };
        match gate.breakers.passed(&target.upstream, translate::breaker(rule), answer, head::now()) {
            Ok(passed) => self.send(Some(passed)),
            Err(wait_ms) => self.judge(Outcome::Tripped(wait_ms)),
        }
    }

    fn send(&mut self, passed: Option<Passed>) -> Step {
        let now = head::now();
        self.passed = passed;
        self.number = self.number.saturating_add(1);
        self.gate.lately.borrow_mut().sent(self.number, now);
        self.dispatched_before = std::mem::replace(&mut self.dispatched, true);
        self.sent_at_ms = now;
        self.fault = None;
        self.stage = Stage::Sent;
        Step::Send
    }

    /// The target that is tried.
    pub fn chosen(&self) -> Option<&Target> {
        self.targets.get(usize::try_from(self.target).ok()?)
    }

    /// Has the policy judge what came of a try.
    pub fn judge(&mut self, outcome: Outcome) -> Step {
        let gate = Rc::clone(&self.gate);
        let now = head::now();
        // Perhaps it never came to the cluster.
        self.is_straight = false;
        if matches!(outcome, Outcome::Fault(Fault::Connect)) {
            // Nothing was sent.
            self.dispatched = self.dispatched_before;
        }
        let attempt = Attempt {
            target: self.target,
            number: self.number,
            outcome,
            standings: self.standings.clone(),
            now_ms: now,
            random: chance::bits(),
            load: gate.lately.borrow().load(now),
        };
        let judged = gate.policy.gateway.judge(&self.ticket, &attempt);
        let Ok(Judgement { verdict, health }) = judged else {
            return Step::Reply(self.words(Stop::Broken));
        };
        self.learn(health, now);
        match verdict {
            Verdict::Relay { ticket, headers, inspect } => {
                self.ticket = ticket;
                self.inspect = inspect;
                self.stage = Stage::Decided;
                self.original = None;
                Step::Relay(headers)
            }
            Verdict::Retry { ticket, target, after_ms } => {
                self.ticket = ticket;
                self.target = target;
                self.stage = Stage::Next;
                if after_ms > 0 {
                    log(LogLevel::Debug, &format!("{}: waits {after_ms}", self.id));
                }
                Step::Again(after_ms)
            }
            Verdict::Reply { ticket, reply } => {
                self.ticket = ticket;
                Step::Reply(self.words(Stop::Reply(reply)))
            }
        }
    }

    /// Passes on what a try tells of its upstream.
    fn learn(&mut self, health: Health, now: u64) {
        let upstream = self.chosen().map(|target| target.upstream.as_str()).unwrap_or_default();
        match health {
            Health::Good => {
                let place = self.gate.settings.upstreams.keys().position(|name| name == upstream);
                let took_ms = now.saturating_sub(self.sent_at_ms);
                if let Some(place) = place {
                    self.gate.lately.borrow_mut().measured(place, took_ms);
                }
            }
            Health::Denied => {
                let alarm = format!(
                    "{}: alarm upstream_credential: {upstream} refused this gateway's credential",
                    self.id
                );
                log(LogLevel::Error, &alarm);
            }
            Health::Bad | Health::Unknown => {}
        }
        if let Some(passed) = self.passed.take() {
            self.gate.breakers.tell(&passed, translate::health(health), now);
        }
    }

    /// Passes on a piece of the answer. What it asks for must be held before anything more passes; the answer is for
    /// [`Exchange::raised`].
    pub fn pass_on(&mut self, bytes: &[u8], passing: &mut Passing) -> Option<Asked<Raise>> {
        if bytes.is_empty() {
            return None;
        }
        if self.stopped {
            passing.is_changed = true;
            return None;
        }
        let Some((output, holding)) = self.feed_or_fail(Piece::Chunk(bytes)) else {
            passing.is_changed = true;
            return None;
        };
        match output {
            Output::Pass => passing.bytes.extend_from_slice(bytes),
            output => self.put(passing, output),
        }
        let asked = holding.filter(|_| !self.stopped).map(|holding| self.raise(holding))?;
        Some(asked.unwrap_or(Asked::Answered(Ok(Raise::Gone))))
    }

    /// More was asked for. INVARIANT (fail closed on money): what nobody knows to be held is not held.
    pub fn raised(&mut self, answer: Result<Raise, String>, passing: &mut Passing) {
        let opening = self.raising.take();
        match (answer, &mut self.held, opening) {
            (Ok(Raise::Granted { .. }), Some(held), Some(opening)) => {
                held.opening = opening;
                return;
            }
            (Err(cause), ..) => {
                log(LogLevel::Error, &format!("{}: the ledger did not hold more: {cause}", self.id));
            }
            _ => {}
        }
        if let Some((output, _)) = self.feed_or_fail(Piece::Limited) {
            self.put(passing, output);
        }
    }

    /// The answer is complete.
    pub fn ended(&mut self, passing: &mut Passing) {
        if !self.stopped
            && let Some((output, _)) = self.feed_or_fail(Piece::End)
        {
            self.put(passing, output);
        }
    }

    /// Notes what stands for a piece.
    fn put(&mut self, passing: &mut Passing, output: Output) {
        match output {
            Output::Pass => {}
            Output::Replace(bytes) => passing.put(&bytes),
            Output::Stop(bytes) => {
                passing.put(&bytes);
                self.stopped = true;
            }
        }
    }

    /// Tells the policy that the answer will not be complete. Nothing can be added to it any more.
    pub fn broke(&mut self) {
        if self.inspect && !self.stopped {
            let fault = self.fault.take().unwrap_or(Fault::Closed);
            let _ = self.feed(Piece::Broken(fault));
        }
    }

    fn feed_or_fail(&mut self, piece: Piece<'_>) -> Option<(Output, Option<Holding>)> {
        self.feed(piece)
            .inspect_err(|BadTicket| {
                log(LogLevel::Error, &format!("{}: the policy gave no answer", self.id));
                (self.failed, self.stopped) = (true, true);
            })
            .ok()
    }

    fn feed(&mut self, piece: Piece<'_>) -> Result<(Output, Option<Holding>), BadTicket> {
        let fed = self.gate.policy.gateway.feed(&self.ticket, piece)?;
        if let Some(ticket) = fed.ticket {
            self.ticket = ticket;
        }
        Ok((fed.output, fed.holding))
    }

    /// Asks to hold more, all claims or none. None: there is nothing that could hold more.
    fn raise(&mut self, holding: Holding) -> Option<Asked<Raise>> {
        let gate = Rc::clone(&self.gate);
        let held = self.held.as_ref().filter(|held| held.claims.len() == holding.amounts.len())?;
        log(LogLevel::Debug, &format!("{}: raises {:?}", self.id, holding.amounts));
        let wanted = held.claims.iter().zip(&holding.amounts);
        let claims: Vec<Claim> =
            wanted.map(|(claim, amount)| Claim { amount: *amount, ..claim.clone() }).collect();
        let entry = Arc::new(translate::entry(&self.id, held.opening.at_ms, holding.usage));
        let hold = Hold { entry: &entry, claims: &claims, lease_ms: gate.lease_ms() };
        let asked = gate.ledger.raise(hold, held.place, head::now());
        self.raising = Some(entry);
        Some(asked)
    }
}

/// What goes on to the client in place of what came.
#[derive(Default)]
pub struct Passing {
    /// All of it.
    pub bytes: Vec<u8>,
    /// It is not what came.
    pub is_changed: bool,
}

impl Passing {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.is_changed = true;
    }
}
