//! The plugin among the filters of a cluster. By that of an upstream the first try of an exchange passes, which the door sends
//! straight there; what it is answered is judged here. Envoy's own retries take every other try to the internal listener: by
//! the cluster of that, the request becomes again what the client sent.

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};
use tollgate_policy::Fault;

use crate::answer::{Answering, Place};
use crate::exchange::Stop;
use crate::head::{self, REQUEST_ID};
use crate::plugin::log;
use crate::under_way;

/// One request to an upstream.
#[derive(Default)]
pub struct Straight {
    /// What it is answered, if it is the first try. Others are judged by the internal listener.
    answering: Option<Answering>,
}

/// One request to the internal listener.
#[derive(Default)]
pub struct Inside {
    /// The client's body, if that is not what the first try was sent with.
    original: Option<Rc<[u8]>>,
}

impl Context for Straight {
    fn on_http_call_response(&mut self, token: u32, _: usize, _: usize, _: usize) {
        if let Some(answering) = &mut self.answering {
            answering.called(token);
        }
    }

    fn on_done(&mut self) -> bool {
        if let Some(answering) = &self.answering {
            answering.over(why);
        }
        true
    }
}

impl HttpContext for Straight {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let id = self.get_http_request_header(REQUEST_ID);
        let Some(exchange) = id.and_then(|id| under_way::find(&id)) else { return under_way::is_unknown() };
        let is_straight = std::mem::take(&mut exchange.borrow_mut().is_straight);
        self.answering = is_straight.then(|| Answering::new(exchange, Place::Upstream));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, is_last: bool) -> Action {
        self.answering.as_mut().map_or(Action::Continue, |answering| answering.headers(is_last))
    }

    fn on_http_response_body(&mut self, size: usize, is_last: bool) -> Action {
        self.answering.as_mut().map_or(Action::Continue, |answering| answering.body(size, is_last))
    }
}

impl Context for Inside {}

impl HttpContext for Inside {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let id = self.get_http_request_header(REQUEST_ID);
        let Some(exchange) = id.and_then(|id| under_way::find(&id)) else { return under_way::is_unknown() };
        let mut exchange = exchange.borrow_mut();
        if exchange.is_straight {
            // The policy has decided for an upstream, and nothing was sent to it.
            log(
                LogLevel::Error,
                "a first try came to the cluster `tries`: its upstream has no route at the door",
            );
            let reply = exchange.words(Stop::Broken);
            head::send(&reply, &exchange.id);
            return Action::Pause;
        }
        self.original = exchange.original.clone();
        let Some(original) = &self.original else { return Action::Continue };
        self.set_http_request_header("content-length", Some(&original.len().to_string()));
        Action::Pause
    }

    fn on_http_request_body(&mut self, size: usize, is_last: bool) -> Action {
        let Some(original) = &self.original else { return Action::Continue };
        if !is_last {
            return Action::Pause;
        }
        self.set_http_request_body(0, size, original);
        Action::Continue
    }
}

/// Why the upstream gave no answer, as far as it can be told here: of timeouts Envoy tells the door, or whoever tries next.
fn why() -> Fault {
    match hostcalls::get_property(vec!["upstream", "local_address"]) {
        Ok(None) => Fault::Connect,
        // Fail closed on money: what may have been sent was sent.
        Ok(Some(_)) | Err(_) => Fault::Closed,
    }
}
