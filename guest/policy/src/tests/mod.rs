//! Whole exchanges against one configuration, and the properties that hold for all of them.

mod adapted;
mod broken;
mod exchange;
mod overflow;
mod properties;
mod refused;
mod slices;
mod stored;
mod streams;

use crate::*;

/// 2026-11-23T09:00:00Z.
pub const NOW: u64 = 1_795_424_400_000;

pub const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"

[[models]]
name = "gpt-4o"
targets = [{ upstream = "main", model = "gpt-4o" }, { upstream = "spare", model = "gpt-4o-2024" }]
price = { currency = "JPY", input = 2.5, output = 10, cached_input = 1.25 }
max_output_tokens = 1000

[[models]]
name = "local"
targets = [{ upstream = "spare" }]
price = "free"

[[models]]
name = "embed/small"
targets = [{ upstream = "main", model = "text-embedding-3-small" }]
price = { currency = "JPY", input = 0.02, output = 0 }
endpoints = ["embeddings"]

[[keys]]
name = "alice"
digest = "sha256:2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"
requests = "100/1m"
tokens = "200000/1m"
budget = "1000 JPY/month"

[[keys]]
name = "bob"
digest = "sha256:81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9"
models = ["local"]
"#;

/// SHA-256 of their names: `alice` and `bob`.
pub const ALICE: &str = "alice";
pub const BOB: &str = "bob";

pub fn settings(config: &str) -> Settings<'_> {
    let upstreams = vec!["main".into(), "spare".into()];
    Settings { config, shell_tables: vec!["server".into()], upstreams, catalogue: None }
}

pub fn gateway() -> Gateway {
    Gateway::load(&settings(CONFIG)).expect("a sound configuration").gateway
}

pub fn header(name: &str, value: &str) -> Header {
    Header { name: name.into(), value: value.into() }
}

pub fn head(method: &str, path: &str, key: &str) -> Head {
    let headers = vec![header("authorization", &format!("Bearer {key}"))];
    Head { method: method.into(), path: path.into(), headers }
}

pub fn identified(gateway: &Gateway, path: &str, key: &str) -> Ticket {
    let method = if path.starts_with("/v1/models") { "GET" } else { "POST" };
    match gateway.identify(&head(method, path, key)) {
        Identity::Caller(identified) => identified.ticket,
        Identity::Reply(reply) => panic!("{}", text(&reply)),
    }
}

pub fn admission(gateway: &Gateway, path: &str, key: &str, body: &[u8]) -> Admission {
    gateway.admit(&identified(gateway, path, key), None, body, &at(NOW)).expect("its own ticket")
}

pub fn admitted(gateway: &Gateway, body: &str) -> Admitted {
    match admission(gateway, "/v1/chat/completions", ALICE, body.as_bytes()) {
        Admission::Admitted(admitted) => admitted,
        Admission::Reply(reply) => panic!("{}", text(&reply)),
    }
}

pub fn answer(status: u16, content_type: &str, body: Option<&[u8]>) -> Outcome {
    let headers = vec![header("content-type", content_type)];
    Outcome::Answer(Answer { status, headers, body: body.map(<[u8]>::to_vec) })
}

pub fn attempt(target: u32, outcome: Outcome) -> Attempt {
    let standing = Standing { remaining: 99, reset_ms: 600 };
    let standings = vec![standing; 3];
    Attempt { target, number: target + 1, outcome, standings, now_ms: NOW, random: 0, load: Load::default() }
}

/// An attempt after which nothing is tried any more.
pub fn last_attempt(outcome: Outcome) -> Attempt {
    Attempt { number: 3, ..attempt(1, outcome) }
}

pub fn relayed(gateway: &Gateway, ticket: &[u8], outcome: Outcome) -> Ticket {
    match gateway.judge(ticket, &attempt(0, outcome)).expect("its own ticket").verdict {
        Verdict::Relay { ticket, .. } => ticket,
        other => panic!("{other:?}"),
    }
}

/// What a shell knows at this time, without latencies.
pub fn at(now_ms: u64) -> Surroundings {
    Surroundings { now_ms, random: 0, latencies: Vec::new() }
}

pub fn text(reply: &Reply) -> String {
    format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body))
}

pub fn edited(body: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut result = Vec::new();
    let mut copied = 0;
    for edit in edits {
        let (start, end) = (edit.start as usize, edit.end as usize);
        assert!(copied <= start && start <= end, "in order and apart: {edits:?}");
        result.extend_from_slice(&body[copied..start]);
        result.extend_from_slice(&edit.bytes);
        copied = end;
    }
    result.extend_from_slice(&body[copied..]);
    result
}

/// Feeds these pieces and then the end. Returns the client's bytes and the last ticket.
pub fn fed<'p>(
    gateway: &Gateway,
    ticket: Ticket,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    last: Piece<'p>,
) -> (Vec<u8>, Ticket) {
    let mut client = Vec::new();
    let mut ticket = ticket;
    for piece in pieces.into_iter().map(Piece::Chunk).chain([last]) {
        let fed = gateway.feed(&ticket, piece).expect("its own ticket");
        ticket = fed.ticket.unwrap_or(ticket);
        match (fed.output, piece) {
            (Output::Pass, Piece::Chunk(bytes)) => client.extend_from_slice(bytes),
            (Output::Pass, _) => {}
            (Output::Replace(bytes) | Output::Stop(bytes), _) => client.extend_from_slice(&bytes),
        }
    }
    (client, ticket)
}
