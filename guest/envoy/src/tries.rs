//! The internal listener, where every try but the first passes on its way to an upstream: the target is chosen here and its
//! edits are made. Where the books are a server's, the request waits here for its breaker.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel, MapType};
use tollgate_ledger::breaker::Passage;
use tollgate_policy::Fault;

use crate::address::address;
use crate::answer::{Answering, Place};
use crate::exchange::{Shared, Stop};
use crate::flow::Step;
use crate::head::{self, Fields, REQUEST_ID};
use crate::plugin::log;
use crate::server::Pending;
use crate::under_way;

/// Envoy's word that the try before this one took too long.
const WAS_TIMEOUT: &str = "x-envoy-is-timeout-retry";

/// One try.
#[derive(Default)]
pub struct Attempt {
    exchange: Option<Shared>,
    /// What it is answered, once the exchange has been found.
    answering: Option<Answering>,
    /// The head of its request, until that is sent.
    fields: Option<Fields>,
    /// Whether its breaker lets it pass, while that is not known.
    breaker: Option<Pending<Passage>>,
    /// The bytes of its body, once all of them are here.
    whole: Option<usize>,
    /// Its body is to be edited.
    edits: bool,
}

impl Attempt {
    /// What to do before anything was sent.
    fn step(&mut self, step: Step) -> Action {
        let Some(exchange) = self.exchange.clone() else { return Action::Pause };
        self.answering = Some(Answering::new(exchange, Place::Tries));
        match step {
            Step::Wait(pending) => {
                self.breaker = Some(pending);
                Action::Pause
            }
            Step::Send => self.ask(),
            step => self.act(step),
        }
    }

    fn act(&mut self, step: Step) -> Action {
        self.answering.as_mut().map_or(Action::Pause, |answering| answering.act(step, None))
    }

    /// Makes the request the target's own.
    fn ask(&mut self) -> Action {
        let (Some(exchange), Some(fields)) = (self.exchange.clone(), self.fields.take()) else {
            return Action::Pause;
        };
        let mut exchange = exchange.borrow_mut();
        self.edits = exchange.chosen().is_some_and(|target| !target.edits.is_empty());
        let length = fields.text("content-length").filter(|_| !self.edits);
        if address(&exchange, &fields, length, &[]).is_none() {
            let reply = exchange.words(Stop::Broken);
            drop(exchange);
            return self.act(Step::Reply(reply));
        }
        drop(exchange);
        self.send()
    }

    /// Sends the request, once its head is made and its body is here, so that both go out at once.
    fn send(&mut self) -> Action {
        let Some(size) = self.whole.filter(|_| self.fields.is_none()) else { return Action::Pause };
        if !std::mem::take(&mut self.edits) {
            return Action::Continue;
        }
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        let edited = self.exchange.as_ref().map_or(Ok(None), |exchange| exchange.borrow().edited(&body));
        match edited {
            Ok(Some(edited)) => {
                self.set_http_request_header("content-length", Some(&edited.len().to_string()));
                self.set_http_request_body(0, size, &edited);
                Action::Continue
            }
            Ok(None) => Action::Continue,
            Err(outcome) => {
                self.answering.as_mut().map_or(Action::Pause, |answering| answering.judge(outcome))
            }
        }
    }
}

impl Context for Attempt {
    fn on_http_call_response(&mut self, token: u32, _: usize, _: usize, _: usize) {
        if let Some(pending) = self.breaker.take_if(|pending| pending.is(token)) {
            let Some(step) = self.exchange.clone().map(|shared| shared.borrow_mut().passage(pending.read()))
            else {
                return;
            };
            if self.step(step) == Action::Continue {
                self.resume_http_request();
            }
        } else if let Some(answering) = &mut self.answering {
            answering.called(token);
        }
    }
}

impl HttpContext for Attempt {
    fn on_http_request_headers(&mut self, _: usize, is_last: bool) -> Action {
        let fields = Fields::of(MapType::HttpRequestHeaders);
        self.exchange = fields.text(REQUEST_ID).and_then(under_way::find);
        let Some(exchange) = self.exchange.clone() else { return under_way::is_unknown() };
        if fields.text(WAS_TIMEOUT) == Some("true") {
            exchange.borrow_mut().fault = Some(Fault::Timeout);
        }
        if fields.text("authorization").is_some() {
            log(LogLevel::Error, "a credential came back with a try: the cluster `tries` must take it off");
        }
        self.fields = Some(fields);
        self.whole = is_last.then_some(0);
        let step = exchange.borrow_mut().next_try();
        self.step(step)
    }

    fn on_http_request_body(&mut self, size: usize, is_last: bool) -> Action {
        if !is_last || self.answering.as_ref().is_none_or(Answering::is_replied) {
            return Action::Pause;
        }
        self.whole = Some(size);
        self.send()
    }

    fn on_http_response_headers(&mut self, _: usize, is_last: bool) -> Action {
        self.answering.as_mut().map_or(Action::Continue, |answering| answering.headers(is_last))
    }

    fn on_http_response_body(&mut self, size: usize, is_last: bool) -> Action {
        self.answering.as_mut().map_or(Action::Continue, |answering| answering.body(size, is_last))
    }

    fn on_log(&mut self) {
        if let Some(answering) = &self.answering {
            answering.over(head::fault);
        }
    }
}
