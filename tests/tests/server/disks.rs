//! A disk that takes no more, and a place where nothing can be written: nothing is served that is not in the books.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use tokio::runtime::Runtime;
use tollgate_tests::crowd::{COST, Got, Line, budget, config, provider, secret};
use tollgate_tests::programs::{Serving, folder, tollgate, tollgate_after, until};

const TABLES: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n[ledger]\nlease = \"2s\"\n";

/// Invariants: settle once, conservation.
#[test]
fn on_a_full_disk_nothing_is_served_that_is_not_written_and_with_room_it_goes_on() {
    let (runtime, place) = (Runtime::new().unwrap(), folder());
    let file = place.path().join("tollgate.toml");
    let keys = [("rich", format!("budget = \"{}\"", budget(1_000_000)))];
    fs::write(&file, config(provider(&runtime), &keys, TABLES)).unwrap();
    // No file may become larger than about 2 MB, until somebody says otherwise.
    let serving = Serving::run(tollgate_after("ulimit -S -f 4000", place.path()), &file);
    let mut heard: Vec<Got> = Vec::new();
    let mut ask = |line: &mut Line| {
        let got = runtime.block_on(line.ask(&secret("rich")));
        heard.push(got.clone());
        got
    };
    for round in 1..=2 {
        let mut line = runtime.block_on(Line::to(serving.address));
        let refusal = until("a refusal", || Some(ask(&mut line)).filter(|got| got.status != 200));
        assert_eq!((refusal.status, &*refusal.code), (503, "ledger_unavailable"), "round {round}");
        for _ in 0..20 {
            let got = ask(&mut line);
            assert_eq!((got.status, &*got.code), (503, "ledger_unavailable"), "round {round}");
        }
        let ready = serving.get("/readyz");
        assert!(ready.status() == 503 && ready.text().contains("cannot be written"), "{}", ready.text());
        assert_eq!(serving.condition(), "down");
        if round == 1 {
            let room = ["--pid", &serving.id().to_string(), "--fsize=4000000:"].map(str::to_owned);
            assert!(Command::new("prlimit").args(room).status().unwrap().success());
            until("a sound ledger", || (serving.condition() == "sound").then_some(()));
            assert_eq!(serving.get("/readyz").status(), 200);
            assert_eq!(ask(&mut line).status, 200);
        }
    }
    // The disk is full still when it dies.
    serving.kill();

    let serving = Serving::run(tollgate(place.path()), &file);
    let served: Vec<&Got> = heard.iter().filter(|got| got.status == 200).collect();
    assert!(served.len() > 50, "{}", served.len());
    let rows = until("a row for each answer", || {
        let rows = serving.rows();
        let ids: HashMap<&str, usize> = rows.iter().fold(HashMap::new(), |mut ids, row| {
            *ids.entry(row.request_id.as_str()).or_default() += 1;
            ids
        });
        assert!(ids.values().all(|rows| *rows == 1), "an exchange has two rows");
        served.iter().all(|got| ids.contains_key(&*got.id)).then_some(rows)
    });
    let charged: u64 = rows.iter().map(|row| row.charge).sum();
    assert!(charged >= served.len() as u64 * COST);
    until("conservation", || (serving.spent("rich") == charged).then_some(()));
    serving.stop();
}

#[test]
fn where_nothing_can_be_written_the_server_does_not_start_and_says_why() {
    let place = folder();
    fs::create_dir(place.path().join("directory")).unwrap();
    fs::write(
        place.path().join("text"),
        "This is no ledger, and long enough that nobody takes it for one.".repeat(20),
    )
    .unwrap();
    for (path, why) in [
        ("/sys/kernel/tollgate.db", "/sys/kernel/tollgate.db"),
        ("nowhere/tollgate.db", "the directory must exist"),
        ("directory", "directory cannot be opened"),
        ("text", "is not a ledger of Tollgate"),
    ] {
        let file = place.path().join("tollgate.toml");
        let tables = format!("[ledger]\nfile = \"{path}\"\n");
        fs::write(&file, config(([127, 0, 0, 1], 9).into(), &[("alice", String::new())], &tables)).unwrap();
        let mut command = tollgate(place.path());
        let output =
            command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{path}: {told}");
        assert!(told.contains("open the ledger") && told.contains(why), "{path}: {told}");
        assert!(!told.contains("panicked"), "{told}");
    }
}
