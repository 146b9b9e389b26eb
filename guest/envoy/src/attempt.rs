//! Where a try passes on its way to an upstream: the target's edits are made here, and its answer is judged.
//!
//! An answer that is no stream of events is kept back until it is whole, so that another target can be tried
//! instead. What is to be tried again goes back to the door as an answer that Envoy's retries understand. Where the books
//! are a server's, the request waits here for its breaker, and the answer for what it must hold more.

use std::cell::RefMut;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, LogLevel, MapType};
use tollgate_ledger::Raise;
use tollgate_ledger::breaker::Passage;
use tollgate_policy::{Answer, Fault, Header, Outcome};

use crate::door::{AFTER, EXCHANGE};
use crate::exchange::{self, Exchange, Shared};
use crate::flow::{Passing, Step};
use crate::head::{self, Fields, PROTO, REQUEST_ID};
use crate::plugin::log;
use crate::server::{Asked, Pending};
use crate::translate;

/// Names the target's upstream, for the routes to its cluster.
const UPSTREAM: &str = "x-tollgate-upstream";

/// An answer that is no stream is judged with its body up to this many bytes.
const WHOLE_LIMIT: usize = 1 << 20;

const AGENT: &str = concat!("tollgate/", env!("CARGO_PKG_VERSION"));

/// How far a try is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// It may wait for its breaker; then its request is on its way.
    #[default]
    Asking,
    /// Its answer is kept back.
    Gathering,
    /// Its answer goes on to the client.
    Relaying,
    /// It was answered here.
    Replied,
}

/// One try.
#[derive(Default)]
pub struct Attempt {
    exchange: Option<Shared>,
    /// Which one of its exchange.
    number: u32,
    phase: Phase,
    /// The head of its request, until that is sent.
    fields: Option<Fields>,
    /// Whether its breaker lets it pass, while that is not known.
    breaker: Option<Pending<Passage>>,
    /// The bytes of its body, once all of them are here.
    whole: Option<usize>,
    /// Its body is to be edited.
    edits: bool,
    /// The head of its answer.
    answer: Option<Head>,
    /// What is passed on of its answer, while that waits for more to be held.
    flow: Flow,
    /// Its answer came to its end, or was given here.
    ended: bool,
}

/// The head of an answer: its status, what the policy reads of it, and what is relayed.
struct Head {
    status: u16,
    read: Vec<Header>,
    relayed: Vec<Header>,
}

/// The part of an answer that Envoy keeps back.
#[derive(Default)]
struct Flow {
    raising: Option<Pending<Raise>>,
    /// What goes on in its place, so far.
    passing: Passing,
    /// How many of its bytes the policy has seen.
    seen: usize,
    /// All its bytes.
    size: usize,
    is_last: bool,
}

impl Attempt {
    /// The exchange, while this is its try.
    fn mine(&self) -> Option<RefMut<'_, Exchange>> {
        let exchange = self.exchange.as_ref()?.borrow_mut();
        (exchange.number == self.number).then_some(exchange)
    }

    fn judge(&mut self, outcome: Outcome) -> Action {
        let length = match &outcome {
            Outcome::Answer(Answer { body: Some(body), .. }) => Some(body.len()),
            _ => None,
        };
        let Some(step) = self.mine().map(|mut exchange| exchange.judge(outcome)) else {
            return Action::Continue;
        };
        self.act(step, length)
    }

    /// What to do before anything was sent.
    fn step(&mut self, step: Step) -> Action {
        if let Some(exchange) = &self.exchange {
            self.number = exchange.borrow().number;
        }
        self.act(step, None)
    }

    fn act(&mut self, step: Step, length: Option<usize>) -> Action {
        let Some(exchange) = self.exchange.clone() else { return Action::Pause };
        let mut exchange = exchange.borrow_mut();
        match step {
            Step::Relay(added) => {
                if let Some(answer) = &self.answer {
                    answer.relay(&added, &exchange.id, length);
                    exchange.status = answer.status;
                }
                self.phase = Phase::Relaying;
                return Action::Continue;
            }
            Step::Again(after_ms) => {
                let seconds = after_ms.div_ceil(1_000).to_string();
                let _ = hostcalls::send_http_response(503, vec![(AFTER, seconds.as_str())], None);
            }
            Step::Reply(reply) => head::send(&reply, &exchange.id),
            Step::Wait(pending) => {
                self.breaker = Some(pending);
                return Action::Pause;
            }
            Step::Send => {
                drop(exchange);
                return self.ask();
            }
        }
        (self.phase, self.ended) = (Phase::Replied, true);
        Action::Pause
    }

    /// Makes the request the target's own.
    fn ask(&mut self) -> Action {
        let (Some(exchange), Some(fields)) = (self.exchange.clone(), self.fields.take()) else {
            return Action::Pause;
        };
        let exchange = exchange.borrow();
        let Some(target) = exchange.chosen() else { return Action::Pause };
        let upstream = exchange.gate.settings.upstreams.get(&target.upstream);
        let Some(base) = upstream.map(|upstream| &upstream.base_url) else { return Action::Pause };
        let Some(path) = base.join(&target.path) else { return Action::Pause };
        let forwarded = fields.readable(exchange.gate.policy.forward_headers);
        let mut headers = vec![
            (":method", "POST"),
            (":scheme", fields.text(":scheme").unwrap_or("http")),
            (PROTO, fields.text(PROTO).unwrap_or("http")),
            (":authority", base.authority().as_str()),
            (":path", path.as_str()),
            ("content-type", "application/json"),
            ("user-agent", AGENT),
            (REQUEST_ID, exchange.id.as_str()),
            (UPSTREAM, target.upstream.as_str()),
            ("x-envoy-upstream-rq-timeout-ms", "0"),
        ];
        headers.extend(forwarded.iter().map(|header| (header.name.as_str(), header.value.as_str())));
        self.edits = !target.edits.is_empty();
        if !self.edits {
            headers.extend(fields.text("content-length").map(|length| ("content-length", length)));
        }
        head::replace(MapType::HttpRequestHeaders, &headers);
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
        let edited = self.mine().and_then(|exchange| translate::edited(&body, &exchange.chosen()?.edits));
        match edited {
            Some(edited) => {
                self.set_http_request_header("content-length", Some(&edited.len().to_string()));
                self.set_http_request_body(0, size, &edited);
                Action::Continue
            }
            None => {
                log(LogLevel::Error, "the policy's edits do not fit the body");
                self.judge(Outcome::Fault(Fault::Malformed))
            }
        }
    }

    fn pass_on(&mut self, size: usize, is_last: bool) -> Action {
        (self.flow.size, self.flow.is_last) = (size, is_last);
        if self.flow.raising.is_some() {
            return Action::Pause;
        }
        let Some(shared) = self.exchange.clone() else { return Action::Continue };
        let mut exchange = shared.borrow_mut();
        if !exchange.inspect && !exchange.stopped {
            return Action::Continue;
        }
        let Flow { passing, seen, raising, .. } = &mut self.flow;
        let bytes = match size.saturating_sub(*seen) {
            0 => None,
            more => hostcalls::get_buffer(BufferType::HttpResponseBody, *seen, more).ok().flatten(),
        };
        *seen = size;
        match exchange.pass_on(&bytes.unwrap_or_default(), passing) {
            Some(Asked::Waits(pending)) => {
                *raising = Some(pending);
                return Action::Pause;
            }
            Some(Asked::Answered(answer)) => exchange.raised(answer, passing),
            None => {}
        }
        if is_last {
            exchange.ended(passing);
        }
        if passing.is_changed {
            self.set_http_response_body(0, size, &self.flow.passing.bytes);
        }
        self.flow = Flow::default();
        if exchange.failed {
            // The client must see that this is not the end.
            let _ = hostcalls::reset_http_response();
        }
        Action::Continue
    }

    /// The ledger has said whether more is held: what was kept back goes on.
    fn raised(&mut self, answer: Result<Raise, String>) {
        if let Some(exchange) = &self.exchange {
            exchange.borrow_mut().raised(answer, &mut self.flow.passing);
        }
        let Flow { size, is_last, .. } = self.flow;
        if self.pass_on(size, is_last) == Action::Continue {
            self.resume_http_response();
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
        } else if let Some(pending) = self.flow.raising.take_if(|pending| pending.is(token)) {
            self.raised(pending.read());
        }
    }
}

impl HttpContext for Attempt {
    fn on_http_request_headers(&mut self, _: usize, is_last: bool) -> Action {
        let fields = Fields::of(MapType::HttpRequestHeaders);
        self.exchange = fields.text(EXCHANGE).and_then(exchange::find);
        let Some(exchange) = self.exchange.clone() else {
            // Its client may have left. If it is so for all, the two places of the plugin are not in one VM.
            log(LogLevel::Warn, "a try without an exchange: do both places of the plugin share one VM?");
            self.phase = Phase::Replied;
            let _ = hostcalls::send_http_response(500, Vec::new(), None);
            return Action::Pause;
        };
        self.fields = Some(fields);
        self.whole = is_last.then_some(0);
        let step = exchange.borrow_mut().next_try();
        self.step(step)
    }

    fn on_http_request_body(&mut self, size: usize, is_last: bool) -> Action {
        if self.phase == Phase::Replied || !is_last {
            return Action::Pause;
        }
        self.whole = Some(size);
        self.send()
    }

    fn on_http_response_headers(&mut self, _: usize, is_last: bool) -> Action {
        if self.phase != Phase::Asking {
            return Action::Continue;
        }
        self.ended = is_last;
        let fields = Fields::of(MapType::HttpResponseHeaders);
        let status = fields.text(":status").and_then(|status| status.parse().ok()).unwrap_or(0);
        // Envoy's own answer: there is none of the upstream. It is never a good one.
        if !(200..300).contains(&status) && !is_of_upstream() {
            return self.judge(Outcome::Fault(fault()));
        }
        let Some(exchange) = self.exchange.clone() else { return Action::Continue };
        let policy = &exchange.borrow().gate.clone().policy;
        let head = Head {
            status,
            read: fields.readable(policy.answer_headers),
            relayed: fields.readable(policy.relay_headers),
        };
        let is_stream = is_event_stream(fields.text("content-type").unwrap_or_default());
        let body = (is_last && !is_stream).then(Vec::new);
        let answer = head.answer(body);
        self.answer = Some(head);
        if is_last || is_stream {
            return self.judge(Outcome::Answer(answer));
        }
        self.phase = Phase::Gathering;
        Action::Pause
    }

    fn on_http_response_body(&mut self, size: usize, is_last: bool) -> Action {
        self.ended |= is_last;
        match self.phase {
            Phase::Relaying => return self.pass_on(size, is_last),
            Phase::Gathering => {}
            Phase::Asking | Phase::Replied => return Action::Continue,
        }
        let is_long = size > WHOLE_LIMIT;
        if !is_last && !is_long {
            return Action::Pause;
        }
        let Some(answer) = self.answer.as_ref().map(|head| {
            let body = (!is_long).then(|| self.get_http_response_body(0, size).unwrap_or_default());
            head.answer(body)
        }) else {
            return Action::Continue;
        };
        let action = self.judge(Outcome::Answer(answer));
        if self.phase == Phase::Relaying { self.pass_on(size, is_last) } else { action }
    }

    fn on_log(&mut self) {
        if self.ended {
            return;
        }
        let fault = match fault() {
            // To Envoy an answer that ends too early is malformed.
            Fault::Malformed if self.answer.is_some() => Fault::Closed,
            fault => fault,
        };
        if let Some(mut exchange) = self.mine() {
            exchange.fault = Some(fault);
        }
    }
}

impl Head {
    fn answer(&self, body: Option<Vec<u8>>) -> Answer {
        Answer { status: self.status, headers: self.read.clone(), body }
    }

    /// Makes this the head of the answer, with what the policy adds.
    fn relay(&self, added: &[Header], id: &str, length: Option<usize>) {
        let (status, length) = (self.status.to_string(), length.map(|length| length.to_string()));
        let mut headers = vec![(":status", status.as_str())];
        let fields = self.relayed.iter().chain(added);
        headers.extend(fields.map(|header| (header.name.as_str(), header.value.as_str())));
        headers.push((REQUEST_ID, id));
        headers.extend(length.as_deref().map(|length| ("content-length", length)));
        head::replace(MapType::HttpResponseHeaders, &headers);
    }
}

/// Whether it is the upstream's answer that is looked at. Envoy takes its time to tell.
fn is_of_upstream() -> bool {
    head::property(&["response", "code_details"]).is_some_and(|details| details == b"via_upstream")
}

fn is_event_stream(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("text/event-stream")
}

/// Why the upstream gave no answer, by Envoy's response flags.
fn fault() -> Fault {
    /// Request and stream timeouts: UT, SI, UMSDR, DT.
    const TIMEOUT: u64 = 0x4 | 0x1_0000 | 0x8_0000 | 0x40_0000;
    /// No connection: LH, UH, UF, UO, NR, NC, DF.
    const CONNECT: u64 = 0x1 | 0x2 | 0x20 | 0x80 | 0x100 | 0x100_0000 | 0x400_0000;
    /// What came was not HTTP: UPE.
    const MALFORMED: u64 = 0x80_0000;
    match head::flags() {
        flags if flags & TIMEOUT != 0 => Fault::Timeout,
        flags if flags & MALFORMED != 0 => Fault::Malformed,
        flags if flags & CONNECT != 0 => Fault::Connect,
        _ => Fault::Closed,
    }
}
