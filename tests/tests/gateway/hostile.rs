//! A hostile policy against a live host: it loops, grabs memory, traps, answers gigabytes or nonsense, reaches for
//! clocks and files. The exchange concerned gets a 500 with its request id (or a cut, once its answer has begun), its
//! hold is settled, and its neighbours, served by the same process at the same moment, notice nothing.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{io::Write as _, thread};

use tokio::runtime::Runtime;
use tollgate::{Gateway, NotLoaded, PolicySource};
use tollgate_ledger::Memory;
use tollgate_tests::instant::now_ms;
use tollgate_tests::live::Running;
use tollgate_tests::provider::Provider;
use tollgate_tests::vector::Answer;
use tollgate_tests::wire::{Message, Wire};

static HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile.wasm"));
const CONFIG: &str =
    "[server]\nbody_limit = \"1KiB\"\n[upstreams.main]\nbase_url = \"http://main.test/v1\"\n";
const BODY: &str = r#"{"hello":"world"}"#;

/// Every way to end without an answer.
const FATAL: [&str; 9] =
    ["trap", "loop", "memory", "stack", "giant", "clock", "random", "files", "environment"];

struct Stand {
    runtime: Runtime,
    running: Option<Running>,
    _provider: Provider,
    ledger: Arc<Memory>,
}

impl Stand {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let answer: Answer = serde_json::from_str(
            r#"{"headers": ["content-type: text/event-stream"], "body": "data: ok\n\n"}"#,
        )
        .unwrap();
        let script = BTreeMap::from([("main".to_owned(), vec![answer; 20_000])]);
        let provider = Provider::start(&["main".to_owned()], &script);
        let ledger = Arc::new(Memory::new());
        let gateway = Gateway::builder(provider.place(CONFIG))
            .policy(PolicySource::File(component()))
            .store(Arc::<Memory>::clone(&ledger))
            .build()
            .unwrap();
        let running = Some(Running::start(&runtime, gateway));
        Self { runtime, running, _provider: provider, ledger }
    }

    fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().address
    }

    /// Stops the server, so that all is settled, and looks into the books.
    fn assert_all_settled(mut self) {
        self.running.take().unwrap().stop(&self.runtime);
        let snapshot = self.ledger.snapshot(now_ms());
        assert!(snapshot.holds.is_empty(), "{:?}", snapshot.holds);
    }
}

/// The component as a file, where a server takes it from.
fn component() -> PathBuf {
    let path =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{}.wasm", std::process::id()));
    if !path.exists() {
        // Other tests of this process may write the same bytes: each lets the last word be a rename.
        let draft = path.with_extension(format!("{:?}", thread::current().id()));
        std::fs::write(&draft, HOSTILE).unwrap();
        std::fs::rename(draft, &path).unwrap();
    }
    path
}

fn post(address: SocketAddr, path: &str, body: &str) -> Option<Message> {
    let mut wire = Wire::new(TcpStream::connect(address).unwrap());
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: gate.test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    wire.stream().write_all((head + body).as_bytes()).unwrap();
    wire.response()
}

/// Honest exchanges, one after the other, for as long as this lives.
struct Neighbour {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    thread: thread::JoinHandle<Duration>,
}

impl Neighbour {
    fn of(address: SocketAddr) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&served));
        let thread = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                assert_served("/v1/honest", post(address, "/v1/honest", BODY));
                longest = longest.max(begun.elapsed());
                count.fetch_add(1, Ordering::Relaxed);
            }
            longest
        });
        Self { stop, served, thread }
    }

    /// Waits until another exchange was served, so that it is known to run.
    fn goes_on(&self) {
        let before = self.served.load(Ordering::Relaxed);
        let begun = Instant::now();
        while self.served.load(Ordering::Relaxed) < before + 2 {
            assert!(!self.thread.is_finished(), "a neighbour was harmed");
            assert!(begun.elapsed() < Duration::from_secs(20), "a neighbour waits");
            thread::yield_now();
        }
    }

    fn unharmed(self) {
        self.goes_on();
        self.stop.store(true, Ordering::Relaxed);
        let longest = self.thread.join().expect("a neighbour was harmed");
        assert!(longest < Duration::from_secs(5), "a neighbour waited {longest:?}");
    }
}

/// All in one test, because compiling a component takes a build without optimisation ten seconds.
#[test]
fn a_hostile_policy_harms_only_its_own_exchange() {
    let stand = Stand::new();
    let neighbour = Neighbour::of(stand.address());
    let too_long = " ".repeat(2 << 10);
    for what in FATAL {
        for (call, body) in [
            ("identify", BODY),
            ("admit", BODY),
            ("judge", BODY),
            ("refuse", &*too_long),
            ("settle", BODY),
            ("feed", BODY),
        ] {
            neighbour.goes_on();
            let path = format!("/v1/{what}/{call}");
            let response = post(stand.address(), &path, body);
            match call {
                "feed" => assert_cut(&path, response),
                "settle" => assert_served(&path, response),
                _ => assert_failed(&path, response),
            }
        }
    }
    for what in ["nonsense", "headers"] {
        for call in ["identify", "admit", "judge", "feed", "settle", "refuse"] {
            neighbour.goes_on();
            let body = if call == "refuse" { &too_long } else { BODY };
            assert_harmless(
                &format!("/v1/{what}/{call}"),
                post(stand.address(), &format!("/v1/{what}/{call}"), body),
            );
        }
    }
    storm(&stand);
    neighbour.unharmed();
    stand.assert_all_settled();
}

/// A 500 that names the request, as its header does.
fn assert_failed(path: &str, response: Option<Message>) {
    let response = response.unwrap_or_else(|| panic!("{path}: no answer"));
    assert_eq!(response.status(), 500, "{path}: {}", response.text().get(..200).unwrap_or(&response.text()));
    let id = response.header("x-request-id").unwrap_or_else(|| panic!("{path}: no request id"));
    assert!(response.text().contains(id), "{path}: {}", response.text());
}

/// The answer is cut: the client must not take half of it for the whole. Before its first byte that may mean no answer.
fn assert_cut(path: &str, response: Option<Message>) {
    if let Some(response) = response {
        assert_eq!((response.status(), response.cut), (200, true), "{path}: {}", response.text());
        assert!(response.body.is_empty(), "{path}: {}", response.text());
    }
}

/// The client has its answer, whatever happens to the books after.
fn assert_served(path: &str, response: Option<Message>) {
    let response = response.unwrap_or_else(|| panic!("{path}: no answer"));
    assert_eq!(
        (response.status(), response.text().as_str(), response.cut),
        (200, "data: ok\n\n", false),
        "{path}"
    );
}

fn assert_harmless(path: &str, response: Option<Message>) {
    let response = response.unwrap_or_else(|| panic!("{path}: no answer"));
    assert!([200, 500, 502].contains(&response.status()), "{path}: {}", response.status());
    assert!(response.header("x-evil").is_none(), "{path}: {response:?}");
    assert!(response.headers.len() < 1_000, "{path}: {} headers", response.headers.len());
}

/// Traps, one after the other, beside several neighbours.
fn storm(stand: &Stand) {
    let neighbours: Vec<_> = (0..3).map(|_| Neighbour::of(stand.address())).collect();
    for round in 0..50 {
        let path = format!("/v1/{}/admit", ["trap", "memory", "stack"][round % 3]);
        assert_failed(&path, post(stand.address(), &path, BODY));
    }
    neighbours.into_iter().for_each(Neighbour::unharmed);
}

#[test]
fn a_policy_that_does_not_load_in_time_is_refused() {
    let built = Gateway::builder(format!("# hang\n{CONFIG}")).policy(PolicySource::File(component())).build();
    assert!(matches!(built, Err(NotLoaded::Policy(_))));
}

#[test]
fn a_policy_whose_headers_have_no_names_or_too_many_is_refused() {
    for (act, expected) in [
        ("nameless", "it names a header that cannot be one"),
        ("talkative", "it names more than 1000 headers of one kind"),
    ] {
        let config = format!("# {act}\n{CONFIG}");
        let built = Gateway::builder(config).policy(PolicySource::File(component())).build();
        let Err(NotLoaded::Policy(reason)) = built else { panic!("{act}: it was accepted") };
        assert_eq!(reason, expected, "{act}");
    }
}

#[test]
fn what_is_no_policy_is_refused_with_its_reason() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("text", b"this is no component"),
        ("module", b"\0asm\x01\0\0\0"),
        ("bare", b"\0asm\x0d\0\x01\0"),
        ("half", &HOSTILE[..HOSTILE.len() / 2]),
    ] {
        let path = folder.join(format!("{name}-{}.wasm", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let built = Gateway::builder(CONFIG).policy(PolicySource::File(path)).build();
        let Err(NotLoaded::Policy(reason)) = built else { panic!("{name} was accepted") };
        assert!(reason.contains(name), "{name}: {reason}");
    }
    let nowhere = PolicySource::File(folder.join("nowhere.wasm"));
    assert!(matches!(Gateway::builder(CONFIG).policy(nowhere).build(), Err(NotLoaded::Policy(_))));
}
