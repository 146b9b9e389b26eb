//! Many at once, and the slow: limits hold under concurrency, clients that leave leave nothing behind, and a client
//! that does not read slows its upstream instead of filling the server's memory.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tollgate::Gateway;
use tollgate_ledger::Memory;
use tollgate_tests::instant::now_ms;
use tollgate_tests::live::Running;
use tollgate_tests::provider::Provider;
use tollgate_tests::vector::{Answer, Config};
use tollgate_tests::wire::{PATIENCE, Wire};

const CHAT: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}"#;
const STREAM: &str =
    r#"{"model":"gpt-4o","stream":true,"max_tokens":1000,"messages":[{"role":"user","content":"Hello"}]}"#;

struct Live {
    runtime: Runtime,
    running: Running,
    gateway: Gateway,
    ledger: Arc<Memory>,
}

impl Live {
    fn start(config: String) -> Self {
        let runtime = Runtime::new().unwrap();
        let ledger = Arc::new(Memory::new());
        let gateway = Gateway::builder(config).store(Arc::<Memory>::clone(&ledger)).build().unwrap();
        let running = Running::start(&runtime, gateway.clone());
        Self { runtime, running, gateway, ledger }
    }

    /// Sends a request and leaves the answer to be read.
    fn send(address: SocketAddr, body: &str) -> Wire {
        let mut wire = Wire::new(TcpStream::connect(address).unwrap());
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gate.test\r\nauthorization: Bearer tg_alice\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        wire.stream().write_all((head + body).as_bytes()).unwrap();
        wire
    }

    fn open_holds(&self) -> usize {
        self.ledger.snapshot(now_ms()).holds.len()
    }

    fn used(&self, cell: &str) -> u64 {
        self.ledger
            .snapshot(now_ms())
            .cells
            .iter()
            .filter(|state| state.name == cell)
            .map(|state| state.used)
            .sum()
    }

    /// Waits for what must come by itself.
    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", self.ledger.snapshot(now_ms()));
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn stop(self) {
        self.running.stop(&self.runtime);
        self.runtime.block_on(self.gateway.settled());
    }
}

fn basic() -> String {
    Config::Shared("basic".into()).text()
}

/// Invariant: never over-admit.
#[test]
fn of_many_requests_at_once_exactly_the_limit_is_admitted() {
    const CLIENTS: usize = 40;
    const LIMIT: usize = 10;
    let answer: Answer = serde_json::from_str(
        r#"{"body": {"json": {"choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 2}}}}"#,
    )
    .unwrap();
    let provider =
        Provider::start(&["main".to_owned()], &BTreeMap::from([("main".to_owned(), vec![answer; CLIENTS])]));
    let live = Live::start(provider.place(&basic().replace("100/1m", &format!("{LIMIT}/1h"))));
    let (address, barrier) = (live.running.address, Arc::new(Barrier::new(CLIENTS)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                barrier.wait();
                let mut wire = Live::send(address, CHAT);
                let response = wire.response().unwrap();
                // Nobody may wait for this connection when the server stops.
                let _ = wire.stream().shutdown(Shutdown::Both);
                response.status()
            })
        })
        .collect();
    let statuses: Vec<u16> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let count = |status| statuses.iter().filter(|&&found| found == status).count();
    assert_eq!((count(200), count(429)), (LIMIT, CLIENTS - LIMIT), "{statuses:?}");
    assert_eq!((live.used("requests:alice"), live.used("tokens:alice")), (LIMIT as u64, 10 * LIMIT as u64));
    assert_eq!(live.open_holds(), 0);
    live.stop();
}

/// Invariants: no phantom refusal, settle once.
#[test]
fn clients_that_leave_leave_no_hold_behind() {
    const CLIENTS: u64 = 30;
    let provider = Endless::start();
    // What is written to those who leave is charged: it must not use up the limit of those who come late.
    let live = Live::start(provider.place(&basic().replace("200000/1m", "9000000000/1m")));
    let wires: Vec<Wire> = (0..CLIENTS).map(|_| Live::send(live.running.address, STREAM)).collect();
    for (number, mut wire) in wires.into_iter().enumerate() {
        // Some before the head, some inside the stream.
        if number % 2 == 0 {
            let seen = wire.response_until(|body| body.len() > 100).unwrap();
            assert_eq!(seen.status(), 200);
        }
        wire.stream().shutdown(Shutdown::Both).unwrap();
    }
    live.until("every hold is settled", |live| live.open_holds() == 0);
    assert!(live.used("requests:alice") <= CLIENTS);
    live.until("every upstream is let go", |_| provider.open.load(Ordering::SeqCst) == 0);
    live.stop();
}

#[test]
fn a_client_that_does_not_read_slows_its_upstream() {
    let provider = Endless::start();
    let live = Live::start(provider.place(&basic()));
    let mut wire = Live::send(live.running.address, STREAM);
    assert_eq!(wire.head().unwrap().status(), 200);
    // The upstream writes as fast as it is let; when nothing moves any more, all buffers on the way are full.
    let mut sent = 0;
    loop {
        thread::sleep(Duration::from_millis(300));
        let now = provider.sent.load(Ordering::SeqCst);
        if now == sent && now > 0 {
            break;
        }
        assert!(now < 64 << 20, "{now} bytes were taken for a client that does not read");
        sent = now;
    }
    // It goes on when the client does.
    let mut buffer = vec![0; 1 << 20];
    let begun = Instant::now();
    while provider.sent.load(Ordering::SeqCst) < sent + (1 << 20) {
        assert!(wire.stream().read(&mut buffer).unwrap() > 0);
        assert!(begun.elapsed() < PATIENCE, "the stream does not go on");
    }
    wire.stream().shutdown(Shutdown::Both).unwrap();
    live.until("the hold is settled", |live| live.open_holds() == 0);
    live.stop();
}

/// Invariant: no phantom refusal is bought by losing exchanges that still run: whatever an exchange waits for, its
/// lease moves on.
#[test]
fn a_lease_is_kept_while_the_upstream_is_silent() {
    let answer: Answer = serde_json::from_str(r#"{"ending": "hang_before_head"}"#).unwrap();
    let provider =
        Provider::start(&["main".to_owned()], &BTreeMap::from([("main".to_owned(), vec![answer])]));
    let live = Live::start(provider.place(&basic()) + "[ledger]\nstore = \"memory\"\nlease = \"1s\"\n");
    let mut wire = Live::send(live.running.address, CHAT);
    let until_ms = |live: &Live| live.ledger.snapshot(now_ms()).holds.first().map(|hold| hold.until_ms);
    live.until("the request is held", |live| until_ms(live).is_some());
    let first = until_ms(&live).unwrap();
    live.until("the lease moves on", |live| until_ms(live).is_some_and(|until| until > first + 2_000));
    wire.stream().shutdown(Shutdown::Both).unwrap();
    live.until("the hold is settled", |live| live.open_holds() == 0);
    live.stop();
}

/// A provider that streams events for as long as anybody reads them.
struct Endless {
    address: SocketAddr,
    /// Bytes that were taken from it.
    sent: Arc<AtomicUsize>,
    /// Streams that are still read.
    open: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Endless {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endless = Self {
            address: listener.local_addr().unwrap(),
            sent: Arc::default(),
            open: Arc::default(),
            over: Arc::default(),
        };
        let (sent, open, over) =
            (Arc::clone(&endless.sent), Arc::clone(&endless.open), Arc::clone(&endless.over));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (sent, open) = (Arc::clone(&sent), Arc::clone(&open));
                open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    stream_for_ever(Wire::new(stream.unwrap()), &sent);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        endless
    }

    fn place(&self, config: &str) -> String {
        config.replace("http://main.test", &format!("http://{}", self.address))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn stream_for_ever(mut wire: Wire, sent: &AtomicUsize) {
    if wire.request().is_none() {
        return;
    }
    let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(4000));
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    if wire.stream().write_all(head.as_bytes()).is_err() {
        return;
    }
    while wire.stream().write_all(chunk.as_bytes()).is_ok() {
        sent.fetch_add(chunk.len(), Ordering::SeqCst);
    }
}
