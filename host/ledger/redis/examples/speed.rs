//! How many exchanges a second one Redis takes: `cargo run --release -p tollgate-redis --example speed -- <url>`.
//! Each is a reservation of seven claims and its settlement, as of a key in a team in an organisation.

use std::sync::Arc;
use std::time::Instant;

use tollgate_ledger::{Charge, Claim, Entry, Hold, Ledger as _, Rule};
use tollgate_redis::{NotOpened, Options, Redis};

/// Exchanges at once, and exchanges of each.
const CLIENTS: u64 = 64;
const EXCHANGES: u64 = 500;

fn claims(client: u64) -> Vec<Claim> {
    let window = Rule::Window { limit: 1 << 40, period_ms: 60_000 };
    let budget = Rule::Budget { limit: 1 << 50, start_ms: 0, end_ms: 1 << 42 };
    let cells = [
        (format!("requests:{client}"), window),
        (format!("tokens:{client}"), window),
        (format!("money:acme/ml/{client}"), budget),
        ("money:acme/ml".to_owned(), budget),
        ("money:acme".to_owned(), budget),
        ("requests:acme".to_owned(), window),
        (format!("slots:{client}"), Rule::Slots { limit: 100 }),
    ];
    cells.into_iter().map(|(cell, rule)| Claim { cell, rule, amount: 1 }).collect()
}

async fn exchanges(store: Arc<Redis>, client: u64) -> Vec<u128> {
    let claims = claims(client);
    let mut micros = Vec::new();
    for number in 0..EXCHANGES {
        let request_id = format!("speed-{client}-{number}");
        let entry = Arc::new(Entry { request_id, key: "acme/ml/alice".into(), ..Entry::default() });
        let begin = Instant::now();
        let hold = Hold { entry: &entry, claims: &claims, lease_ms: 60_000 };
        if store.reserve(hold, 0).await.is_ok() {
            micros.push(begin.elapsed().as_micros());
        }
        drop(store.settle(&entry, Charge::Held, 0).await);
    }
    micros
}

#[tokio::main]
async fn main() -> Result<(), NotOpened> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let journal = std::env::temp_dir().join("tollgate-speed-journal");
    let store = Arc::new(Redis::open(Options::new(url, journal).namespace("speed")).await?);
    println!("{:?}", store.condition());
    let begin = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(exchanges(Arc::clone(&store), client));
    }
    let mut micros = clients.join_all().await.concat();
    let seconds = begin.elapsed().as_secs_f64();
    micros.sort_unstable();
    let at = |part: usize| micros.get(micros.len().saturating_mul(part) / 100).copied().unwrap_or(0);
    let count = micros.len();
    println!("{count} exchanges in {seconds:.2} s; a reservation took {} us, {} us at p99", at(50), at(99));
    Ok(())
}
