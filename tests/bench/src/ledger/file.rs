//! The books in a file: how many exchanges a second it keeps, each durable before it is settled.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use tokio::task::JoinSet;
use tollgate_ledger::{Charge, Claim, Entry, Hold, Ledger as _, Outcome, Reservation, Rule};
use tollgate_sqlite::Sqlite;

use crate::report::{Report, Target, median};

/// Exchanges at once, as many as wait for providers at a few thousand a second.
const CLIENTS: u64 = 128;
const WINDOW: Duration = Duration::from_secs(4);
const KEYS: u64 = 1_000;

/// Measures it.
pub fn measure(report: &mut Report) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("tollgate-bench-file-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let store = Arc::new(Sqlite::open(folder.join("books.db"), now())?);
    let (rate, waits) = crate::runtime()?.block_on(load(&store))?;
    drop(store);
    std::fs::remove_dir_all(&folder)?;
    println!("SQLite: a hold is durable {:.1} ms after its grant", median(waits) * 1000.0);
    report.figure("SQLite: exchanges a second, every one durable", rate, "", Target::AtLeast(5000.0));
    Ok(())
}

/// Exchanges a second until all of them are written, and for each the seconds until its hold was durable.
async fn load(store: &Arc<Sqlite>) -> Result<(f64, Vec<f64>)> {
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let store = Arc::clone(store);
        clients.spawn(async move {
            let mut waits = Vec::new();
            while begin.elapsed() < WINDOW {
                waits.push(exchange(&store, client, waits.len() as u64).await?);
            }
            anyhow::Ok(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(joined) = clients.join_next().await {
        waits.append(&mut joined??);
    }
    store.flush().await?;
    Ok((waits.len() as f64 / begin.elapsed().as_secs_f64(), waits))
}

async fn exchange(store: &Sqlite, client: u64, number: u64) -> Result<f64> {
    let key = (client * 7_919 + number) % KEYS;
    let entry = Arc::new(Entry {
        request_id: format!("req_{client:08x}{number:016x}"),
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
    let claim = |cell, rule, amount| Claim { cell, rule, amount };
    let window = Rule::Window { limit: 1 << 40, period_ms: 60_000 };
    let budget = Rule::Budget { limit: 1 << 50, start_ms: 0, end_ms: entry.at_ms + 86_400_000 };
    let claims = [
        claim(format!("requests:key-{key}"), window, 1),
        claim(format!("tokens:key-{key}"), window, 5_296),
        claim("budget:acme:USD:2026-11".to_owned(), budget, 2_000_000),
    ];
    let begin = Instant::now();
    let hold = Hold { entry: &entry, claims: &claims, lease_ms: 300_000 };
    let Reservation::Granted { position, .. } = store.reserve(hold, now()).await? else {
        bail!("the file refused what fits")
    };
    store.durable(position).await?;
    let waited = begin.elapsed().as_secs_f64();
    let row = Entry {
        upstream: Some("first".into()),
        upstream_model: Some("small-2026".into()),
        output_tokens: 300,
        estimated: false,
        charge: 700_000,
        status: 200,
        outcome: Outcome::Completed,
        ..Entry::clone(&entry)
    };
    store.settle(&Arc::new(row), Charge::Amounts(&[1, 1_500, 700_000]), now()).await?;
    Ok(waited)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}
