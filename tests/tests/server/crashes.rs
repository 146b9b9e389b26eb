//! Killed in the middle of its work: a server with five hundred streams open, and Redis under load. Nothing is lost,
//! nothing is charged twice.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::runtime::Runtime;
use tollgate_ledger::Outcome;
use tollgate_sqlite::Sqlite;
use tollgate_tests::crowd::{COST, Got, Line, budget, config, provider, secret};
use tollgate_tests::instant::now_ms;
use tollgate_tests::programs::{RedisServer, Serving, allow_many_files, folder, tollgate, until};

const STREAMS: usize = 500;

const SQLITE: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n[ledger]\nlease = \"8s\"\n";

const REDIS: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n[ledger]\nlease = \"8s\"\nstore = \"redis\"\n\
                     url = { env = \"REDIS_URL\" }\ntimeout = \"60s\"\n"; // A busy machine is no outage.

/// Invariants: no phantom refusal, settle once, conservation. The server is left running on the same books.
fn every_stream_has_one_row_after_a_crash(
    place: &Path,
    tables: &str,
    environment: &[(&str, String)],
) -> Serving {
    allow_many_files();
    let runtime = Runtime::new().unwrap();
    let file = place.join("tollgate.toml");
    let keys = [("acme/ml/alice", format!("budget = \"{}\"", budget(10_000)))];
    fs::write(&file, config(provider(&runtime), &keys, tables)).unwrap();
    let start = || {
        let mut command: Command = tollgate(place);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Serving::run(command, &file)
    };
    let key = "acme%2Fml%2Falice";

    let serving = start();
    let address = serving.address;
    let open = |_| {
        runtime.spawn(async move {
            let mut line = Line::to(address).await;
            let got = line.begin_stream(&secret("acme/ml/alice")).await;
            (line, got)
        })
    };
    let streams: Vec<_> = (0..STREAMS).map(open).collect();
    let streams: Vec<(Line, Got)> =
        streams.into_iter().map(|stream| runtime.block_on(stream).unwrap()).collect();
    assert!(streams.iter().all(|(_, got)| got.status == 200));
    assert_eq!(serving.spent(key), STREAMS as u64 * COST);
    serving.kill();

    let serving = start();
    // What was held stays charged all the time.
    assert_eq!(serving.spent(key), STREAMS as u64 * COST);
    let rows = until("a row for each stream", || Some(serving.rows()).filter(|rows| rows.len() >= STREAMS));
    let ids: HashSet<&str> = rows.iter().map(|row| row.request_id.as_str()).collect();
    let begun: HashSet<&str> = streams.iter().map(|(_, got)| got.id.as_str()).collect();
    assert_eq!((rows.len(), ids), (STREAMS, begun));
    for row in &rows {
        assert_eq!((row.outcome, row.charge, row.estimated), (Outcome::Lost, COST, true), "{row:?}");
    }
    assert_eq!(serving.spent(key), rows.iter().map(|row| row.charge).sum::<u64>());
    serving
}

#[test]
fn a_server_on_a_file_that_is_killed_has_one_row_for_each_of_500_streams() {
    let place = folder();
    every_stream_has_one_row_after_a_crash(place.path(), SQLITE, &[]).stop();
    // What the file says when nobody has it.
    let now = now_ms();
    let books = Sqlite::open(place.path().join("tollgate.db"), now).unwrap().snapshot(now);
    assert!(books.holds.is_empty(), "{:?}", books.holds);
    let counted: u64 = books.cells.iter().map(|cell| cell.used).sum();
    assert_eq!(counted, STREAMS as u64 * COST, "{:?}", books.cells);
}

#[test]
fn a_server_on_redis_that_is_killed_has_one_row_for_each_of_500_streams() {
    let (place, redis) = (folder(), RedisServer::start());
    let serving = every_stream_has_one_row_after_a_crash(place.path(), REDIS, &[("REDIS_URL", redis.url())]);
    assert_eq!(redis.number("ZCARD {tollgate}leases"), 0, "no hold is open");
    assert_eq!(redis.number("ZCARD {tollgate}begun"), 0, "no hold is open");
    serving.stop();
}

/// What clients got, in their order.
#[derive(Default)]
struct Heard(Mutex<Vec<Got>>);

impl Heard {
    fn count(&self, is: impl Fn(&Got) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|got| is(got)).count()
    }
}

/// Invariants: settle once, conservation.
#[test]
fn redis_that_is_killed_under_load_loses_nothing_and_charges_nothing_twice() {
    let (runtime, place, mut redis) = (Runtime::new().unwrap(), folder(), RedisServer::start());
    let file = place.path().join("tollgate.toml");
    let keys = [
        ("rich", format!("budget = \"{}\"", budget(1_000_000))),
        ("free", "requests = \"1000000/1m\"".into()),
    ];
    fs::write(&file, config(provider(&runtime), &keys, REDIS)).unwrap();
    let mut command = tollgate(place.path());
    command.env("REDIS_URL", redis.url());
    let serving = Serving::run(command, &file);

    let (heard, over) = (Arc::new(Heard::default()), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let (heard, over, address) = (Arc::clone(&heard), Arc::clone(&over), serving.address);
            runtime.spawn(async move {
                let mut line = Line::to(address).await;
                while !over.load(Ordering::SeqCst) {
                    let got = line.ask(&secret("rich")).await;
                    heard.0.lock().unwrap().push(got);
                }
            })
        })
        .collect();
    let served = |got: &Got| got.status == 200;
    let refused = |got: &Got| (got.status, &*got.code) == (503, "ledger_unavailable");

    for round in 1..=3 {
        let before = heard.count(served);
        until("a burst of answers", || (heard.count(served) > before + 100).then_some(()));
        redis.kill();
        let before = heard.count(refused);
        until("refusals", || (heard.count(refused) > before + 100).then_some(()));
        assert_eq!(serving.condition(), "degraded", "round {round}");
        let ready = serving.get("/readyz");
        assert!(ready.status() == 200 && ready.text().starts_with("degraded: "), "{}", ready.text());
        // Who has no budget is served.
        let free = runtime.block_on(async { Line::to(serving.address).await.ask(&secret("free")).await });
        assert_eq!(free.status, 200, "{free:?}");
        redis.start_again();
        until("a sound ledger", || (serving.condition() == "sound").then_some(()));
        assert_eq!(serving.get("/readyz").text(), "ok\n");
    }
    let before = heard.count(served);
    until("answers afterwards", || (heard.count(served) > before + 100).then_some(()));
    over.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| runtime.block_on(client).unwrap());

    let journal = place.path().join("tollgate.journal");
    until("an empty journal", || (fs::metadata(&journal).unwrap().len() == 0).then_some(()));
    until("no open hold", || (redis.number("ZCARD {tollgate}leases") == 0).then_some(()));
    let heard = heard.0.lock().unwrap();
    assert_eq!(heard.iter().find(|got| !served(got) && !refused(got)), None);
    let rows = serving.rows();
    let ids: HashSet<&str> = rows.iter().map(|row| row.request_id.as_str()).collect();
    assert_eq!(ids.len(), rows.len(), "no exchange has two rows");
    for got in heard.iter().filter(|got| served(got)) {
        assert!(ids.contains(&*got.id), "{} was answered and has no row", got.id);
    }
    let charged: u64 = rows.iter().filter(|row| row.key == "rich").map(|row| row.charge).sum();
    assert_eq!(serving.spent("rich"), charged);
    assert!(charged >= heard.iter().filter(|got| served(got)).count() as u64 * COST);
    assert_eq!(rows.iter().filter(|row| row.key == "free").count(), 3);
}
