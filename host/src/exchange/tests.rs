//! An exchange whose client leaves at any of its stages.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::net::TcpListener;
use tollgate_ledger::{Charges as _, Entry, Memory, Outcome, Query};
use tower_service::Service as _;

use crate::body::Body;
use crate::stage::{self, UnderWay};
use crate::{Gateway, lane, provider};

/// What the simulated provider counts.
const OUTPUT_TOKENS: u64 = 7;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Where an exchange is when it is not polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// It lets others go first.
    Stage,
    /// It waits for a socket.
    Socket,
    /// Its end: it was answered.
    End,
}

/// Polls, each time once it was woken, until it is there for so many times, or answered.
async fn poll_until<T>(mut future: Pin<Box<dyn Future<Output = T> + Send>>, there: At, times: usize) -> At {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut seen = 0;
    loop {
        if let Poll::Ready(_answer) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return At::End;
        }
        let at = if stage::steps_back() { At::Stage } else { At::Socket };
        seen += usize::from(at == there);
        if seen == times {
            return at;
        }
        while !woken.0.swap(false, Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }
}

/// One exchange that is cut when it is there for so many times. Where it came to, and its row.
async fn cut(there: At, times: usize) -> (At, Option<Entry>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        r#"
        [upstreams.simulated]
        base_url = "http://{}/v1"
        [[models]]
        name = "gpt-4o"
        targets = [{{ upstream = "simulated", model = "sim-{OUTPUT_TOKENS}t-0ms" }}]
        price = {{ currency = "JPY", input = 2.5, output = 10 }}
        [[keys]]
        name = "bench"
        digest = "sha256:f430b00f7d4abf77e3f73c8285cce6b5c1e89254612705e3bfac7837de6dc329"
        requests = "100/1m"
        budget = "1000 JPY/month"
        "#,
        listener.local_addr().unwrap()
    );
    let provider = tokio::spawn(provider::serve(listener));
    let ledger = Arc::new(Memory::new());
    let mut gateway = Gateway::builder(config).store(Arc::<Memory>::clone(&ledger)).build().unwrap();
    let request = Request::post("/v1/chat/completions")
        .header("host", "gate.test")
        .header("authorization", "Bearer tg_bench")
        .body(Full::new(Bytes::from_static(
            br#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}"#,
        )))
        .unwrap();
    let answer: Pin<Box<dyn Future<Output = Result<Response<Body>, _>> + Send>> = gateway.call(request);
    let at = poll_until(answer, there, times).await;
    gateway.settled().await;
    provider.abort();
    let mut rows = ledger.charges(&Query::default()).await.unwrap();
    assert!(rows.len() <= 1, "{there:?} {times}: {rows:?}");
    let (row, books) = (rows.pop(), ledger.snapshot(gateway.now()));
    assert!(books.holds.is_empty(), "{there:?} {times}: a hold is left");
    for cell in books.cells {
        let used = if cell.name.starts_with("budget") {
            row.as_ref().map_or(0, |row| row.charge)
        } else {
            cell.used
        };
        assert_eq!((cell.used, cell.held), (used, 0), "{there:?} {times}: {cell:?}");
    }
    (at, row)
}

/// Invariants: conservation, settle once, no phantom refusal.
#[test]
fn wherever_an_exchange_is_cut_its_hold_is_settled_and_no_usage_is_lost_that_was_told() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // There is always somebody to let go first.
    lane::enter(1);
    let _others = [UnderWay::begin(), UnderWay::begin()];
    let ends = |there| {
        let mut ends = Vec::new();
        loop {
            let (at, row) = runtime.block_on(cut(there, ends.len() + 1));
            ends.push(row.map(|row| (row.outcome, row.output_tokens, row.estimated, row.charge > 0)));
            if at == At::End {
                return ends;
            }
        }
    };
    let undispatched = Some((Outcome::Undispatched, 0, false, false));
    let left = |tokens, estimated| Some((Outcome::ClientLeft, tokens, estimated, true));
    let completed = Some((Outcome::Completed, OUTPUT_TOKENS, false, true));
    // Before identify, admit, reserve and a try; after the walk; before the answer is written.
    let stages = [None, None, None, undispatched, left(OUTPUT_TOKENS, false), completed, completed];
    assert_eq!(ends(At::Stage), stages);
    // While it waits, nobody knows what the upstream does: its input is charged.
    let waits = ends(At::Socket);
    let (answered, waits) = waits.split_last().unwrap();
    assert_eq!(*answered, completed);
    assert!(!waits.is_empty());
    assert!(waits.iter().all(|end| *end == left(0, true)), "{waits:?}");
}
