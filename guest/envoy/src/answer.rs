//! The answer of one try, where it passes the plugin first: it is judged, and relayed if the policy says so.
//!
//! An answer that is no stream of events is kept back until it is whole, so that another target can be tried
//! instead. What is to be tried again goes back as an answer that Envoy's retries understand. Where the books are a server's,
//! the answer waits here for what it must hold more.

use std::cell::RefMut;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{Action, BufferType, MapType};
use tollgate_ledger::Raise;
use tollgate_policy::{Answer, Fault, Header, Outcome, OwnHeader};

use crate::exchange::{Exchange, Shared, Stage, Stop};
use crate::flow::{Passing, Step};
use crate::head::{self, Fields, REQUEST_ID};
use crate::server::{Asked, Pending};

/// On an answer: Envoy is to try again, after so many seconds.
pub const AFTER: &str = "x-tollgate-after";

/// An answer that is no stream is judged with its body up to this many bytes.
const WHOLE_LIMIT: usize = 1 << 20;

/// Where a try passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The internal listener, where Envoy gives answers of its own too.
    Tries,
    /// Among the filters of its upstream's cluster, where only the upstream answers.
    Upstream,
}

/// How far a try is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its request is on its way, or waits.
    Asking,
    /// Its answer is kept back.
    Gathering,
    /// Its answer goes on to the client.
    Relaying,
    /// It was answered here.
    Replied,
}

/// The answer of one try.
pub struct Answering {
    exchange: Shared,
    place: Place,
    /// Which try of its exchange.
    number: u32,
    phase: Phase,
    head: Option<Head>,
    /// What is passed on, while that waits for more to be held.
    flow: Flow,
    /// It came to its end, or was given here.
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

impl Answering {
    /// What this exchange's try under way will be answered.
    pub fn new(exchange: Shared, place: Place) -> Self {
        let number = exchange.borrow().number;
        let (phase, flow) = (Phase::Asking, Flow::default());
        Self { exchange, place, number, phase, head: None, flow, ended: false }
    }

    /// Whether it was answered here.
    pub fn is_replied(&self) -> bool {
        self.phase == Phase::Replied
    }

    /// The exchange, while this is its try.
    fn mine(&self) -> Option<RefMut<'_, Exchange>> {
        let exchange = self.exchange.borrow_mut();
        (exchange.number == self.number).then_some(exchange)
    }

    /// Has the policy judge what came of the try, and does what it says.
    pub fn judge(&mut self, outcome: Outcome) -> Action {
        let length = match &outcome {
            Outcome::Answer(Answer { body: Some(body), .. }) => Some(body.len()),
            _ => None,
        };
        let Some(step) = self.mine().map(|mut exchange| exchange.judge(outcome)) else {
            return Action::Continue;
        };
        self.act(step, length)
    }

    /// Answers as a step says, with a body of this length if that is known. None of them sends or waits.
    pub fn act(&mut self, step: Step, length: Option<usize>) -> Action {
        let mut exchange = self.exchange.borrow_mut();
        match step {
            Step::Relay(added) => {
                if let Some(head) = &self.head {
                    head.relay(&added, &exchange.id, length);
                    exchange.status = head.status;
                }
                self.phase = Phase::Relaying;
                return Action::Continue;
            }
            Step::Again(after_ms) => {
                let seconds = after_ms.div_ceil(1_000).to_string();
                let after = (AFTER, seconds.as_str());
                (self.phase, self.ended) = (Phase::Replied, true);
                match self.place {
                    Place::Tries => {
                        let _ = hostcalls::send_http_response(503, vec![after], None);
                    }
                    // An answer of Envoy's own would pass by its retries.
                    Place::Upstream => {
                        head::replace(MapType::HttpResponseHeaders, &[(":status", "503"), after]);
                        return Action::Continue;
                    }
                }
            }
            Step::Reply(reply) => head::send(&reply, &exchange.id),
            Step::Wait(_) | Step::Send => {
                let reply = exchange.words(Stop::Broken);
                head::send(&reply, &exchange.id);
            }
        }
        (self.phase, self.ended) = (Phase::Replied, true);
        Action::Pause
    }

    /// The head of the answer is here.
    pub fn headers(&mut self, is_last: bool) -> Action {
        if self.phase != Phase::Asking {
            return Action::Continue;
        }
        self.ended = is_last;
        let fields = Fields::of(MapType::HttpResponseHeaders);
        let status = fields.text(":status").and_then(|status| status.parse().ok()).unwrap_or(0);
        // Envoy's own answer: there is none of the upstream. It is never a good one.
        if self.place == Place::Tries && !(200..300).contains(&status) && !is_of_upstream() {
            return self.judge(Outcome::Fault(head::fault()));
        }
        let policy = &self.exchange.borrow().gate.clone().policy;
        let head = Head {
            status,
            read: fields.readable(policy.answer_headers),
            relayed: fields.readable(policy.relay_headers),
        };
        let is_stream = is_event_stream(fields.text("content-type").unwrap_or_default());
        let body = (is_last && !is_stream).then(Vec::new);
        let answer = head.answer(body);
        self.head = Some(head);
        if is_last || is_stream {
            return self.judge(Outcome::Answer(answer));
        }
        self.phase = Phase::Gathering;
        Action::Pause
    }

    /// More of the answer is here: all that Envoy keeps back of it has this many bytes.
    pub fn body(&mut self, size: usize, is_last: bool) -> Action {
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
        let Some(answer) = self.head.as_ref().map(|head| head.answer((!is_long).then(|| kept_back(0, size))))
        else {
            return Action::Continue;
        };
        let action = self.judge(Outcome::Answer(answer));
        match self.phase {
            Phase::Relaying => self.pass_on(size, is_last),
            Phase::Replied if action == Action::Continue => {
                put(size, &[]);
                action
            }
            _ => action,
        }
    }

    fn pass_on(&mut self, size: usize, is_last: bool) -> Action {
        (self.flow.size, self.flow.is_last) = (size, is_last);
        if self.flow.raising.is_some() {
            return Action::Pause;
        }
        let mut exchange = self.exchange.borrow_mut();
        if !exchange.inspect && !exchange.stopped {
            return Action::Continue;
        }
        let Flow { passing, seen, raising, .. } = &mut self.flow;
        let bytes = kept_back(*seen, size.saturating_sub(*seen));
        *seen = size;
        match exchange.pass_on(&bytes, passing) {
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
            put(size, &passing.bytes);
        }
        self.flow = Flow::default();
        if exchange.failed {
            // The client must see that this is not the end.
            let _ = hostcalls::reset_http_response();
        }
        Action::Continue
    }

    /// A call-out was answered: perhaps the ledger has said whether more is held, and what was kept back goes on.
    pub fn called(&mut self, token: u32) {
        let Some(pending) = self.flow.raising.take_if(|pending| pending.is(token)) else { return };
        self.exchange.borrow_mut().raised(pending.read(), &mut self.flow.passing);
        let Flow { size, is_last, .. } = self.flow;
        if self.pass_on(size, is_last) == Action::Continue {
            let _ = hostcalls::resume_http_response();
        }
    }

    /// The try is over. Unless its answer came to an end, this is why.
    pub fn over(&self, why: impl FnOnce() -> Fault) {
        let Some(mut exchange) = self.mine().filter(|_| !self.ended) else { return };
        if exchange.stage == Stage::Sent || self.phase == Phase::Relaying {
            exchange.fault = Some(match why() {
                // To Envoy an answer that ends too early is malformed.
                Fault::Malformed if self.head.is_some() => Fault::Closed,
                fault => fault,
            });
        }
    }
}

impl Head {
    fn answer(&self, body: Option<Vec<u8>>) -> Answer {
        Answer { status: self.status, headers: self.read.clone(), body }
    }

    /// Makes this the head of the answer, with what the policy adds.
    fn relay(&self, added: &[OwnHeader], id: &str, length: Option<usize>) {
        let (status, length) = (self.status.to_string(), length.map(|length| length.to_string()));
        let mut headers = vec![(":status", status.as_str())];
        headers.extend(self.relayed.iter().map(|header| (header.name.as_str(), header.value.as_str())));
        headers.extend(added.iter().map(|header| (header.name.as_str(), header.value.as_str())));
        headers.push((REQUEST_ID, id));
        headers.extend(length.as_deref().map(|length| ("content-length", length)));
        head::replace(MapType::HttpResponseHeaders, &headers);
    }
}

/// So many bytes of the answer that Envoy keeps back.
fn kept_back(start: usize, size: usize) -> Vec<u8> {
    if size == 0 {
        return Vec::new();
    }
    hostcalls::get_buffer(BufferType::HttpResponseBody, start, size).ok().flatten().unwrap_or_default()
}

/// Lets these go on in the place of what Envoy keeps back.
fn put(size: usize, bytes: &[u8]) {
    let _ = hostcalls::set_buffer(BufferType::HttpResponseBody, 0, size, bytes);
}

/// Whether it is the upstream's answer that is looked at. Envoy takes its time to tell.
fn is_of_upstream() -> bool {
    head::property(&["response", "code_details"]).is_some_and(|details| details == b"via_upstream")
}

fn is_event_stream(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("text/event-stream")
}
