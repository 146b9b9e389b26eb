//! Where a client's request comes in: who calls, what it may do, what is held for it; and in the end its settlement.
//!
//! What is let in goes on to the internal listener, through which Envoy sends it as often as the policy says. Where the
//! books are a server's, the request waits here for its answers.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};
use tollgate_ledger::Reservation;
use tollgate_ledger::keys::Found;
use tollgate_policy::{Ending, Failure, Fault, Outcome};

use crate::exchange::{Exchange, Shared, Stage, Stop};
use crate::flow::Step;
use crate::gate::Gate;
use crate::head::{self, Fields, PROTO, REQUEST_ID};
use crate::server::{Asked, Pending};

/// Names the exchange of a request to the internal listener. Clients cannot reach that.
pub const EXCHANGE: &str = "x-tollgate-exchange";

/// On an answer of the internal listener: Envoy is to try again, after so many seconds.
pub const AFTER: &str = "x-tollgate-after";

/// More than the policy ever tries: how often is its decision.
const MOST_RETRIES: &str = "255";

/// Envoy's flag for a client that left (`%RESPONSE_FLAGS%` DC).
const CLIENT_LEFT: u64 = 0x4000;

/// The door's side of one request.
pub struct Door {
    exchange: Shared,
    fields: Option<Fields>,
    /// What the ledger was asked.
    waits: Option<Waits>,
    /// The bytes of its body, once all of them are here.
    whole: Option<usize>,
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
}

impl Door {
    /// For the next request.
    pub fn new(gate: Rc<Gate>) -> Self {
        let exchange = Rc::new(RefCell::new(Exchange::begin(gate)));
        Self { exchange, fields: None, waits: None, whole: None, replied: false, complete: false }
    }

    fn stop(&mut self, stop: Stop) -> Action {
        let mut exchange = self.exchange.borrow_mut();
        let reply = exchange.words(stop);
        self.replied = true;
        head::send(&reply, &exchange.id);
        Action::Pause
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
        let Some(size) = self.whole.filter(|_| self.waits.is_none()) else { return Action::Pause };
        let body = if size == 0 { None } else { self.get_http_request_body(0, size) };
        let asked = self.exchange.borrow_mut().admit(&body.unwrap_or_default());
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
        Exchange::share(&self.exchange);
        self.send_on();
        Action::Continue
    }

    /// What goes on: only the headers that the policy lets through, and what tells Envoy how to try.
    fn send_on(&self) {
        let (exchange, Some(fields)) = (self.exchange.borrow(), &self.fields) else { return };
        let forwarded = fields.readable(exchange.gate.policy.forward_headers);
        let kept = [":method", ":scheme", ":authority", ":path", PROTO, "content-length"];
        let mut headers: Vec<(&str, &str)> =
            kept.into_iter().filter_map(|name| Some((name, fields.text(name)?))).collect();
        headers.extend(forwarded.iter().map(|header| (header.name.as_str(), header.value.as_str())));
        headers.extend([
            (EXCHANGE, exchange.id.as_str()),
            (REQUEST_ID, exchange.id.as_str()),
            // A try that was cut off before it had an answer comes again too: the policy judges it then.
            ("x-envoy-retry-on", "retriable-headers,reset,connect-failure"),
            ("x-envoy-retriable-header-names", AFTER),
            ("x-envoy-max-retries", MOST_RETRIES),
            // How long an upstream may be silent is watched where it is asked; a stream may be long.
            ("x-envoy-upstream-rq-timeout-ms", "0"),
        ]);
        head::replace(MapType::HttpRequestHeaders, &headers);
    }
}

impl Context for Door {
    fn on_http_call_response(&mut self, token: u32, _: usize, _: usize, _: usize) {
        let is_it = |waits: &mut Waits| match waits {
            Waits::Key(pending) => pending.is(token),
            Waits::Hold(pending) => pending.is(token),
        };
        let action = match self.waits.take_if(is_it) {
            Some(Waits::Key(pending)) => self.known(Asked::Answered(pending.read())),
            Some(Waits::Hold(pending)) => self.granted(pending.read()),
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
        self.whole = is_last.then_some(0);
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
        self.whole = Some(size);
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
                    let fault = exchange.fault.take().unwrap_or(Fault::Closed);
                    exchange.judge(Outcome::Fault(fault))
                }
                Stage::Next | Stage::Decided => Step::Send,
            };
            let reply = match step {
                Step::Reply(reply) => reply,
                Step::Wait(_) | Step::Send | Step::Again(_) | Step::Relay(_) => exchange
                    .words(Stop::Failure(Failure::Unavailable("Envoy has no room for the request.".into()))),
            };
            self.replied = true;
            head::send(&reply, &exchange.id);
            return Action::Pause;
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
            exchange.broke();
            Ending::UpstreamBroke
        };
        exchange.finish(ending);
    }
}
