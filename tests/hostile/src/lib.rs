//! A policy that misbehaves on request.
//!
//! The path says what it does and in which call: `/v1/trap/admit`, `/v1/loop/feed`. Everywhere else, and on every
//! other path, it is a plain policy with one limit that relays what the upstream says, so that a neighbour of a
//! misbehaving exchange can be watched. It has the ticket of an honest policy: the path.

use exports::tollgate::policy::policy::{
    Admission, Admitted, Answered, Attempt, Claim, Edit, Ending, Failure, Fed, Guest, GuestGateway, Head,
    Header, Health, Identified, Identity, Judgement, Limit, Loaded, Output, Piece, Price, Principal, Problem,
    Relay, Reply, Retry, Rule, Settings, Settlement, Surroundings, Target, Usage, Verdict, Window,
};

#[allow(missing_docs, unsafe_code, reason = "generated; the documentation is the WIT file")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "gate" });

    export!(Component with_types_in self);

    use super::Component;
}

use bindings::exports;

struct Component;

impl Guest for Component {
    type Gateway = Hostile;
}

/// The loaded policy.
pub struct Hostile {
    upstream: String,
}

/// What is asked of one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// What an honest policy does.
    Honest,
    /// Bytes of an answer that is far too large.
    Giant,
    /// More headers than any HTTP library takes.
    Headers,
    /// Something that does not fit what was said before.
    Nonsense,
}

/// Does what the path asks of this call, as far as that never returns.
#[expect(clippy::panic, clippy::empty_loop, reason = "misbehaving is what this crate is for")]
fn act(ticket: &str, call: &str) -> Act {
    let mut words = ticket.split('/').skip(2);
    let (what, whence) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if whence != call {
        return Act::Honest;
    }
    match what {
        "trap" => panic!("as asked"),
        "loop" => loop {},
        "memory" => bomb(),
        "clock" | "random" | "files" | "environment" => {
            reach_out(what);
            Act::Honest
        }
        "stack" => {
            overflow(&mut [0; 64]);
            Act::Honest
        }
        "giant" => Act::Giant,
        "headers" => Act::Headers,
        "nonsense" => Act::Nonsense,
        _ => Act::Honest,
    }
}

/// Asks for what no policy is granted.
fn reach_out(what: &str) {
    match what {
        "clock" => drop(std::hint::black_box(std::time::SystemTime::now())),
        "random" => drop(std::hint::black_box(std::collections::HashMap::<u8, u8>::new().hasher().clone())),
        "files" => drop(std::hint::black_box(std::fs::read("/etc/hostname"))),
        _ => drop(std::hint::black_box(std::env::vars().count())),
    }
}

/// Takes memory until there is none.
fn bomb() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

/// Calls itself until the stack ends.
fn overflow(frame: &mut [u8; 64]) -> u8 {
    let mut next = *frame;
    if let Some(first) = next.first_mut() {
        *first = first.wrapping_add(1);
    }
    // Always true; the compiler must not know.
    let below = if std::hint::black_box(true) { overflow(std::hint::black_box(&mut next)) } else { 0 };
    below.wrapping_add(frame.iter().fold(0, |sum, byte| sum ^ byte))
}

fn giant() -> Vec<u8> {
    vec![b'x'; 200 << 20]
}

/// The only header it makes.
const CONTENT_TYPE: &str = "content-type";

fn header(name: u32, value: &str) -> Header {
    Header { name, value: value.into() }
}

fn reply(act: Act, status: u16, text: &str) -> Reply {
    let mut reply = Reply { status, headers: vec![header(0, "text/plain")], body: text.as_bytes().to_vec() };
    match act {
        Act::Honest => {}
        Act::Giant => reply.body = giant(),
        Act::Headers => reply.headers = vec![header(0, "v"); 40_000],
        Act::Nonsense => {
            reply.status = 7;
            reply.headers = vec![header(0, "a\r\nx-evil: b"), header(1, "v"), header(u32::MAX, "v")];
        }
    }
    reply
}

fn usage(key: String, model: String, upstream: Option<String>) -> Usage {
    Usage {
        key,
        model,
        upstream,
        upstream_model: None,
        input_tokens: 0,
        cached_input_tokens: 0,
        cache_write_tokens: 0,
        output_tokens: 0,
        reasoning_tokens: 0,
        estimated: false,
        charge: 0,
        currency: "JPY".into(),
        price: Price {
            input: 0,
            cached_input: 0,
            cache_write: 0,
            output: 0,
            reasoning: 0,
            since_ms: None,
            source: None,
        },
    }
}

fn text(ticket: &[u8]) -> String {
    String::from_utf8_lossy(ticket).into_owned()
}

impl GuestGateway for Hostile {
    fn load(settings: Settings) -> Result<Loaded, Vec<Problem>> {
        let upstream = settings.upstreams.into_iter().next().unwrap_or_default();
        if settings.config.contains("# hang") {
            act("//loop/load", "load");
        }
        let mut own_headers = vec![CONTENT_TYPE.to_owned()];
        if settings.config.contains("# nameless") {
            own_headers.push("a name".into());
        }
        if settings.config.contains("# talkative") {
            own_headers.extend((0..100_000).map(|n| format!("x-{n}")));
        }
        Ok(Loaded {
            gateway: exports::tollgate::policy::policy::Gateway::new(Hostile { upstream }),
            request_headers: Vec::new(),
            forward_headers: Vec::new(),
            answer_headers: vec![CONTENT_TYPE.into()],
            relay_headers: vec![CONTENT_TYPE.into()],
            own_headers,
            wants_latencies: false,
            notes: Vec::new(),
        })
    }

    fn identify(&self, head: Head) -> Identity {
        match act(&head.path, "identify") {
            Act::Honest => Identity::Caller(Identified {
                ticket: head.path.into_bytes(),
                digest: vec![0; 32],
                configured: true,
            }),
            Act::Nonsense => {
                Identity::Caller(Identified { ticket: Vec::new(), digest: vec![], configured: true })
            }
            act => Identity::Reply(reply(act, 200, "")),
        }
    }

    fn callers(&self) -> Vec<Principal> {
        Vec::new()
    }

    fn limits(&self, _caller: Principal, _now: u64) -> Result<Vec<Limit>, Vec<Problem>> {
        Ok(Vec::new())
    }

    fn admit(
        &self,
        ticket: Vec<u8>,
        _caller: Option<Principal>,
        _body: Vec<u8>,
        _surroundings: Surroundings,
    ) -> Admission {
        let act = act(&text(&ticket), "admit");
        if matches!(act, Act::Giant | Act::Headers) {
            return Admission::Reply(reply(act, 200, ""));
        }
        let edits = match act {
            Act::Nonsense => vec![Edit { start: 9_000_000, end: 3, bytes: vec![] }],
            _ => Vec::new(),
        };
        let usage = usage("anyone".into(), text(&ticket), None);
        Admission::Admitted(Admitted {
            ticket,
            usage,
            claims: vec![Claim {
                cell: "requests:all".into(),
                rule: Rule::Window(Window { limit: 1_000_000, period_ms: 60_000 }),
                amount: 1,
            }],
            targets: vec![Target {
                upstream: self.upstream.clone(),
                path: "/chat/completions".into(),
                edits,
                breaker: None,
            }],
        })
    }

    fn judge(&self, ticket: Vec<u8>, attempt: Attempt) -> Judgement {
        let verdict = match act(&text(&ticket), "judge") {
            Act::Honest
                if matches!(attempt.outcome, exports::tollgate::policy::policy::Outcome::Answer(_)) =>
            {
                Verdict::Relay(Relay { ticket, headers: Vec::new(), inspect: true })
            }
            Act::Honest => Verdict::Reply(Answered { ticket, reply: reply(Act::Honest, 502, "no answer") }),
            Act::Nonsense => Verdict::Retry(Retry { ticket, target: 7, after_ms: 0 }),
            act => Verdict::Reply(Answered { ticket, reply: reply(act, 200, "") }),
        };
        Judgement { verdict, health: Health::Unknown }
    }

    fn feed(&self, ticket: Vec<u8>, piece: Piece) -> Fed {
        let output = match (act(&text(&ticket), "feed"), piece) {
            (Act::Giant, Piece::Chunk(_)) => Output::Replace(giant()),
            (_, Piece::Broken(_)) => Output::Stop(Vec::new()),
            _ => Output::Pass,
        };
        Fed { ticket: None, output, holding: None }
    }

    fn settle(&self, ticket: Vec<u8>, ending: Ending) -> Settlement {
        let act = act(&text(&ticket), "settle");
        let used = u64::from(!matches!(ending, Ending::Undispatched));
        Settlement {
            amounts: if act == Act::Nonsense { vec![1; 5] } else { vec![used] },
            usage: usage(
                if act == Act::Giant { "k".repeat(200 << 20) } else { "anyone".into() },
                text(&ticket),
                Some(self.upstream.clone()),
            ),
        }
    }

    fn refuse(&self, ticket: Option<Vec<u8>>, failure: Failure) -> Reply {
        let act = act(&ticket.map(|ticket| text(&ticket)).unwrap_or_default(), "refuse");
        match failure {
            Failure::Internal(id) => reply(act, 500, &format!("internal {id}")),
            _ => reply(act, 400, "refused"),
        }
    }
}
