//! What a server learns of its upstreams over many exchanges: breakers, the retry budget, latencies. Waits are not
//! waited and the clock is moved by hand.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;
use tollgate::Gateway;
use tollgate_tests::live::Running;
use tollgate_tests::wire::{Message, Wire};

const CHAT: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}"#;
const ANSWER: &str = r#"{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":1}}"#;
/// 2026-11-23T12:00:00Z.
const NOW: u64 = 1_795_435_200_000;

/// An upstream that answers with a status that can be changed, as late as it is told.
struct Upstream {
    address: String,
    status: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Upstream {
    fn start(late: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (status, asked) = (Arc::new(AtomicUsize::new(200)), Arc::new(AtomicUsize::new(0)));
        let upstream = Self { address, status: Arc::clone(&status), asked: Arc::clone(&asked) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (status, asked) = (Arc::clone(&status), Arc::clone(&asked));
                let Ok(stream) = stream else { return };
                thread::spawn(move || {
                    let mut wire = Wire::new(stream);
                    while wire.request().is_some_and(|request| !request.cut) {
                        asked.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(late);
                        let status = status.load(Ordering::SeqCst);
                        let answer = format!(
                            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ANSWER}",
                            ANSWER.len()
                        );
                        if wire.stream().write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        upstream
    }

    fn answers(&self, status: usize) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// How often it was asked since the last time.
    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

/// A gateway whose clock stands still until it is moved.
struct Live {
    runtime: Runtime,
    running: Running,
    clock: Arc<AtomicU64>,
}

impl Live {
    fn start(head: &str, upstreams: &[(&str, &Upstream)], model: &str) -> Self {
        let places: BTreeMap<_, _> = upstreams.iter().map(|(name, at)| (*name, &at.address)).collect();
        let places: String = places
            .iter()
            .map(|(name, address)| format!("[upstreams.{name}]\nbase_url = \"http://{address}/v1\"\n"))
            .collect();
        let targets: Vec<_> =
            upstreams.iter().map(|(name, _)| format!("{{ upstream = \"{name}\" }}")).collect();
        let config = format!(
            "{head}\n{places}[[models]]\nname = \"gpt-4o\"\ntargets = [{}]\nprice = \"free\"\n{model}\n[[keys]]\n\
             name = \"alice\"\n\
             digest = \"sha256:11518655959f55598ef3f97188b2b1c042217ac8a3bfa75985613ed0a793650c\"\n",
            targets.join(", ")
        );
        let runtime = Runtime::new().unwrap();
        let clock = Arc::new(AtomicU64::new(NOW));
        let shown = Arc::clone(&clock);
        let gateway = Gateway::builder(config)
            .clock(move || shown.load(Ordering::SeqCst))
            .pause(|_| std::future::ready(()))
            .build()
            .unwrap();
        let running = Running::start(&runtime, gateway);
        Self { runtime, running, clock }
    }

    fn pass_ms(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    fn ask(&self) -> Message {
        let mut wire = Wire::new(TcpStream::connect(self.running.address).unwrap());
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gate.test\r\nauthorization: Bearer tg_alice\r\n\
             content-length: {}\r\n\r\n{CHAT}",
            CHAT.len()
        );
        wire.stream().write_all(head.as_bytes()).unwrap();
        let answer = wire.response().unwrap();
        let _ = wire.stream().shutdown(Shutdown::Both);
        answer
    }

    fn stop(self) {
        self.running.stop(&self.runtime);
    }
}

#[test]
fn an_upstream_that_failed_five_times_is_left_alone_and_then_probed_once() {
    let main = Upstream::start(Duration::ZERO);
    let live = Live::start("retry = { attempts = 1 }", &[("main", &main)], "");
    // All is well for a while, and a failure that an answer follows counts for nothing.
    for status in [200, 200, 500, 500, 500, 500, 200] {
        main.answers(status);
        let told = if status == 500 { 502 } else { 200 };
        assert_eq!(live.ask().status(), told);
    }
    main.answers(500);
    assert_eq!([(); 5].map(|()| live.ask().status()), [502; 5]);
    assert_eq!(main.asked(), 7 + 5);

    let left_alone = live.ask();
    assert_eq!((left_alone.status(), left_alone.header("retry-after")), (503, Some("60")));
    live.pass_ms(59_999);
    assert_eq!((live.ask().status(), main.asked()), (503, 0));
    live.pass_ms(1);
    assert_eq!((live.ask().status(), main.asked()), (502, 1), "the probe failed");
    assert_eq!((live.ask().status(), main.asked()), (503, 0));
    live.pass_ms(60_000);
    main.answers(200);
    assert_eq!([(); 3].map(|()| live.ask().status()), [200; 3]);
    assert_eq!(main.asked(), 3);
    live.stop();
}

#[test]
fn while_a_breaker_is_open_the_next_target_answers() {
    let (main, spare) = (Upstream::start(Duration::ZERO), Upstream::start(Duration::ZERO));
    let live = Live::start("", &[("main", &main), ("spare", &spare)], "");
    main.answers(503);
    for _ in 0..12 {
        let answer = live.ask();
        assert_eq!((answer.status(), answer.header("x-tollgate-upstream")), (200, Some("spare")));
        // The retry budget is one of ten seconds.
        live.pass_ms(10_000);
    }
    assert_eq!((main.asked(), spare.asked()), (6, 12), "five failures and, after a minute, a probe");
    live.stop();
}

#[test]
fn tries_after_the_first_add_a_fifth_and_three() {
    let main = Upstream::start(Duration::ZERO);
    let live = Live::start("breaker = \"off\"", &[("main", &main)], "");
    main.answers(500);
    for _ in 0..50 {
        live.ask();
    }
    assert_eq!(main.asked(), 50 + 10 + 3);
    live.pass_ms(11_000);
    live.ask();
    assert_eq!(main.asked(), 3, "what was sent before is forgotten");
    live.stop();
}

#[test]
fn the_upstream_that_begins_its_answers_sooner_is_asked() {
    let (slow, quick) = (Upstream::start(Duration::from_millis(150)), Upstream::start(Duration::ZERO));
    let live = Live::start("", &[("a", &slow), ("b", &quick)], "route = \"latency\"");
    for _ in 0..6 {
        assert_eq!(live.ask().status(), 200);
    }
    assert_eq!(
        (slow.asked(), quick.asked()),
        (1, 5),
        "each is measured once, and then the quick one is asked"
    );
    live.stop();
}
