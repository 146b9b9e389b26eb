//! Where a client's request comes in: who calls, what it may do, what is held for it; and in the end its settlement.
//!
//! What is let in goes straight to the target that is tried first, with its edits; every try behind that goes by the internal
//! listener, through which Envoy sends it as often as the policy says. Where the books are a server's, the request waits
//! here for its answers.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};
use tollgate_ledger::Reservation;
use tollgate_ledger::breaker::Passage;
use tollgate_ledger::keys::Found;
use tollgate_policy::{Ending, Failure, Fault, Outcome, Reply};

use crate::address::address;
use crate::answer::AFTER;
use crate::exchange::{Exchange, Shared, Stage, Stop};
use crate::flow::Step;
use crate::gate::Gate;
use crate::head::{self, Fields, PROTO, REQUEST_ID};
use crate::server::{Asked, Pending};
use crate::under_way;

/// What tells Envoy how to try.
const RETRIES: [(&str, &str); 3] = [
    // A try that was cut off before it had an answer comes again too: the policy judges it then.
    ("x-envoy-retry-on", "retriable-headers,reset,connect-failure"),
    ("x-envoy-retriable-header-names", AFTER),
    // More than the policy ever tries: how often is its decision.
    ("x-envoy-max-retries", "255"),
];

/// Envoy's flag for a client that left (`%RESPONSE_FLAGS%` DC).
const CLIENT_LEFT: u64 = 0x4000;

/// The door's side of one request.
pub struct Door {
    exchange: Shared,
    fields: Option<Fields>,
    /// What the ledger was asked.
    waits: Option<Waits>,
    /// Its body, once all of it is here.
    whole: Option<Vec<u8>>,
    /// It was answered here; that answer passes by here too, and is not metered.
    replied: bool,
    /// All of the answer went by.
    complete: bool,
}

/// A question to the ledger that the request waits for.
enum Waits {
    /// Who calls.
    Key(Pending<Option<Found>>),
    /// Whether what it costs is held.
    Hold(Pending<Reservation>),
    /// Whether the breaker of the first target lets it pass.
    Breaker(Pending<Passage>),
}

impl Door {
    /// For the next request.
    pub fn new(gate: Rc<Gate>) -> Self {
        let exchange = Rc::new(RefCell::new(Exchange::begin(gate)));
        Self { exchange, fields: None, waits: None, whole: None, replied: false, complete: false }
    }

    fn stop(&mut self, stop: Stop) -> Action {
        let reply = self.exchange.borrow_mut().words(stop);
        self.reply(&reply)
    }

    /// Who calls, once the ledger has said so.
    fn known(&mut self, asked: Asked<Option<Found>>) -> Action {
        match asked {
            Asked::Waits(pending) => {
                self.waits = Some(Waits::Key(pending));
                Action::Pause
            }
            Asked::Answered(answer) => {
                let known = self.exchange.borrow_mut().known(answer);
                match known {
                    Ok(()) => self.admit(),
                    Err(stop) => self.stop(stop),
                }
            }
        }
    }

    /// Once the caller is known and the whole request is here.
    fn admit(&mut self) -> Action {
        let Some(body) = self.whole.as_ref().filter(|_| self.waits.is_none()) else { return Action::Pause };
        let asked = self.exchange.borrow_mut().admit(body);
        match asked {
            Err(stop) => self.stop(stop),
            Ok(Asked::Answered(answer)) => self.granted(answer),
            Ok(Asked::Waits(pending)) => {
                self.waits = Some(Waits::Hold(pending));
                Action::Pause
            }
        }
    }

    fn granted(&mut self, answer: Result<Reservation, String>) -> Action {
        let granted = self.exchange.borrow_mut().granted(answer);
        if let Err(stop) = granted {
            return self.stop(stop);
        }
        under_way::begin(&self.exchange);
        let step = self.exchange.borrow_mut().next_try();
        self.step(step)
    }

    /// The first try, or what is to be done instead.
    fn step(&mut self, step: Step) -> Action {
        match step {
            Step::Wait(pending) => {
                self.waits = Some(Waits::Breaker(pending));
                Action::Pause
            }
            Step::Send => self.send_straight(),
            // Who waits does so between two tries.
            Step::Again(after_ms) => {
                self.exchange.borrow_mut().postponed_ms = Some(after_ms).filter(|after_ms| *after_ms > 0);
                self.send_on();
                Action::Continue
            }
            Step::Reply(reply) => self.reply(&reply),
            Step::Relay(_) => self.stop(Stop::Broken),
        }
    }

    fn reply(&mut self, reply: &Reply) -> Action {
        self.replied = true;
        head::send(reply, &self.exchange.borrow().id);
        Action::Pause
    }

    /// Makes the request the first target's own.
    fn send_straight(&mut self) -> Action {
        let shared = Rc::clone(&self.exchange);
        let mut exchange = shared.borrow_mut();
        let (fields, body) = (&self.fields, self.whole.take().unwrap_or_default());
        let edited = match exchange.edited(&body) {
            Ok(edited) => edited,
            Err(outcome) => {
                let step = exchange.judge(outcome);
                drop(exchange);
                return self.step(step);
            }
        };
        let length = edited.as_ref().map(|edited| edited.len().to_string());
        let addressed = fields.as_ref().and_then(|fields| {
            let length = length.as_deref().or_else(|| fields.text("content-length"));
            address(&exchange, fields, length, &RETRIES)
        });
        if addressed.is_none() {
            drop(exchange);
            return self.stop(Stop::Broken);
        }
        if let Some(edited) = edited {
            self.set_http_request_body(0, body.len(), &edited);
            exchange.original = Some(body.into());
        }
        exchange.is_straight = true;
        Action::Continue
    }

    /// Leaves the first try to the internal listener.
    fn send_on(&self) {
        let (exchange, Some(fields)) = (self.exchange.borrow(), &self.fields) else { return };
        let forwarded = fields.readable(exchange.gate.policy.forward_headers);
        let kept = [":method", ":scheme", ":authority", ":path", PROTO, "content-length"];
        let mut headers: Vec<(&str, &str)> =
            kept.into_iter().filter_map(|name| Some((name, fields.text(name)?))).collect();
        headers.extend(forwarded.iter().map(|header| (header.name.as_str(), header.value.as_str())));
        headers.extend([(REQUEST_ID, exchange.id.as_str()), ("x-envoy-upstream-rq-timeout-ms", "0")]);
        headers.extend(RETRIES);
        head::replace(MapType::HttpRequestHeaders, &headers);
    }
}

impl Context for Door {
    fn on_http_call_response(&mut self, token: u32, _: usize, _: usize, _: usize) {
        let is_it = |waits: &mut Waits| match waits {
            Waits::Key(pending) => pending.is(token),
            Waits::Hold(pending) => pending.is(token),
            Waits::Breaker(pending) => pending.is(token),
        };
        let action = match self.waits.take_if(is_it) {
            Some(Waits::Key(pending)) => self.known(Asked::Answered(pending.read())),
            Some(Waits::Hold(pending)) => self.granted(pending.read()),
            Some(Waits::Breaker(pending)) => {
                let step = self.exchange.borrow_mut().passage(pending.read());
                self.step(step)
            }
            // The request was refused for another reason meanwhile.
            None => Action::Pause,
        };
        if action == Action::Continue {
            self.resume_http_request();
        }
    }
}

impl HttpContext for Door {
    fn on_http_request_headers(&mut self, _: usize, is_last: bool) -> Action {
        let fields = Fields::of(MapType::HttpRequestHeaders);

        let identified = self.exchange.borrow_mut().identify(&fields);
        self.fields = Some(fields);
        self.whole = is_last.then(Vec::new);
        match identified {
            Err(stop) => self.stop(stop),
            Ok(None) => self.admit(),
            Ok(Some(asked)) => self.known(asked),
        }
    }

    fn on_http_request_body(&mut self, size: usize, is_last: bool) -> Action {
        if self.replied {
            return Action::Pause;
        }
        let limit = self.exchange.borrow().gate.settings.server.body_limit;
        if u64::try_from(size).is_ok_and(|size| size > limit) {
            self.waits = None;
            return self.stop(Stop::Failure(Failure::BodyTooLarge(limit)));
        }
        if !is_last {
            return Action::Pause;
        }
        self.whole = Some(self.get_http_request_body(0, size).unwrap_or_default());
        self.admit()
    }

    fn on_http_response_headers(&mut self, _: usize, is_last: bool) -> Action {
        if self.replied {
            return Action::Continue;
        }
        let mut exchange = self.exchange.borrow_mut();
        if exchange.stage != Stage::Decided {
            // Envoy answers by itself, or has stopped to try: no try came to an end that was judged.
            let step = match exchange.stage {
                Stage::Sent => {
                    let fault = why(&mut exchange);
                    exchange.judge(Outcome::Fault(fault))
                }
                Stage::Next | Stage::Decided => Step::Send,
            };
            let reply = match step {
                Step::Reply(reply) => reply,
                Step::Wait(_) | Step::Send | Step::Again(_) | Step::Relay(_) => exchange
                    .words(Stop::Failure(Failure::Unavailable("Envoy has no room for the request.".into()))),
            };
            drop(exchange);
            return self.reply(&reply);
        }
        self.complete = is_last;
        Action::Continue
    }

    fn on_http_response_body(&mut self, _: usize, is_last: bool) -> Action {
        if !self.replied {
            self.exchange.borrow_mut().first_byte();
        }
        self.complete |= is_last;
        Action::Continue
    }

    fn on_log(&mut self) {
        let mut exchange = self.exchange.borrow_mut();
        let ending = if exchange.failed {
            Ending::PolicyFailed
        } else if !exchange.dispatched {
            Ending::Undispatched
        } else if self.complete || self.replied || exchange.stopped {
            Ending::Completed
        } else if head::flags() & CLIENT_LEFT != 0 {
            Ending::ClientLeft
        } else {
            exchange.fault = Some(match why(&mut exchange) {
                // To Envoy an answer that ends too early is malformed.
                Fault::Malformed => Fault::Closed,
                fault => fault,
            });
            exchange.broke();
            Ending::UpstreamBroke
        };
        exchange.finish(ending);
    }
}

/// Why there was no answer, or not all of it: what the try knows, but a timeout only Envoy does.
fn why(exchange: &mut Exchange) -> Fault {
    match (head::fault(), exchange.fault.take()) {
        (Fault::Timeout, _) | (_, Some(Fault::Timeout)) => Fault::Timeout,
        (_, Some(fault)) => fault,
        (fault, None) => fault,
    }
}
