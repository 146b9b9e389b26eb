//! One exchange, as every place of the plugin in one worker knows it: the walk of `wit/policy.wit` as plain calls.
//!
//! It asks the policy, keeps the ticket, holds and settles. Whatever happens on the way, [`Exchange::finish`] acts
//! exactly once, when Envoy logs the client's request; what a lost VM cannot settle is closed by its lease.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use proxy_wasm::types::LogLevel;
use tollgate_ledger::keyring::Recalled;
use tollgate_ledger::keys::{Digest, Found};
use tollgate_ledger::{Charged, Claim, Entry, Hold, Outcome as Ended, Reservation};
use tollgate_policy::{
    Admission, BadTicket, Ending, Failure, Fault, Head, Identity, Limited, Outcome, Reply, Settlement,
    Standing, Surroundings, Target,
};

use crate::breakers::Passed;
use crate::callers::Caller;
use crate::gate::Gate;
use crate::head::{self, Fields};
use crate::ledger::Place;
use crate::plugin::log;
use crate::server::Asked;
use crate::{chance, record, translate, under_way};

/// An exchange that several contexts know.
pub type Shared = Rc<RefCell<Exchange>>;

/// Why the walk ends before anything is sent.
pub enum Stop {
    /// The policy answers itself.
    Reply(Reply),
    /// Something only the shell can see; the policy words it.
    Failure(Failure),
    /// The policy gave no answer.
    Broken,
}

impl From<BadTicket> for Stop {
    fn from(_: BadTicket) -> Self {
        Self::Broken
    }
}

/// How far the tries have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The target is to be tried.
    Next,
    /// It was sent to, and what came of it is not judged yet.
    Sent,
    /// An answer is relayed, or was replied.
    Decided,
}

/// What one worker knows of one exchange.
pub struct Exchange {
    pub gate: Rc<Gate>,
    pub id: String,
    /// The policy's memory; empty before `identify`.
    pub ticket: Vec<u8>,
    caller: Called,
    pub held: Option<Held>,
    pub targets: Vec<Target>,
    pub standings: Vec<Standing>,
    pub stage: Stage,
    /// The place of the target that is tried.
    pub target: u32,
    /// Tries that sent something.
    pub number: u32,
    /// Whether any of them reached an upstream.
    pub dispatched: bool,
    /// The same before the try under way.
    pub dispatched_before: bool,
    pub sent_at_ms: u64,
    /// The door has sent the first try, and it has not come to its upstream's cluster yet.
    pub is_straight: bool,
    /// The client's body, if the door has edited it, until the exchange is decided.
    pub original: Option<Rc<[u8]>>,
    /// The next try must wait so many milliseconds.
    pub postponed_ms: Option<u64>,
    /// Whose breaker let the try under way pass.
    pub passed: Option<Passed>,
    /// The row of the exchange, if what it asks to be raised is granted.
    pub raising: Option<Arc<Entry>>,
    /// Why the try under way ended without an answer.
    pub fault: Option<Fault>,
    /// Whether the answer's body goes through the policy.
    pub inspect: bool,
    /// The policy has ended the answer: what still comes from the upstream is dropped.
    pub stopped: bool,
    /// The policy gave no answer.
    pub failed: bool,
    /// The status the client gets.
    pub status: u16,
    pub first_byte_ms: Option<u64>,
    started_ms: u64,
    finished: bool,
}

/// Who calls.
enum Called {
    /// Somebody whom the configuration knows, or nobody yet.
    Configured,
    /// Somebody with this digest, who is looked for.
    By(Digest),
    /// Somebody whose key was made at run time.
    Known(Caller),
}

/// Claims that were asked for, and are not settled yet.
pub struct Held {
    /// The row of the exchange as it stands if nobody settles it.
    pub opening: Arc<Entry>,
    pub claims: Vec<Claim>,
    pub place: Place,
    renewed_ms: u64,
}

impl Held {
    /// As the ledger takes it.
    pub fn hold(&self, lease_ms: u64) -> Hold<'_> {
        Hold { entry: &self.opening, claims: &self.claims, lease_ms }
    }
}

impl Exchange {
    /// A request has come.
    pub fn begin(gate: Rc<Gate>) -> Self {
        Self {
            gate,
            id: chance::id(),
            ticket: Vec::new(),
            caller: Called::Configured,
            held: None,
            targets: Vec::new(),
            standings: Vec::new(),
            stage: Stage::Next,
            target: 0,
            number: 0,
            dispatched: false,
            dispatched_before: false,
            sent_at_ms: 0,
            is_straight: false,
            original: None,
            postponed_ms: None,
            passed: None,
            raising: None,
            fault: None,
            inspect: false,
            stopped: false,
            failed: false,
            status: 0,
            first_byte_ms: None,
            started_ms: head::now(),
            finished: false,
        }
    }

    /// Who calls. The answer is for [`Exchange::known`]; none: it is known already.
    ///
    /// # Errors
    /// Why the request ends here.
    pub fn identify(&mut self, fields: &Fields) -> Result<Option<Asked<Option<Found>>>, Stop> {
        let gate = Rc::clone(&self.gate);
        let headers = fields.strictly(&gate.policy.request_headers).map_err(|name| {
            Stop::Failure(Failure::Malformed(format!(
                "the header {name} has bytes that are not visible ASCII"
            )))
        })?;
        let pseudo = |name| fields.text(name).unwrap_or_default().to_owned();
        let head = Head { method: pseudo(":method"), path: pseudo(":path"), headers };
        match gate.policy.gateway.identify(&head) {
            Identity::Reply(reply) => Err(Stop::Reply(reply)),
            Identity::Caller(caller) => {
                self.ticket = caller.ticket;
                if caller.configured { Ok(None) } else { self.look_up(caller.digest) }
            }
        }
    }

    fn look_up(&mut self, digest: Digest) -> Result<Option<Asked<Option<Found>>>, Stop> {
        match self.gate.callers.borrow().recall(&digest, head::now()) {
            Recalled::Caller(caller) => {
                self.caller = Called::Known(caller);
                Ok(None)
            }
            Recalled::Stranger => Err(Stop::Failure(Failure::UnknownKey)),
            Recalled::Unknown => {
                self.caller = Called::By(digest);
                Ok(Some(self.gate.ledger.find(&digest)))
            }
        }
    }

    /// The key that was looked for.
    ///
    /// # Errors
    /// See [`Exchange::identify`].
    pub fn known(&mut self, answer: Result<Option<Found>, String>) -> Result<(), Stop> {
        let Called::By(digest) = self.caller else { return Ok(()) };
        let mut callers = self.gate.callers.borrow_mut();
        let now = head::now();
        let caller = match answer {
            Ok(found) => callers.learn(&digest, found, now),
            Err(cause) => {
                log(LogLevel::Error, &format!("{}: the key store did not answer: {cause}", self.id));
                let silent = callers.while_silent(&digest, now);
                Some(silent.ok_or(Stop::Failure(Failure::LedgerUnavailable))?)
            }
        };
        self.caller = Called::Known(caller.ok_or(Stop::Failure(Failure::UnknownKey))?);
        Ok(())
    }

    /// What the request may do. The ledger is asked for what that costs at most; its answer is for [`Exchange::granted`].
    /// INVARIANT (never over-admit): nothing is sent before.
    ///
    /// # Errors
    /// See [`Exchange::identify`].
    pub fn admit(&mut self, body: &[u8]) -> Result<Asked<Reservation>, Stop> {
        let gate = Rc::clone(&self.gate);
        let now = head::now();
        let latencies = gate.policy.wants_latencies.then(|| gate.lately.borrow().latencies());
        let around =
            Surroundings { now_ms: now, random: chance::bits(), latencies: latencies.unwrap_or_default() };
        let principal = match &self.caller {
            Called::Configured => None,
            Called::Known(Caller(principal)) => Some(&**principal),
            // Whoever is still looked for is nobody.
            Called::By(_) => return Err(Stop::Failure(Failure::UnknownKey)),
        };
        let admitted = match gate.policy.gateway.admit(&self.ticket, principal, body, &around)? {
            Admission::Reply(reply) => return Err(Stop::Reply(reply)),
            Admission::Admitted(admitted) => admitted,
        };
        self.ticket = admitted.ticket;
        self.targets = admitted.targets;
        let opening = Arc::new(translate::entry(&self.id, now, admitted.usage));
        let claims = admitted.claims.iter().map(translate::claim).collect();
        // Noted first: if the client leaves before there is an answer, what it granted is still settled.
        let held = Held { opening, claims, place: Place::Perhaps, renewed_ms: now };
        Ok(gate.ledger.reserve(self.held.insert(held).hold(gate.lease_ms()), now))
    }

    /// What the ledger answered.
    ///
    /// # Errors
    /// See [`Exchange::identify`].
    pub fn granted(&mut self, answer: Result<Reservation, String>) -> Result<(), Stop> {
        let Some(mut held) = self.held.take() else { return Err(Stop::Broken) };
        let ledger = &self.gate.ledger;
        let now = head::now();
        held.place = if answer.is_ok() { Place::Books } else { Place::Share };
        let answer = answer.or_else(|down| ledger.reserve_share(held.hold(self.gate.lease_ms()), down, now));
        match answer {
            Ok(Reservation::Granted { standings, .. }) => {
                self.standings = standings.iter().map(translate::standing).collect();
                self.held = Some(held);
                Ok(())
            }
            Ok(Reservation::Limited { claim, retry_after_ms, standings }) => {
                if held.place == Place::Share {
                    self.let_go(&held, now);
                }
                let standings = standings.iter().map(translate::standing).collect();
                let claim = u32::try_from(claim).unwrap_or(u32::MAX);
                Err(Stop::Failure(Failure::Limited(Limited { claim, retry_after_ms, standings })))
            }
            Err(cause) => {
                log(LogLevel::Error, &format!("{}: the ledger did not answer: {cause}", self.id));
                self.let_go(&held, now);
                Err(Stop::Failure(Failure::LedgerUnavailable))
            }
        }
    }

    /// Gives back what may have been granted although nobody heard of it.
    fn let_go(&self, held: &Held, now: u64) {
        let row = Arc::new(held.opening.undispatched());
        self.gate.ledger.settle(row, Charged::Nothing, Place::Perhaps, now);
    }

    /// The client's body as the chosen target takes it; none: as it is.
    ///
    /// # Errors
    /// What the policy is to judge instead: its edits do not fit the body.
    pub fn edited(&self, body: &[u8]) -> Result<Option<Vec<u8>>, Outcome> {
        let edits = self.chosen().map(|target| target.edits.as_slice()).unwrap_or_default();
        if edits.is_empty() {
            return Ok(None);
        }
        translate::edited(body, edits).map(Some).ok_or_else(|| {
            log(LogLevel::Error, &format!("{}: the policy's edits do not fit the body", self.id));
            Outcome::Fault(Fault::Malformed)
        })
    }

    /// The policy's words for why the request ends.
    pub fn words(&mut self, stop: Stop) -> Reply {
        let policy = &self.gate.policy.gateway;
        let reply = match stop {
            Stop::Reply(reply) => Ok(reply),
            Stop::Failure(failure) => {
                let ticket = (!self.ticket.is_empty()).then_some(&*self.ticket);
                policy.refuse(ticket, &failure)
            }
            Stop::Broken => Err(BadTicket),
        };
        let reply = reply.unwrap_or_else(|BadTicket| {
            self.failed = true;
            log(LogLevel::Error, &format!("{}: the policy gave no answer", self.id));
            let internal = policy.refuse(None, &Failure::Internal(self.id.clone()));
            internal.unwrap_or(Reply { status: 500, headers: Vec::new(), body: Vec::new() })
        });
        self.stage = Stage::Decided;
        self.original = None;
        self.status = reply.status;
        reply
    }

    /// Moves the lease, long before it ends.
    pub fn renew(&mut self, now: u64) {
        let lease_ms = self.gate.lease_ms();
        let Some(held) = &mut self.held else { return };
        if now.abs_diff(held.renewed_ms) < lease_ms / 3 {
            return;
        }
        held.renewed_ms = now;
        self.gate.ledger.renew(&held.opening, lease_ms, held.place, now);
    }

    /// Closes the exchange: settles what is held, writes the row. INVARIANT (settle once): only the first call does
    /// anything.
    pub fn finish(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        under_way::end(&self.id);
        let now = head::now();
        if let Some(passed) = self.passed.take() {
            // It was cancelled, and tells nothing.
            self.gate.breakers.tell(&passed, tollgate_ledger::breaker::Health::Unknown, now);
        }
        match self.held.take() {
            Some(held) if held.place == Place::Perhaps => {
                self.let_go(&held, now);
                record::refused(&self.id, self.status);
            }
            Some(held) => self.settle(&held, ending, now),
            None => record::refused(&self.id, self.status),
        }
    }

    fn settle(&self, held: &Held, ending: Ending, now: u64) {
        let settled = self.gate.policy.gateway.settle(&self.ticket, ending);
        let settled = settled.ok().filter(|settlement| settlement.amounts.len() == held.claims.len());
        let (entry, charged) = match settled {
            Some(Settlement { amounts, usage }) => {
                let entry = translate::entry(&self.id, held.opening.at_ms, usage);
                (Entry { outcome: translate::outcome(ending), ..entry }, Charged::Amounts(amounts))
            }
            None => {
                log(LogLevel::Error, &format!("{}: the policy did not settle", self.id));
                // What was held is charged once anything was sent, for nobody can say what it was.
                let charged = if self.dispatched { Charged::Held } else { Charged::Nothing };
                (Entry { outcome: Ended::PolicyFailed, ..Entry::clone(&held.opening) }, charged)
            }
        };
        let entry = Arc::new(Entry {
            status: self.status,
            duration_ms: now.saturating_sub(self.started_ms),
            first_byte_ms: self.first_byte_ms,
            ..entry
        });
        self.gate.ledger.settle(entry, charged, held.place, now);
    }

    /// Notes that bytes of the answer went to the client.
    pub fn first_byte(&mut self) {
        let started_ms = self.started_ms;
        self.first_byte_ms.get_or_insert_with(|| head::now().saturating_sub(started_ms));
    }
}
