//! What the sandbox costs: the calls of one plain exchange (identify, admit, judge, settle), and `feed` of a chunk
//! of a stream, through the component on warm instances as the server calls them, and natively, with nothing
//! else around them.
//!
//! The client sent 12 headers and 1 KiB, the provider 1 KB; what crosses is what a shell passes: the bodies, and
//! those headers that the policy asked for when it was loaded.

mod component;
mod native;

use std::time::Instant;

use anyhow::Result;

use crate::report::{Report, Target, median};

/// Calls of one kind in a row, and how often each kind has its turn.
const BATCH: usize = 1000;
const TURNS: usize = 20;
/// How often the long conversation is admitted.
const CONVERSATIONS: usize = 200;

/// A loaded policy, called one way or the other.
trait Calls {
    /// A plain exchange from its first call to its last.
    fn exchange(&mut self) -> Result<()>;
    /// Identifies and admits a long conversation: nothing else depends on its length.
    fn converse(&mut self) -> Result<()>;
    /// Begins a stream: what is fed belongs to it.
    fn begin_stream(&mut self) -> Result<()>;
    /// Feeds one chunk of the stream.
    fn feed(&mut self, chunk: &[u8]) -> Result<()>;
}

/// Measures both, in turns.
pub fn measure(report: &mut Report) -> Result<()> {
    let mut component = component::Component::load(CONFIG)?;
    let mut native = native::Native::load(CONFIG)?;

    let chunk = chunk();
    let (mut exchanges, mut feeds) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut conversations_us = Vec::new();
    for _ in 0..TURNS {
        let ways: [&mut dyn Calls; 2] = [&mut component, &mut native];
        for (way, (exchange_us, feed_us)) in ways.into_iter().zip(exchanges.iter_mut().zip(&mut feeds)) {
            for _ in 0..BATCH {
                let begin = Instant::now();
                way.exchange()?;
                exchange_us.push(begin.elapsed().as_secs_f64() * 1e6);
            }
            way.begin_stream()?;
            for _ in 0..BATCH {
                let begin = Instant::now();
                way.feed(&chunk)?;
                feed_us.push(begin.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    for _ in 0..CONVERSATIONS {
        let begin = Instant::now();
        component.converse()?;
        conversations_us.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    let conversation_ms = median(conversations_us) / 1e3;
    let [through_us, native_us] = exchanges.map(median);
    let [feed_us, native_feed_us] = feeds.map(median);
    println!(
        "the policy's calls of one exchange: {through_us:.1} µs as a component, {native_us:.1} µs natively"
    );
    println!(
        "feed of {} bytes: {feed_us:.2} µs as a component, {native_feed_us:.2} µs natively",
        chunk.len()
    );
    report.figure("the policy's calls of one exchange", through_us, "µs", Target::AtMost(25.0));
    report.figure("the same, of what they take natively", through_us / native_us, "x", Target::AtMost(3.0));
    report.figure("a conversation of 400 KB", conversation_ms, "ms", Target::AtMost(2.0));
    report.figure("feed of a 200-byte chunk", feed_us, "µs", Target::AtMost(1.0));
    Ok(())
}

/// One key with every limit there is; its digest is the SHA-256 of `tg_bench`.
const CONFIG: &str = r#"
[upstreams.mock]
base_url = "http://127.0.0.1:9/v1"

[[models]]
name = "bench"
targets = [{ upstream = "mock" }]
price = { currency = "JPY", input = 2.5, output = 10 }

[[keys]]
name = "bench"
digest = "sha256:f430b00f7d4abf77e3f73c8285cce6b5c1e89254612705e3bfac7837de6dc329"
requests = "100/1m"
tokens = "200000/1m"
budget = "1000 JPY/month"
"#;
const AUTHORIZATION: &str = "Bearer tg_bench";
const PATH: &str = "/v1/chat/completions";
/// 2026-11-23 12:00 UTC, in milliseconds.
const NOW: u64 = 1_795_435_200_000;

fn body(stream: bool) -> Vec<u8> {
    let start =
        format!("{{\"model\":\"bench\",\"stream\":{stream},\"messages\":[{{\"role\":\"user\",\"content\":\"");
    let end = "\"}],\"temperature\":0.2,\"max_tokens\":256}";
    let filling = 1024_usize.saturating_sub(start.len() + end.len());
    format!("{start}{:.<filling$}{end}", "").into_bytes()
}

/// A conversation of 400 KB: 400 messages of prose in three scripts, tools and their answers.
fn conversation() -> Vec<u8> {
    let texts = [
        "The gate keeps a ledger of everything that passes, and nobody crosses it without paying what is due. ",
        "門番は通る者すべてを帳簿に記し、払うべきものを払わずに渡る者はいない。",
        r#"fn main() {\n    println!(\"{}\", items.iter().map(|x| x * 2).sum::<u64>());\n}\n"#,
    ];
    let mut body = String::from("{\"model\":\"bench\",\"max_tokens\":256,\"messages\":[");
    for turn in 0..400 {
        let text = texts.iter().cycle().nth(turn % 3).copied().unwrap_or_default();
        let text = text.repeat(1000_usize.div_ceil(text.len()));
        let role = if turn % 2 == 0 { "user" } else { "assistant" };
        let comma = if turn == 0 { "" } else { "," };
        body.push_str(&format!("{comma}{{\"role\":\"{role}\",\"content\":\"{text}\"}}"));
    }
    body.push_str("]}");
    body.into_bytes()
}

/// One event of 200 bytes.
fn chunk() -> Vec<u8> {
    let start = "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
                 \"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"";
    let end = "\"},\"finish_reason\":null}]}\n\n";
    let filling = 200_usize.saturating_sub(start.len() + end.len());
    format!("{start}{:.<filling$}{end}", "").into_bytes()
}
