//! Bad input on a live server's socket: each has a clear answer in OpenAI's error shape, on a connection that is then
//! closed, and the server goes on. Framing first (what two readers could read differently), then size and time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tollgate::Gateway;
use tollgate_tests::live::Running;
use tollgate_tests::vector::Config;
use tollgate_tests::wire::{Message, Wire};

const KEY: &str = "authorization: Bearer tg_alice\r\n";
const HOST: &str = "host: gate.test\r\n";
const POST: &str = "POST /v1/chat/completions HTTP/1.1\r\n";

/// A server that must never ask its upstream, and one thing that is sent to it.
struct Live {
    running: Running,
    /// The server goes with it.
    _runtime: Runtime,
}

impl Live {
    /// A server with these lines under `[server]`.
    fn with(settings: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let config = Config::Shared("basic".into()).text() + "[server]\n" + settings;
        let gateway = Gateway::builder(config).build().unwrap();
        let running = Running::start(&runtime, gateway);
        Self { running, _runtime: runtime }
    }

    fn connect(&self) -> Wire {
        Wire::new(TcpStream::connect(self.running.address).unwrap())
    }

    /// Sends bytes and reads one response. The client may still be sending when the answer comes.
    fn send(&self, bytes: &[u8]) -> (Message, Wire) {
        let mut wire = self.connect();
        let _ = wire.stream().write_all(bytes);
        let response = wire.response().unwrap_or_else(|| panic!("no answer to {}", shown(bytes)));
        (response, wire)
    }

    /// Whether the server still serves others.
    fn assert_alive(&self) {
        let (response, _) = self.send(format!("GET /v1/models HTTP/1.1\r\n{HOST}{KEY}\r\n").as_bytes());
        assert_eq!(response.status(), 200, "{}", response.text());
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).escape_debug().to_string()
}

/// An error in OpenAI's shape, with a request id.
fn assert_error(response: &Message, status: u16, of: &str) {
    assert_eq!(response.status(), status, "{of}: {}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"), "{of}");
    assert!(response.header("x-request-id").is_some_and(|id| !id.is_empty()), "{of}");
    let body: serde_json::Value =
        serde_json::from_slice(&response.body).unwrap_or_else(|e| panic!("{of}: {e}"));
    let error = body["error"].as_object().unwrap_or_else(|| panic!("{of}: {body}"));
    assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{of}: {body}");
    assert!(
        error["type"].is_string() && error.contains_key("param") && error.contains_key("code"),
        "{of}: {body}"
    );
    assert_eq!(error.len(), 4, "{of}: {body}");
}

/// Nothing more comes, and the connection ends: what followed the bad request was not read as another one.
fn assert_closed(wire: &mut Wire, of: &str) {
    let mut rest = Vec::new();
    match wire.stream().read_to_end(&mut rest) {
        Ok(_) => assert!(rest.is_empty(), "{of}: then came {}", shown(&rest)),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{of}: {error}"),
    }
}

#[test]
fn ambiguous_or_malformed_framing_is_refused_and_the_connection_closed() {
    let live = Live::with("");
    let smuggled = format!("GET /v1/models HTTP/1.1\r\n{HOST}{KEY}\r\n");
    let after = |head: &str| format!("{POST}{HOST}{KEY}{head}\r\n0\r\n\r\n{smuggled}");
    let line = |line: &str| format!("{line}{HOST}{KEY}\r\n{smuggled}");
    for bad in [
        after("content-length: 5\r\ntransfer-encoding: chunked\r\n"),
        after("transfer-encoding: chunked\r\ncontent-length: 5\r\n"),
        after("content-length: 5\r\ncontent-length: 6\r\n"),
        after("content-length: +5\r\n"),
        after("content-length: 0x5\r\n"),
        after("content-length: 5, 5\r\n"),
        after("content-length: 99999999999999999999999\r\n"),
        after("content-length:\r\n"),
        after("transfer-encoding: gzip, chunked\r\n"),
        after("transfer-encoding: chunked, chunked\r\n"),
        after("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        after("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
        after("transfer-encoding: identity\r\n"),
        after("transfer-encoding: xchunked\r\n"),
        after("transfer-encoding : chunked\r\n"),
        after(" transfer-encoding: chunked\r\n"),
        after("x: a\r\n transfer-encoding: chunked\r\n"),
        after("x: a\rtransfer-encoding: chunked\r\n"),
        after("x: a\0b\r\n"),
        after("x y: a\r\n"),
        after(": a\r\n"),
        after("no colon\r\n"),
        format!("{POST}{KEY}content-length: 0\r\n\r\n{smuggled}"),
        after("host: other.test\r\n"),
        after("host: gate.test\r\n"),
        format!("{POST}host: a b\r\n{KEY}content-length: 0\r\n\r\n{smuggled}"),
        format!("POST /v1/chat/completions HTTP/1.1\n{HOST}{KEY}content-length: 0\r\n\r\n{smuggled}"),
        format!("{POST}{HOST}{KEY}x: a\ncontent-length: 0\r\n\r\n{smuggled}"),
        format!("{POST}{HOST}{KEY}content-length: 0\r\n\n{smuggled}"),
        line("CONNECT gate.test:443 HTTP/1.1\r\n"),
        line("TRACE /v1/models HTTP/1.1\r\n"),
        line("GET http://other.test/v1/models HTTP/1.1\r\n"),
        line("GET  /v1/models HTTP/1.1\r\n"),
        line("GET /v1/models HTTP/1.1 \r\n"),
        line("GET /v1/mo dels HTTP/1.1\r\n"),
        line("GET /v1/mod\u{e9}ls HTTP/1.1\r\n"),
        line("GET /v1/models HTTP/2.0\r\n"),
        line("GET /v1/models HTTP/3\r\n"),
        line("GET /v1/models\r\n"),
        line("G\0T /v1/models HTTP/1.1\r\n"),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{smuggled}"),
        format!("\x16\x03\x01\x02\0\x01\0\x01\u{1}\r\n\r\n{smuggled}"),
    ] {
        let (response, mut wire) = live.send(bad.as_bytes());
        assert_error(&response, 400, &shown(bad.as_bytes()));
        assert_closed(&mut wire, &shown(bad.as_bytes()));
    }
    live.assert_alive();
}

#[test]
fn a_chunked_body_with_broken_framing_is_refused() {
    let live = Live::with("");
    for body in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "\r\n\r\n",
        "2\n{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "1\r\n{}\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n0\r\ncontent-length: 5\r\n\r\n",
        "2\r\n{}\r\n0\r\nbad trailer\r\n\r\n",
    ] {
        let bad = format!("{POST}{HOST}{KEY}transfer-encoding: chunked\r\n\r\n{body}");
        let (response, mut wire) = live.send(bad.as_bytes());
        assert_error(&response, 400, body);
        assert_closed(&mut wire, body);
    }
    live.assert_alive();
}

#[test]
fn a_body_that_ends_early_is_no_request() {
    let live = Live::with("");
    for head in ["content-length: 50\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n5\r\n{"] {
        let mut wire = live.connect();
        wire.stream().write_all(format!("{POST}{HOST}{KEY}{head}").as_bytes()).unwrap();
        wire.stream().shutdown(Shutdown::Write).unwrap();
        // Whether there is an answer is the server's choice; that it is no success is not.
        if let Some(response) = wire.response() {
            assert_error(&response, 400, head);
        }
    }
    live.assert_alive();
}

#[test]
fn a_key_that_is_no_text_is_refused_and_not_repeated() {
    let live = Live::with("");
    let mut bytes = format!("{POST}{HOST}content-length: 0\r\nauthorization: Bearer tg_").into_bytes();
    bytes.extend(b"\xff\xfe\r\n\r\n");
    let (response, _) = live.send(&bytes);
    assert_error(&response, 400, "a key of other bytes");
    assert!(!response.text().contains("tg_"), "{}", response.text());
}

#[test]
fn a_head_above_the_limit_is_431() {
    let live = Live::with("head_limit = \"8KiB\"\n");
    let long = "x".repeat(9 << 10);
    let many: String = (0..150).map(|n| format!("x-{n}: v\r\n")).collect();
    for bad in [
        format!("{POST}{HOST}{KEY}x: {long}\r\ncontent-length: 0\r\n\r\n"),
        format!("{POST}{HOST}{KEY}{long}: x\r\ncontent-length: 0\r\n\r\n"),
        format!("GET /v1/{long} HTTP/1.1\r\n{HOST}{KEY}\r\n"),
        format!("{POST}{HOST}{KEY}{many}content-length: 0\r\n\r\n"),
    ] {
        let (response, mut wire) = live.send(bad.as_bytes());
        assert_error(&response, 431, &shown(bad.as_bytes()));
        assert_closed(&mut wire, &shown(bad.as_bytes()));
    }
    live.assert_alive();
}

#[test]
fn a_body_of_a_gibibyte_is_refused_as_soon_as_it_is_announced() {
    let live = Live::with("");
    let (response, mut wire) =
        live.send(format!("{POST}{HOST}{KEY}content-length: 1073741824\r\n\r\n{{").as_bytes());
    assert_error(&response, 413, "1 GiB announced");
    wire.stream().shutdown(Shutdown::Write).unwrap();
    assert_closed(&mut wire, "1 GiB announced");
    live.assert_alive();
}

#[test]
fn a_body_of_a_gibibyte_is_refused_while_it_streams() {
    let live = Live::with("body_limit = \"1MiB\"\n");
    let before = resident();
    let mut wire = live.connect();
    wire.stream()
        .write_all(format!("{POST}{HOST}{KEY}transfer-encoding: chunked\r\n\r\n").as_bytes())
        .unwrap();
    let mut sender = wire.stream().try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
        // Until the server has had enough and hangs up, which it must long before the end.
        (0..1 << 14).take_while(|_| sender.write_all(&chunk).is_ok()).count()
    });
    let response = wire.response().expect("an answer before the end");
    assert_error(&response, 413, "1 GiB streamed");
    let _ = wire.stream().shutdown(Shutdown::Both);
    let sent = sending.join().unwrap();
    assert!(sent < 1 << 14, "all of it was taken");
    assert!(resident() < before + (64 << 20), "{} -> {} bytes resident", before, resident());
    live.assert_alive();
}

#[test]
fn a_head_that_does_not_come_ends_the_connection() {
    let live = Live::with("head_timeout = \"300ms\"\n");
    let begun = Instant::now();
    let mut wire = live.connect();
    wire.stream().write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: ga").unwrap();
    // Half a head is no request yet: an answer is a courtesy, the end of the connection is a must.
    if let Some(response) = wire.response() {
        assert_error(&response, 408, "half a head");
    }
    assert_closed(&mut wire, "half a head");
    assert!(begun.elapsed() < Duration::from_secs(10));
    live.assert_alive();
}

#[test]
fn a_head_that_drips_ends_the_connection() {
    let live = Live::with("head_timeout = \"500ms\"\n");
    let mut wire = live.connect();
    let mut sender = wire.stream().try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        let _ = sender.write_all(POST.as_bytes());
        // Each byte is progress, all together are not.
        (0..200)
            .take_while(|_| {
                std::thread::sleep(Duration::from_millis(50));
                sender.write_all(b"x").is_ok()
            })
            .count()
    });
    if let Some(response) = wire.response() {
        assert_error(&response, 408, "a dripping head");
    }
    assert!(dripping.join().unwrap() < 200, "all of it was taken");
    live.assert_alive();
}

#[test]
fn a_body_that_does_not_come_is_408() {
    let live = Live::with("body_timeout = \"300ms\"\n");
    let (response, mut wire) = live.send(format!("{POST}{HOST}{KEY}content-length: 50\r\n\r\n{{").as_bytes());
    assert_error(&response, 408, "half a body");
    assert_closed(&mut wire, "half a body");
    live.assert_alive();
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let live = Live::with("head_timeout = \"300ms\"\n");
    let mut wire = live.connect();
    let mut rest = Vec::new();
    wire.stream().read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 "), "{}", shown(&rest));
}

#[test]
fn a_client_that_waits_for_continue_is_told_to() {
    let live = Live::with("");
    let body = r#"{"model":"none","messages":[]}"#;
    let mut wire = live.connect();
    let head = format!("{POST}{HOST}{KEY}expect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len());
    wire.stream().write_all(head.as_bytes()).unwrap();
    assert_eq!(wire.head().unwrap().status(), 100);
    wire.stream().write_all(body.as_bytes()).unwrap();
    assert_error(&wire.response().unwrap(), 400, "an answer after the body");
}

#[test]
fn a_client_that_waits_for_continue_without_a_key_is_refused_unread() {
    let live = Live::with("");
    let mut wire = live.connect();
    let head = format!("{POST}{HOST}expect: 100-continue\r\ncontent-length: 1000000\r\n\r\n");
    wire.stream().write_all(head.as_bytes()).unwrap();
    assert_error(&wire.response().unwrap(), 401, "an answer before the body");
}

#[test]
fn requests_on_one_connection_are_answered_in_their_order() {
    let live = Live::with("");
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\n{HOST}{KEY}\r\n");
    let (first, mut wire) =
        live.send((one("/v1/models") + &one("/v1/nothing") + &one("/healthz")).as_bytes());
    assert_eq!(first.status(), 200);
    assert_error(&wire.response().unwrap(), 404, "the second");
    assert_eq!(wire.response().unwrap().text(), "ok\n");
}

/// Bytes of memory that this process, the server in it included, has in RAM.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
