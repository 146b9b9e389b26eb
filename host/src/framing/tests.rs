//! Every rule by its sentence, and every split of the bytes.

mod on_hyper;

use super::inspector::Inspector;
use super::{Violation, violation};

const LIMIT: usize = 480;

/// What is let through, and what stops it.
fn inspect(bytes: &[u8]) -> (usize, Option<Violation>) {
    Inspector::new(LIMIT).inspect(bytes)
}

fn refused(head: &str) -> Violation {
    let (cleared, violation) = inspect(head.as_bytes());
    assert_eq!(cleared, 0, "{head:?}");
    violation.unwrap_or_else(|| panic!("{head:?} is let through"))
}

fn with_header(line: &str) -> String {
    format!("POST /v1 HTTP/1.1\r\nhost: a\r\n{line}\r\n\r\n")
}

fn passes(bytes: &str) {
    assert_eq!(inspect(bytes.as_bytes()), (bytes.len(), None), "{bytes:?}");
}

#[test]
fn sound_requests_pass_whole() {
    passes("GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n");
    passes("GET /v1/models HTTP/1.0\r\n\r\n");
    passes("\r\n\r\nGET / HTTP/1.1\r\nhost:a\r\n\r\n");
    passes("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
    passes(
        "POST /a?b=%20&c[d]={e}|~ HTTP/1.1\r\nhost: [::1]:80\r\ncontent-length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
    );
    passes(
        "POST / HTTP/1.1\r\nhost: 127.0.0.1\r\nTransfer-Encoding:  Chunked \r\n\r\n5\r\nhello\r\n0A;x=\"y\"\r\n0123456789\r\n00\r\n\r\n",
    );
    passes(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    );
    passes(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nexpect: 100-continue\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    );
    passes(&with_header("x-title: caf\u{e9} \u{65e5}\u{672c}\t!"));
    passes(&with_header("x-empty:"));
    passes(&with_header("upgrade: h2c"));
}

#[test]
fn ambiguous_lengths_are_refused() {
    let length = |value: &str| refused(&with_header(&format!("content-length: {value}")));
    for value in ["", "+1", "-1", "1,1", "1, 1", "1 1", "0x1", "1.0", "1e1", "\u{661}", "9223372036854775808"]
    {
        assert_eq!(length(value), Violation::Length, "{value:?}");
    }
    assert_eq!(length("184467440737095516160"), Violation::Length);
    let twice = "content-length: 1\r\nContent-Length: 1";
    assert_eq!(refused(&with_header(twice)), Violation::TwoLengths);
    for both in
        ["content-length: 1\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 0"]
    {
        assert_eq!(refused(&with_header(both)), Violation::LengthAndEncoding);
    }
}

#[test]
fn only_one_chunked_is_an_encoding() {
    for value in [
        "chunked, chunked",
        "gzip, chunked",
        "chunked,",
        "identity",
        "",
        "xchunked",
        "\"chunked\"",
        "chunked;q=1",
    ] {
        assert_eq!(
            refused(&with_header(&format!("transfer-encoding: {value}"))),
            Violation::Encoding,
            "{value}"
        );
    }
    let twice = "transfer-encoding: chunked\r\ntransfer-encoding: chunked";
    assert_eq!(refused(&with_header(twice)), Violation::Encoding);
    assert_eq!(refused("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n"), Violation::EncodingIn10);
}

#[test]
fn one_host_is_needed() {
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), Violation::NoHost);
    assert_eq!(refused(&with_header("Host: a")), Violation::TwoHosts);
    for host in [
        "", " ", "a b", "a,b", "a/b", "a@b", "a:b", "a:1:2", "a:123456", ":80", "[::1", "[::1]x", "[]",
        "[g]", "a?", "a#", "\u{e9}",
    ] {
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")), Violation::Host, "{host:?}");
    }
    assert_eq!(refused("GET / HTTP/1.0\r\nhost: a b\r\n\r\n"), Violation::Host);
}

#[test]
fn lines_end_with_cr_lf_and_nothing_else() {
    assert_eq!(refused("GET / HTTP/1.1\nhost: a\n\n"), Violation::BareLf);
    assert_eq!(refused("GET / HTTP/1.1\r\nhost: a\n\r\n"), Violation::BareLf);
    assert_eq!(refused("GET / HTTP/1.1\r\nhost: a\r\n\n"), Violation::BareLf);
    assert_eq!(refused("\nGET / HTTP/1.1\r\n"), Violation::BareLf);
    assert_eq!(refused("GET / HTTP/1.1\rhost: a\r\n\r\n"), Violation::BareCr);
    assert_eq!(refused(&with_header("a: b\rc: d")), Violation::BareCr);
    assert_eq!(refused(&with_header("a: b\r")), Violation::BareCr);
    assert_eq!(refused(&with_header("\ra: b")), Violation::BareCr);
}

#[test]
fn header_lines_are_a_name_a_colon_and_a_value() {
    for control in ["\0", "\u{1}", "\u{b}", "\u{c}", "\u{1b}", "\u{7f}"] {
        assert_eq!(refused(&with_header(&format!("a: b{control}c"))), Violation::ControlByte);
    }
    assert_eq!(refused(&with_header("a: b\r\n c")), Violation::Folded);
    assert_eq!(refused(&with_header("a: b\r\n\tc: d")), Violation::Folded);
    assert_eq!(refused("GET / HTTP/1.1\r\n host: a\r\n\r\n"), Violation::Folded);
    assert_eq!(refused(&with_header("a : b")), Violation::SpaceBeforeColon);
    assert_eq!(refused(&with_header("a\t: b")), Violation::SpaceBeforeColon);
    assert_eq!(refused(&with_header(": b")), Violation::EmptyName);
    assert_eq!(refused(&with_header("a")), Violation::NoColon);
    assert_eq!(refused(&with_header("a b")), Violation::NoColon);
    for name in ["a b", "a(b", "a\"b", "a\u{e9}", "a\0", "a/b", "[a]", "a@b", "a=b"] {
        assert_eq!(refused(&with_header(&format!("{name}: v"))), Violation::Name, "{name:?}");
    }
}

#[test]
fn request_lines_are_a_method_a_path_and_a_version() {
    let line = |line: &str| refused(&format!("{line}\r\nhost: a\r\n\r\n"));
    assert_eq!(line("CONNECT a:443 HTTP/1.1"), Violation::Connect);
    assert_eq!(line("TRACE / HTTP/1.1"), Violation::Trace);
    for target in ["http://a/", "a", "*", "a:80", "?a", "https:/a", "%2f"] {
        assert_eq!(line(&format!("GET {target} HTTP/1.1")), Violation::Target, "{target}");
    }
    for target in ["/a\u{e9}", "/a\"", "/a#b", "/<", "/a\u{7f}", "/a\tb", "/\0"] {
        assert_eq!(line(&format!("GET {target} HTTP/1.1")), Violation::TargetByte, "{target:?}");
    }
    for other in [
        "GET / ",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /",
        "GET",
        " GET / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET /  HTTP/1.1",
    ] {
        let violation = line(other);
        assert!(
            matches!(violation, Violation::RequestLine | Violation::Version | Violation::NotHttp),
            "{other:?}"
        );
    }
    for version in ["HTTP/1.2", "HTTP/0.9", "http/1.1", "HTTP/1.10", "HTTP/1", "HTTP/3.0", "ICY"] {
        assert_eq!(line(&format!("GET / {version}")), Violation::Version);
    }
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Violation::Http2);
    assert_eq!(refused("\u{16}\u{3}\u{1}"), Violation::NotHttp);
    assert_eq!(refused(&with_header("connection: upgrade\r\nupgrade: websocket")), Violation::Upgrade);
    assert_eq!(refused(&with_header("upgrade: h2c, websocket")), Violation::Upgrade);
}

#[test]
fn heads_are_bounded_in_bytes_and_lines() {
    let exact = with_header(&format!("a: {}", "x".repeat(LIMIT - with_header("a: ").len())));
    assert_eq!(exact.len(), LIMIT);
    passes(&exact);
    let more = exact.replacen("x", "xx", 1);
    assert_eq!(refused(&more), Violation::HeadTooLarge);
    assert_eq!(refused(&"x".repeat(LIMIT + 1)), Violation::HeadTooLarge);
    assert_eq!(refused(&"\r\n".repeat(LIMIT)), Violation::HeadTooLarge);
    let head = |lines: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "a:\r\n".repeat(lines));
    let read = |head: String| Inspector::new(64 * 1024).inspect(head.as_bytes());
    assert_eq!(read(head(100)).1, None);
    assert_eq!(read(head(101)), (0, Some(Violation::TooManyHeaders)));
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(16 * 1024));
    assert_eq!(read(long), (0, Some(Violation::TargetTooLong)));
    for violation in [Violation::HeadTooLarge, Violation::TooManyHeaders, Violation::TargetTooLong] {
        assert!(violation.too_large());
    }
    assert!(!Violation::BareLf.too_large());
}

#[test]
fn chunks_are_read_strictly() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = |body: &str| {
        let (cleared, violation) = inspect(format!("{head}{body}").as_bytes());
        (&body[..cleared - head.len()] == body, cleared - head.len(), violation)
    };
    let stops =
        |text: &str, at: usize, violation| assert_eq!(body(text), (false, at, Some(violation)), "{text:?}");
    stops("x", 0, Violation::ChunkSize);
    stops("-1\r\n", 0, Violation::ChunkSize);
    stops("0x1\r\n", 1, Violation::ChunkSize);
    stops("\r\n", 0, Violation::ChunkSize);
    stops(";a\r\n", 0, Violation::ChunkSize);
    stops("1 \r\na\r\n", 1, Violation::ChunkSize);
    stops("1 ;a\r\na\r\n", 1, Violation::ChunkSize);
    stops("1000000000000\r\n", 12, Violation::ChunkTooLarge);
    stops("0000000000001\r\n", 12, Violation::ChunkTooLarge);
    stops("1\na\r\n", 1, Violation::ChunkEnd);
    stops("1\r\r\n", 2, Violation::ChunkEnd);
    stops("1;a\nb\r\n", 3, Violation::ChunkEnd);
    stops("1\r\nab\r\n", 4, Violation::ChunkEnd);
    stops("1\r\na\n", 4, Violation::ChunkEnd);
    stops("1\r\na\rb", 5, Violation::ChunkEnd);
    stops("1;\u{1}\r\n", 2, Violation::ChunkExtension);
    stops(&format!("1;{}\r\n", "x".repeat(9_000)), 2 + 8_192, Violation::ExtensionTooLong);
    stops("0\r\nbad\r\n\r\n", 3, Violation::Trailer);
    stops("0\r\na: b\n\r\n", 3, Violation::Trailer);
    stops("0\r\n\n", 3, Violation::Trailer);
    stops("0\r\nContent-Length: 3\r\n\r\n", 3, Violation::TrailerName);
    stops("0\r\nTRANSFER-ENCODING: chunked\r\n\r\n", 3, Violation::TrailerName);
    stops(&format!("0\r\na: {}\r\n\r\n", "x".repeat(9_000)), 3, Violation::TrailersTooLarge);
    let spread: String = (0..5_000).map(|_| "1;xx\r\na\r\n").collect();
    assert!(matches!(body(&spread).2, Some(Violation::ExtensionTooLong)));
    assert!(
        Violation::ChunkSize.in_body() && Violation::TrailersTooLarge.in_body() && !Violation::Name.in_body()
    );
}

/// Everything the tests above send, and pairs of it: pipelined.
fn samples() -> Vec<Vec<u8>> {
    let heads = [
        "GET /a HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 7\r\n\r\n\r\n\r\nabc",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x\r\nab\n\r\n0\r\nt: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nhost: b\r\n\r\n",
        "\r\nGET / HTTP/1.0\r\nx : y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\nb: c\r\n\r\n",
        "\u{16}\u{3}\u{1} and so on",
        "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    let long = ["x".repeat(LIMIT * 2), format!("GET / HTTP/1.1\r\na: {}\0\r\n\r\n", "x".repeat(LIMIT))];
    let all: Vec<&str> = heads.into_iter().chain(long.iter().map(String::as_str)).collect();
    let pairs =
        all.iter().flat_map(|first| all.iter().map(move |second| format!("{first}{second}").into_bytes()));
    pairs.collect()
}

/// Shows the bytes in pieces, each time with those before that were not cleared.
fn in_pieces<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> (usize, Option<Violation>) {
    let (mut inspector, mut held, mut total) = (Inspector::new(LIMIT), Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        let (cleared, violation) = inspector.inspect(&held);
        held.drain(..cleared);
        total += cleared;
        if violation.is_some() {
            return (total, violation);
        }
    }
    (total, None)
}

#[test]
fn any_split_gives_the_same_bytes_and_verdict() {
    for sample in samples() {
        let whole = inspect(&sample);
        assert_eq!(in_pieces(sample.chunks(1)), whole, "{:?}", String::from_utf8_lossy(&sample));
        for at in 1..sample.len() {
            let (first, second) = sample.split_at(at);
            assert_eq!(
                in_pieces([first, second].into_iter()),
                whole,
                "{at} {:?}",
                String::from_utf8_lossy(&sample)
            );
        }
    }
}

/// Numbers below the one given, the same in every run.
fn random() -> impl FnMut(usize) -> usize {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    }
}

#[test]
fn any_split_of_damaged_bytes_gives_the_same_bytes_and_verdict() {
    let mut random = random();
    let damage = b"\r\n\0 :;0f,x\xff/";
    for sample in samples() {
        for _ in 0..60 {
            let mut bytes = sample.clone();
            for _ in 0..=random(2) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = damage[random(damage.len())],
                    1 => bytes.insert(at, damage[random(damage.len())]),
                    _ => drop(bytes.remove(at)),
                }
            }
            let whole = inspect(&bytes);
            let size = 1 + random(9);
            assert_eq!(in_pieces(bytes.chunks(size)), whole, "{size} {:?}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn every_violation_has_its_own_method() {
    let mut number = 0;
    while let Some(expected) = Violation::numbered(number) {
        let method = http::Method::from_bytes(format!("X-TOLLGATE-MALFORMED-{number}").as_bytes()).unwrap();
        assert_eq!(violation(&method), Some(expected));
        assert_eq!(expected.number(), number);
        assert!(expected.text().ends_with('.'));
        number += 1;
    }
    assert!(number > 30);
    for other in ["GET", "X-TOLLGATE-MALFORMED-", "X-TOLLGATE-MALFORMED-999", "X-TOLLGATE-MALFORMED-1x"] {
        assert_eq!(violation(&http::Method::from_bytes(other.as_bytes()).unwrap()), None);
    }
}
