//! A server that dies at any moment: what it had called durable is there, what is there adds up, and each exchange has
//! one row in the end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod place;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use place::{Place, wait};
use tollgate_contract::operations::Random;
use tollgate_contract::{LEASE, NOW, all_rows, budget, entry, remaining, slots, window};
use tollgate_ledger::{Charge, Entry, Hold, Ledger as _, Outcome, Position, Raise, Reservation, Settled};
use tollgate_sqlite::Sqlite;

const LIMIT: u64 = 1 << 40;
const HELD: u64 = 50;

/// Name the file, and the time, to the process that is to be killed.
const VICTIM: &str = "TOLLGATE_TEST_VICTIM";
const MOMENT: &str = "TOLLGATE_TEST_MOMENT";

async fn hold(store: &Sqlite, id: &str, now: u64) -> (Arc<Entry>, Position) {
    let row = Arc::new(entry(id, HELD));
    let claims = [budget("b", LIMIT, HELD), window("w", LIMIT, 1), slots("s", LIMIT, 1)];
    let answer = store.reserve(Hold { entry: &row, claims: &claims, lease_ms: LEASE }, now).await.unwrap();
    let Reservation::Granted { position, .. } = answer else { panic!("refused") };
    (row, position)
}

/// Raises it once or twice, and says what it holds then.
async fn raise(store: &Sqlite, held: &Arc<Entry>, to: u64, now: u64) -> (Arc<Entry>, Position) {
    let row = Arc::new(Entry { charge: to, ..Entry::clone(held) });
    let claims = [budget("b", LIMIT, to), window("w", LIMIT, 2), slots("s", LIMIT, 1)];
    let answer = store.raise(Hold { entry: &row, claims: &claims, lease_ms: LEASE }, now).await.unwrap();
    let Raise::Granted { position, .. } = answer else { panic!("not raised") };
    (row, position)
}

async fn settle(store: &Sqlite, held: &Arc<Entry>, charge: u64, now: u64) {
    let row = Arc::new(Entry { charge, outcome: Outcome::Completed, ..Entry::clone(held) });
    assert_eq!(store.settle(&row, Charge::Amounts(&[charge, 1, 1]), now).await, Ok(Settled::Done));
}

/// What a file says of its exchanges: charges by id, after `now` and then the end of every lease. All that must add
/// up does.
fn charges_in(file: &Path, now: u64) -> BTreeMap<String, u64> {
    let store = Sqlite::open(file, now).unwrap();
    let holds = store.snapshot(now).holds;
    let open = holds.len() as u64;
    let held: u64 = holds.iter().map(|hold| hold.amounts[0].1).sum();
    wait(async {
        assert_eq!(LIMIT - remaining(&store, slots("s", LIMIT, 0), now).await, open, "a slot for each hold");
        // conservation: settled and held, before and after the leases have passed.
        let used = LIMIT - remaining(&store, budget("b", LIMIT, 0), now).await;
        let rows = all_rows(&store).await;
        assert_eq!(rows.iter().map(|row| row.charge).sum::<u64>() + held, used, "conservation");
        assert_eq!(store.expire(now + LEASE).await, Ok(open as usize));
        assert_eq!(store.snapshot(now + LEASE).holds, []);
        let rows = all_rows(&store).await;
        assert_eq!(rows.iter().map(|row| row.charge).sum::<u64>(), used, "conservation");
        let charges: BTreeMap<_, _> = rows.iter().map(|row| (row.request_id.clone(), row.charge)).collect();
        assert_eq!(charges.len(), rows.len(), "settle once");
        charges
    })
}

/// Serves until it is killed, and says which exchanges it has called durable.
fn serve_until_killed(file: &Path, now: u64) {
    let store = Sqlite::open(file, now).unwrap();
    let process = std::process::id();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in 0.. {
                    let id = format!("{process}-{thread}-{number}");
                    wait(async {
                        let (mut held, mut position) = hold(store, &id, now).await;
                        for to in (0..number % 3).map(|times| HELD + 20 * (times + 1)) {
                            (held, position) = raise(store, &held, to, now).await;
                        }
                        if number % 5 == 0 {
                            store.durable(position).await.unwrap();
                            writeln!(std::io::stdout().lock(), "durable {id}").unwrap();
                        }
                        if number % 7 > 0 {
                            settle(store, &held, number % 90, now).await;
                        }
                    });
                }
            });
        }
    });
}

#[test]
fn what_was_durable_survives_a_server_that_is_killed() {
    if let Some(file) = std::env::var_os(VICTIM) {
        let now = std::env::var(MOMENT).unwrap().parse().unwrap();
        return serve_until_killed(Path::new(&file), now);
    }
    let (place, mut random, mut durable) = (Place::new(), Random::new(7), Vec::new());
    for round in 0..6 {
        let now = NOW + round * 2 * LEASE;
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "what_was_durable_survives_a_server_that_is_killed"])
            .env(VICTIM, place.file())
            .env(MOMENT, now.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut named = said.by_ref().filter_map(|line| Some(line.rsplit_once("durable ")?.1.to_owned()));
        durable.extend(named.by_ref().take(1 + random.below(400) as usize));
        victim.kill().unwrap();
        victim.wait().unwrap();
        // The last line may have been cut off.
        let rest: Vec<String> = named.collect();
        durable.extend(rest.into_iter().rev().skip(1));
        let charges = charges_in(&place.file(), now);
        for id in &durable {
            assert!(charges.contains_key(id), "round {round}: {id} was durable");
        }
    }
}

/// The file with so much of its log, in a directory of its own.
fn cut(place: &Place, log: &[u8]) -> (Place, PathBuf) {
    let copy = Place::new();
    let file = copy.file();
    fs::copy(place.file(), &file).unwrap();
    fs::write(log_of(&file), log).unwrap();
    (copy, file)
}

fn log_of(file: &Path) -> PathBuf {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// The log grows by what each commit appends, so a machine that loses its power leaves a beginning of it, perhaps with
/// something else behind.
#[test]
fn what_was_durable_survives_a_loss_of_power() {
    let (place, mut random) = (Place::new(), Random::new(11));
    let store = place.open(NOW);
    // How long the log was when an exchange had become durable.
    let mut durable: Vec<(usize, Arc<Entry>)> = Vec::new();
    wait(async {
        let mut open = Vec::new();
        for number in 0..120_u64 {
            let (mut held, mut position) = hold(&store, &format!("hold-{number}"), NOW).await;
            if random.below(2) == 0 {
                (held, position) = raise(&store, &held, HELD + 30, NOW).await;
            }
            if random.below(3) == 0 {
                store.durable(position).await.unwrap();
                let length = fs::metadata(log_of(&place.file())).unwrap().len() as usize;
                durable.push((length, Arc::clone(&held)));
            }
            open.push(held);
            if number % 4 == 0 {
                // One that was written before holds more.
                let at = random.below(open.len() as u64) as usize;
                let to = open[at].charge + 10;
                (open[at], _) = raise(&store, &open[at], to, NOW).await;
            }
            if random.below(3) > 0 {
                let held = open.swap_remove(random.below(open.len() as u64) as usize);
                settle(&store, &held, random.below(HELD), NOW).await;
            }
        }
        store.flush().await.unwrap();
    });
    let log = fs::read(log_of(&place.file())).unwrap();
    assert!(durable.len() > 20 && log.len() > 100_000);
    let mut lengths: Vec<usize> = (0..40).map(|_| random.below(log.len() as u64 + 1) as usize).collect();
    lengths.extend(durable.iter().step_by(4).flat_map(|(length, _)| [*length, *length - 1]));
    for length in lengths {
        let mut left = log[..length].to_vec();
        if random.below(2) == 0 {
            left.extend((0..random.below(9_000)).map(|_| random.below(256) as u8));
        }
        let (_copy, file) = cut(&place, &left);
        let charges = charges_in(&file, NOW);
        for (_, held) in durable.iter().filter(|(needed, _)| *needed <= length) {
            let charge = charges.get(&held.request_id);
            // It cost less than the hold, or it was lost with at least what was durable of it.
            let is_there = charge.is_some_and(|charge| *charge < HELD || *charge >= held.charge);
            assert!(is_there, "{} was durable with {}: {charge:?}", held.request_id, held.charge);
        }
    }
}
