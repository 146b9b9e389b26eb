//! How fast the ledger in a file is: exchanges that reserve, wait for their upstream, wait until their hold is durable,
//! and settle, many at once.
//!
//! ```text
//! cargo run --release -p tollgate-sqlite --example sqlite_speed -- [exchanges a second] [seconds] [directory]
//! ```

#![allow(clippy::unwrap_used, clippy::panic, reason = "a program to be watched")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tollgate_ledger::keys::{Key, Keys as _};
use tollgate_ledger::{Charge, Claim, Entry, Hold, Ledger as _, Outcome, Reservation, Rule, Settled};
use tollgate_sqlite::Sqlite;

/// How long an upstream takes for its answer.
const UPSTREAM: Duration = Duration::from_millis(20);
const KEYS: u64 = 1_000;

#[derive(Default)]
struct Waits {
    /// From the grant until the hold was durable, asked at once.
    grant: Vec<Duration>,
    /// What was left to wait when the upstream had answered.
    behind: Vec<Duration>,
    /// For the grant itself.
    reserve: Vec<Duration>,
}

fn main() {
    let mut words = std::env::args().skip(1);
    let rate: u64 = words.next().map_or(5_000, |word| word.parse().unwrap());
    let seconds: u64 = words.next().map_or(10, |word| word.parse().unwrap());
    let directory = words.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let file = directory.join(format!("speed-{}.db", std::process::id()));
    let store = Arc::new(Sqlite::open(&file, now()).unwrap());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let (before, began) = (cpu(), Instant::now());
    let (waits, done) = runtime.block_on(load(&store, rate, seconds));
    runtime.block_on(store.flush()).unwrap();
    let (spent, elapsed) = (cpu() - before, began.elapsed());
    report(waits, done, spent, elapsed);
    find_keys(&runtime, &store);
    drop(store);
    let size = std::fs::metadata(&file).unwrap().len();
    println!("{} bytes of file for an exchange", size / done.max(1));
    let began = Instant::now();
    drop(Sqlite::open(&file, now()).unwrap());
    println!("opened and closed again in {:?}", began.elapsed());
    for end in ["", "-wal", "-shm", ".lock"] {
        let _ = std::fs::remove_file(format!("{}{end}", file.display()));
    }
}

/// As many exchanges as are due in each millisecond, whatever became of those before.
async fn load(store: &Arc<Sqlite>, rate: u64, seconds: u64) -> (Waits, u64) {
    let (waits, done) = (Arc::new(Mutex::new(Waits::default())), Arc::new(AtomicU64::new(0)));
    let (began, mut sent) = (Instant::now(), 0_u64);
    let mut tasks = tokio::task::JoinSet::new();
    while sent < rate * seconds {
        let due = u64::try_from(began.elapsed().as_micros()).unwrap() * rate / 1_000_000;
        while sent < due.min(rate * seconds) {
            let (store, waits, done, number) =
                (Arc::clone(store), Arc::clone(&waits), Arc::clone(&done), sent);
            tasks.spawn(async move {
                exchange(&store, number, &waits).await;
                done.fetch_add(1, Ordering::Relaxed);
            });
            sent += 1;
        }
        while tasks.try_join_next().is_some() {}
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tasks.join_all().await;
    let waits = std::mem::take(&mut *waits.lock().unwrap());
    (waits, done.load(Ordering::Relaxed))
}

async fn exchange(store: &Sqlite, number: u64, waits: &Mutex<Waits>) {
    let key = number.wrapping_mul(7_919) % KEYS;
    let entry = Arc::new(Entry {
        request_id: format!("req_0123456789abcdef{number:08x}"),
        at_ms: now(),
        key: format!("acme/team-{}/key-{key}", key % 20),
        model: "small".into(),
        input_tokens: 1_200,
        output_tokens: 4_096,
        estimated: true,
        charge: 2_000_000,
        currency: "USD".into(),
        ..Entry::default()
    });
    let end_ms = now() / 86_400_000 * 86_400_000 + 86_400_000;
    let claims = [
        Claim {
            cell: format!("requests:key-{key}"),
            rule: Rule::Window { limit: 1 << 40, period_ms: 60_000 },
            amount: 1,
        },
        Claim {
            cell: format!("tokens:key-{key}"),
            rule: Rule::Window { limit: 1 << 40, period_ms: 60_000 },
            amount: 5_000,
        },
        Claim {
            cell: "budget:acme:USD:2026-11".into(),
            rule: Rule::Budget { limit: 1 << 50, start_ms: 0, end_ms },
            amount: 2_000_000,
        },
    ];
    let began = Instant::now();
    let hold = Hold { entry: &entry, claims: &claims, lease_ms: 300_000 };
    let Ok(Reservation::Granted { position, .. }) = store.reserve(hold, now()).await else {
        panic!("not granted: {:?}", store.condition())
    };
    let reserved = began.elapsed();
    // One in sixteen asks at once and so measures the whole way to the disk.
    let asks_at_once = number.is_multiple_of(16);
    if asks_at_once {
        store.durable(position).await.unwrap();
    } else {
        tokio::time::sleep(UPSTREAM).await;
    }
    let answered = Instant::now();
    store.durable(position).await.unwrap();
    let behind = answered.elapsed();
    let real = Arc::new(Entry {
        upstream: Some("first".into()),
        upstream_model: Some("small-2026".into()),
        output_tokens: 300,
        estimated: false,
        charge: 700_000,
        status: 200,
        outcome: Outcome::Completed,
        duration_ms: 20,
        ..Entry::clone(&entry)
    });
    let settled = store.settle(&real, Charge::Amounts(&[1, 1_500, 700_000]), now()).await;
    assert_eq!(settled, Ok(Settled::Done));
    let mut waits = waits.lock().unwrap();
    waits.reserve.push(reserved);
    if asks_at_once {
        waits.grant.push(answered - began);
    } else {
        waits.behind.push(behind);
    }
}

fn report(waits: Waits, done: u64, spent: Duration, elapsed: Duration) {
    let rate = done as f64 / elapsed.as_secs_f64();
    println!("{done} exchanges, {rate:.0} a second");
    for (what, mut times) in [
        ("reserve", waits.reserve),
        ("durable, asked at once", waits.grant),
        ("durable, asked after 20 ms", waits.behind),
    ] {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 1_000).copied().unwrap_or_default();
        println!("{what}: median {:?}, p99 {:?}, p99.9 {:?}", at(500), at(990), at(999));
    }
    let each = spent / u32::try_from(done.max(1)).unwrap_or(u32::MAX);
    println!(
        "{each:?} of processor time each, {:.2} processors",
        spent.as_secs_f64() / elapsed.as_secs_f64()
    );
}

fn find_keys(runtime: &tokio::runtime::Runtime, store: &Sqlite) {
    runtime.block_on(store.keep_key(&Key::new("acme/ml/alice", [7; 32], 0))).unwrap();
    let began = Instant::now();
    for _ in 0..10_000 {
        assert!(runtime.block_on(store.find(&[7; 32])).unwrap().is_some());
    }
    println!("a key is found in {:?}", began.elapsed() / 10_000);
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Processor time of this process so far, all threads: clock ticks of `/proc/self/stat`, of which Linux has 100 a
/// second.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|word| word.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
