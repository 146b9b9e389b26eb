//! A thousand requests at once against the last of a budget: exactly those that it is for are admitted, with one server
//! on a file, with one on Redis and with two on one Redis; a hundred times each.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

use std::fs;

use tokio::runtime::Runtime;
use tollgate_ledger::Outcome;
use tollgate_tests::crowd::{COST, Line, all_at_once, budget, config, provider, secret};
use tollgate_tests::programs::{RedisServer, Serving, allow_many_files, folder, tollgate, until};

const REQUESTS: usize = 1_000;
const REPEATS: usize = 100;
const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

/// How many requests the budget of each key is for: another number for each.
fn admitted(number: usize) -> usize {
    1 + number * 37 % 97
}

/// Each round has a key of its own, whose budget is for a number of requests that nothing divides evenly.
fn rounds(count: usize) -> Vec<(String, usize)> {
    (0..count).map(|number| (format!("key{number}"), admitted(number))).collect()
}

/// Invariants: never over-admit, no phantom refusal, settle once, conservation.
fn exactly_the_budget_is_admitted(runtime: &Runtime, servers: &[&Serving], rounds: &[(String, usize)]) {
    let mut lines = Vec::new();
    for number in 0..REQUESTS {
        lines.push(runtime.block_on(Line::to(servers[number % servers.len()].address)));
    }
    for (key, admitted) in rounds {
        let (kept, all) = runtime.block_on(all_at_once(lines, &secret(key)));
        lines = kept;
        let count =
            |status, code: &str| all.iter().filter(|got| got.status == status && got.code == code).count();
        let (yes, no) = (count(200, ""), count(429, "insufficient_quota"));
        let other = all
            .iter()
            .find(|got| !matches!((got.status, &*got.code), (200, "") | (429, "insufficient_quota")));
        assert_eq!((yes, no), (*admitted, REQUESTS - admitted), "{key}: {other:?}");
    }
    for server in servers {
        for (key, admitted) in rounds {
            assert_eq!(server.spent(key), *admitted as u64 * COST, "{key}");
        }
        let all = rounds.iter().map(|(_, admitted)| admitted).sum();
        let rows = until("a row for each", || Some(server.rows()).filter(|rows| rows.len() >= all));
        for (key, admitted) in rounds {
            let rows: Vec<_> = rows.iter().filter(|row| row.key == *key).collect();
            assert_eq!(rows.len(), *admitted, "{key}");
            assert!(rows.iter().all(|row| (row.charge, row.outcome) == (COST, Outcome::Completed)), "{key}");
        }
    }
}

fn keys(rounds: &[(String, usize)]) -> Vec<(&str, String)> {
    let limit = |admitted: usize| format!("budget = \"{}\"", budget(admitted as u64));
    rounds.iter().map(|(key, admitted)| (key.as_str(), limit(*admitted))).collect()
}

#[test]
fn of_a_thousand_at_once_exactly_the_budget_is_admitted_by_one_server_on_a_file() {
    allow_many_files();
    let (runtime, place, rounds) = (Runtime::new().unwrap(), folder(), rounds(REPEATS));
    let file = place.path().join("tollgate.toml");
    fs::write(&file, config(provider(&runtime), &keys(&rounds), ADMIN)).unwrap();
    let serving = Serving::run(tollgate(place.path()), &file);
    exactly_the_budget_is_admitted(&runtime, &[&serving], &rounds);
}

#[test]
fn of_a_thousand_at_once_exactly_the_budget_is_admitted_by_one_server_on_redis() {
    admitted_on_one_redis(&["one"]);
}

#[test]
fn of_a_thousand_at_once_exactly_the_budget_is_admitted_by_two_servers_on_one_redis() {
    admitted_on_one_redis(&["one", "other"]);
}

fn admitted_on_one_redis(names: &[&str]) {
    allow_many_files();
    let (runtime, place, rounds, redis) =
        (Runtime::new().unwrap(), folder(), rounds(REPEATS), RedisServer::start());
    let provider = provider(&runtime);
    let start = |name: &&str| {
        let tables = format!(
            "{ADMIN}[ledger]\nstore = \"redis\"\nurl = {{ env = \"REDIS_URL\" }}\njournal = \"{name}.journal\"\n\
             timeout = \"60s\"\n" // A busy machine is no outage.
        );
        let file = place.path().join(format!("{name}.toml"));
        fs::write(&file, config(provider, &keys(&rounds), &tables)).unwrap();
        let mut command = tollgate(place.path());
        command.env("REDIS_URL", redis.url());
        Serving::run(command, &file)
    };
    let servers: Vec<Serving> = names.iter().map(start).collect();
    exactly_the_budget_is_admitted(&runtime, &servers.iter().collect::<Vec<_>>(), &rounds);
    for name in names {
        let journal = format!("{name}.journal");
        assert_eq!(fs::metadata(place.path().join(&journal)).unwrap().len(), 0, "{journal}");
    }
}
