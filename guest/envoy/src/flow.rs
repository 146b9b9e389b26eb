//! An exchange behind its admission: the loop over attempts, and an answer on its way to the client.

use std::rc::Rc;
use std::sync::Arc;

use proxy_wasm::types::LogLevel;
use tollgate_ledger::{Claim, Hold, Raise};
use tollgate_policy::{
    Attempt, BadTicket, Fault, Header, Health, Holding, Judgement, Outcome, Output, Piece, Reply, Verdict,
};

use crate::exchange::{Exchange, Stage, Stop};
use crate::head;
use crate::plugin::log;
use crate::{breakers, chance, ledger, translate};

/// What is to be done next.
pub enum Step {
    /// Send to the target.
    Send,
    /// Try again after so many milliseconds.
    Again(u64),
    /// Relay the answer with these headers.
    Relay(Vec<Header>),
    /// Answer this.
    Reply(Reply),
}

impl Exchange {
    /// The next try, or what is to be done instead. One before it that ended without an answer is judged first.
    pub fn next_try(&mut self) -> Step {
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
        loop {
            let Some(target) = usize::try_from(self.target).ok().and_then(|index| self.targets.get(index))
            else {
                return Step::Reply(self.words(Stop::Broken));
            };
            let now = head::now();
            let passed = match target.breaker {
                None => Ok(None),
                Some(rule) => breakers::ask(&target.upstream, translate::breaker(rule), now).map(Some),
            };
            match passed {
                Ok(passed) => {
                    self.passed = passed;
                    self.number = self.number.saturating_add(1);
                    self.gate.lately.borrow_mut().sent(self.number, now);
                    self.dispatched_before = std::mem::replace(&mut self.dispatched, true);
                    self.sent_at_ms = now;
                    self.fault = None;
                    self.stage = Stage::Sent;
                    return Step::Send;
                }
                Err(wait_ms) => match self.judge(Outcome::Tripped(wait_ms)) {
                    Step::Again(0) => {}
                    step => return step,
                },
            }
        }
    }

    /// Has the policy judge what came of a try.
    pub fn judge(&mut self, outcome: Outcome) -> Step {
        let gate = Rc::clone(&self.gate);
        let now = head::now();
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
        let target = usize::try_from(self.target).ok().and_then(|index| self.targets.get(index));
        let upstream = target.map(|target| target.upstream.as_str()).unwrap_or_default();
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
            passed.tell(translate::health(health), now);
        }
    }

    /// What the client gets for a piece of the answer; none: the piece as it is.
    pub fn pass_on(&mut self, bytes: &[u8], is_last: bool) -> Option<Vec<u8>> {
        if self.stopped {
            return Some(Vec::new());
        }
        if !self.inspect {
            return None;
        }
        self.fed(bytes, is_last).unwrap_or_else(|BadTicket| {
            log(LogLevel::Error, &format!("{}: the policy gave no answer", self.id));
            (self.failed, self.stopped) = (true, true);
            Some(Vec::new())
        })
    }

    fn fed(&mut self, bytes: &[u8], is_last: bool) -> Result<Option<Vec<u8>>, BadTicket> {
        let mut out = None;
        if !bytes.is_empty() {
            let (output, holding) = self.feed(Piece::Chunk(bytes))?;
            self.put(&mut out, output);
            if let Some(holding) = holding.filter(|_| !self.stopped)
                && !self.raise(holding)
                && let (Output::Stop(last), _) = self.feed(Piece::Limited)?
            {
                out.get_or_insert_with(|| bytes.to_vec()).extend(last);
                self.stopped = true;
            }
        }
        if is_last && !self.stopped {
            let (Output::Replace(last) | Output::Stop(last), _) = self.feed(Piece::End)? else {
                return Ok(out);
            };
            out.get_or_insert_with(|| bytes.to_vec()).extend(last);
        }
        Ok(out)
    }

    /// Notes what stands for a piece.
    fn put(&mut self, out: &mut Option<Vec<u8>>, output: Output) {
        match output {
            Output::Pass => {}
            Output::Replace(bytes) => *out = Some(bytes),
            Output::Stop(bytes) => {
                *out = Some(bytes);
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

    fn feed(&mut self, piece: Piece<'_>) -> Result<(Output, Option<Holding>), BadTicket> {
        let fed = self.gate.policy.gateway.feed(&self.ticket, piece)?;
        if let Some(ticket) = fed.ticket {
            self.ticket = ticket;
        }
        Ok((fed.output, fed.holding))
    }

    /// Holds more, all claims or none. INVARIANT (fail closed on money): what nobody knows to be held is not held.
    fn raise(&mut self, holding: Holding) -> bool {
        let Some(held) = self.held.as_mut().filter(|held| held.claims.len() == holding.amounts.len()) else {
            return false;
        };
        log(LogLevel::Debug, &format!("{}: raises {:?}", self.id, holding.amounts));
        let wanted = held.claims.iter().zip(&holding.amounts);
        let claims: Vec<Claim> =
            wanted.map(|(claim, amount)| Claim { amount: *amount, ..claim.clone() }).collect();
        let entry = Arc::new(translate::entry(&self.id, held.opening.at_ms, holding.usage));
        let hold = Hold { entry: &entry, claims: &claims, lease_ms: self.gate.lease_ms() };
        match ledger::raise(hold, head::now()) {
            Ok(Raise::Granted { .. }) => {
                held.opening = entry;
                true
            }
            Ok(Raise::Limited { .. } | Raise::Gone) => false,
            Err(cause) => {
                log(LogLevel::Error, &format!("{}: the ledger did not hold more: {cause}", self.id));
                false
            }
        }
    }
}
