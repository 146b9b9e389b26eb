//! Many clients at once and the provider behind them, small enough that a thousand of each fit into one process.
//!
//! The provider charges what was held, to the nano-unit, so a test can say how many requests a budget is for. The
//! clients speak HTTP by hand over connections that they keep. Nothing here waits for a clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tollgate_ledger::{Entry, Outcome};

use crate::client;
use crate::programs::{Serving, until};
use crate::vector::Request;

/// Nano-units of JPY that one request holds and costs.
pub const COST: u64 = 100_000;

/// What a request for a whole answer says.
const PLAIN: &str = r#"{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"Hello"}]}"#;

/// What a request for a stream says.
const STREAM: &str =
    r#"{"model":"m","max_tokens":10,"stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;

const EVENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n";

/// Between two signs of life of a stream.
const PULSE: Duration = Duration::from_millis(500);

/// The secret of a key, from its name.
pub fn secret(name: &str) -> String {
    format!("tg_{}", name.replace('/', "_"))
}

/// The budget for so many requests in a month, as a configuration says it.
pub fn budget(requests: u64) -> String {
    let nano = requests * COST;
    format!("{}.{:09} JPY/month", nano / 1_000_000_000, nano % 1_000_000_000)
}

/// A configuration: one model, where a request costs [`COST`]; these keys, each with its lines; and these tables.
pub fn config(provider: SocketAddr, keys: &[(&str, String)], tables: &str) -> String {
    let mut text = format!(
        "{tables}\n[upstreams.main]\nbase_url = \"http://{provider}/v1\"\n\n[[models]]\nname = \"m\"\n\
         targets = [{{ upstream = \"main\" }}]\nprice = {{ currency = \"JPY\", input = 0, output = 10 }}\n"
    );
    for (name, lines) in keys {
        let digest: String =
            Sha256::digest(secret(name).as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("\n[[keys]]\nname = \"{name}\"\ndigest = \"sha256:{digest}\"\n{lines}\n"));
    }
    text
}

/// Starts a provider: whole answers come at once and use what was asked for; streams say something and then go on for
/// ever without saying more.
pub fn provider(runtime: &Runtime) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(Line::new(stream)));
        }
    });
    address
}

async fn serve(mut line: Line) {
    while let Some((_, body)) = line.message().await {
        if body.windows(6).any(|part| part == b"stream") {
            let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            let mut next = head.to_owned() + &chunk(EVENT);
            while line.stream.write_all(next.as_bytes()).await.is_ok() {
                tokio::time::sleep(PULSE).await;
                next = chunk(": still here\n\n");
            }
            return;
        }
        let answer = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":10}}"#;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        if line.stream.write_all((head + answer).as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Sends a key's request so many times at once, to a server and to those who share its books in turn: exactly those that
/// its budget is for are admitted, and each is charged once.
///
/// Invariants: never over-admit, no phantom refusal, settle once, conservation.
pub fn exactly_the_budget_is_admitted(
    serving: &Serving,
    others: [SocketAddr; 2],
    (key, request): (&str, &Request),
    (requests, admitted): (usize, u64),
) {
    let [one, other] = others;
    let places = [serving.address, one, other];
    let statuses: Vec<u16> = thread::scope(|scope| {
        let ask = |place: SocketAddr| {
            let answer = client::ask(place, request).unwrap();
            assert!(!answer.cut, "{}", answer.text());
            answer.status()
        };
        let asked: Vec<_> =
            places.into_iter().cycle().take(requests).map(|place| scope.spawn(move || ask(place))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|&&found| found == status).count();
    assert_eq!((count(200), count(429)), (admitted as usize, requests - admitted as usize), "{statuses:?}");
    let rows = until("a completed row for each", || {
        let rows = serving.rows();
        let is_completed = |row: &Entry| row.outcome == Outcome::Completed;
        (rows.len() == admitted as usize && rows.iter().all(is_completed)).then_some(rows)
    });
    assert!(rows.iter().all(|row| row.charge == COST && row.status == 200));
    assert_eq!(serving.spent(key), admitted * COST);
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// The exchange's id.
    pub id: String,
    /// HTTP.
    pub status: u16,
    /// The error's code; empty if it is none.
    pub code: String,
}

/// One connection and what was read from it too early.
pub struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    /// Takes over a connected socket.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Connects.
    pub async fn to(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    /// Sends a request for a whole answer with this secret.
    pub async fn send(&mut self, secret: &str) {
        self.send_body(secret, PLAIN).await;
    }

    async fn send_body(&mut self, secret: &str, body: &str) {
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gate.test\r\nauthorization: Bearer {secret}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        self.stream.write_all((head + body).as_bytes()).await.unwrap();
    }

    /// Reads what came for it.
    pub async fn got(&mut self) -> Got {
        let (head, body) = self.message().await.expect("an answer");
        let error: Value = serde_json::from_slice(&body).unwrap_or_default();
        got(&head, error["error"]["code"].as_str().unwrap_or_default())
    }

    /// Sends a request for a whole answer, and reads what comes.
    pub async fn ask(&mut self, secret: &str) -> Got {
        self.send(secret).await;
        self.got().await
    }

    /// Begins a stream, and reads its first event.
    pub async fn begin_stream(&mut self, secret: &str) -> Got {
        self.send_body(secret, STREAM).await;
        while !self.buffer.windows(EVENT.len()).any(|part| part == EVENT.as_bytes()) {
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "no stream: {}", String::from_utf8_lossy(&self.buffer));
        }
        got(&String::from_utf8_lossy(&self.buffer).to_ascii_lowercase(), "")
    }

    /// The next message with a length: its head in lower case, its body. None: the connection ended.
    async fn message(&mut self) -> Option<(String, Vec<u8>)> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|part| part == b"\r\n\r\n") {
                break end + 4;
            }
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        let length: usize =
            header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while self.buffer.len() < end + length {
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
        let body = self.buffer[end..end + length].to_vec();
        self.buffer.drain(..end + length);
        Some((head, body))
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn got(head: &str, code: &str) -> Got {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Got { id: header(head, "x-request-id").unwrap().to_owned(), status, code: code.to_owned() }
}

/// Sends a request over each line before the answer to any of them is read, and reads them all.
pub async fn all_at_once(lines: Vec<Line>, secret: &str) -> (Vec<Line>, Vec<Got>) {
    let sent = Arc::new(Barrier::new(lines.len()));
    let clients: Vec<_> = lines
        .into_iter()
        .map(|mut line| {
            let (sent, secret) = (Arc::clone(&sent), secret.to_owned());
            tokio::spawn(async move {
                line.send(&secret).await;
                sent.wait().await;
                let got = line.got().await;
                (line, got)
            })
        })
        .collect();
    let (mut lines, mut all) = (Vec::new(), Vec::new());
    for client in clients {
        let (line, got) = client.await.unwrap();
        lines.push(line);
        all.push(got);
    }
    (lines, all)
}
