//! Redis does what the pure rules do: on long random histories every answer is that of the store in memory, and every
//! cell and breaker is, to the byte, the line that the rules write.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod model;
mod server;

use std::sync::Arc;

use model::{Model, key_of};
use server::Server;
use tollgate_ledger::breaker::{BreakerRule, Health};
use tollgate_ledger::{Breakers as _, Charge, Claim, Entry, Hold, Ledger as _, Memory, Rule};

const BEGIN: u64 = 1_700_000_000_000;
const STEPS: usize = 13_000;

/// Xorshift: the seed replays.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

fn claims(chance: &mut Chance, now: u64) -> Vec<Claim> {
    let amount = |chance: &mut Chance| match chance.below(12) {
        0 => 0,
        1 => 1_000_000_000 + chance.below(1 << 40),
        _ => chance.below(9),
    };
    let window = |cell: &str, limit, period_ms| (cell.to_owned(), Rule::Window { limit, period_ms });
    let count = chance.below(5);
    let claims = (0..count).map(|_| {
        let limit = chance.one(&[0, 5, 12, 40, 1 << 50]);
        let (cell, rule) = match chance.below(9) {
            0 => window("second", limit, 1_000),
            1 => window("minute", limit, 60_000),
            2 => window("odd", limit, chance.one(&[7, 29, 31, 899])),
            3 => window("changing", limit, chance.one(&[500, 45_000, 90_000])),
            4 | 5 => {
                let start_ms = now.saturating_sub(chance.below(2_000)) / 300_000 * 300_000;
                let name = chance.one(&["money", "acme"]);
                let rule = Rule::Budget { limit, start_ms, end_ms: start_ms + 300_000 };
                (format!("{name}@{start_ms}"), rule)
            }
            6 => ("upstream".to_owned(), Rule::Slots { limit }),
            7 => ("slots of a key, with \"quotes\" and ü\n".to_owned(), Rule::Slots { limit }),
            _ => {
                let start_ms = BEGIN / 86_400_000 * 86_400_000;
                let end_ms = start_ms + 30 * 86_400_000;
                let budget = Rule::Budget { limit, start_ms, end_ms };
                let other = chance.one(&[Rule::Slots { limit }, Rule::Window { limit, period_ms: 100 }, budget]);
                ("of any kind".to_owned(), other)
            }
        };
        Claim { cell, rule, amount: amount(chance) }
    });
    claims.collect()
}

/// One history, in a namespace of its own.
async fn history(server: Arc<Server>, seed: u64, steps: usize) {
    let options = server.options().obey_callers().namespace(format!("history-{seed}"));
    let redis = tollgate_redis::Redis::open(options).await.unwrap();
    let mut reader = server.connection().await;
    let (memory, mut model) = (Memory::new(), Model::default());
    let (mut chance, mut now, mut last) = (Chance(seed), BEGIN, 0);
    for step in 0..steps {
        let context = format!("seed {seed}, step {step}, now {now}");
        now += match chance.below(60) {
            0 => chance.below(100_000),
            1..10 => chance.below(3_000),
            10..30 => chance.below(40),
            _ => 0,
        };
        if chance.below(400) == 0 {
            now -= chance.one(&[1, 900, 70_000]).min(now - BEGIN);
        }
        let id = format!("{seed}-{}", last - chance.below(30).min(last));
        let lease_ms = chance.one(&[0, 50, 5_000, 100_000]);
        match chance.below(16) {
            0..6 => {
                last += 1;
                let id = if chance.below(9) == 0 { id } else { format!("{seed}-{last}") };
                let entry = Arc::new(Entry { request_id: id, at_ms: now, ..Entry::default() });
                let claims = claims(&mut chance, now);
                let hold = Hold { entry: &entry, claims: &claims, lease_ms };
                let answer = redis.reserve(hold, now).await.unwrap();
                assert_eq!(answer, model.reserve(hold, now), "{context}: {claims:?}");
                assert_eq!(answer, memory.reserve(hold, now).await.unwrap(), "{context}: {claims:?}");
            }
            6..10 => {
                let amounts: Vec<u64> = (0..chance.below(5)).map(|_| chance.below(14)).collect();
                let charge = chance.one(&[Charge::Held, Charge::Nothing, Charge::Amounts(&amounts)]);
                let entry = Arc::new(Entry { request_id: id, at_ms: now, status: 200, ..Entry::default() });
                let answer = redis.settle(&entry, charge, now).await.unwrap();
                assert_eq!(answer, model.settle(&entry.request_id, charge, now), "{context}: {charge:?}");
                assert_eq!(answer, memory.settle(&entry, charge, now).await.unwrap(), "{context}");
            }
            10 => {
                let answer = redis.renew(&id, lease_ms, now).await.unwrap();
                assert_eq!(answer, model.renew(&id, lease_ms, now), "{context}");
                assert_eq!(answer, memory.renew(&id, lease_ms, now).await.unwrap(), "{context}");
            }
            11 => {
                let claims = claims(&mut chance, now);
                let answer = redis.standings(&claims, now).await.unwrap();
                assert_eq!(answer, model.standings(&claims, now), "{context}: {claims:?}");
                assert_eq!(answer, memory.standings(&claims, now).await.unwrap(), "{context}");
            }
            12 => {
                let lost = redis.expire(now).await.unwrap();
                assert_eq!(lost, model.expire(now), "{context}");
                assert_eq!(lost, memory.expire(now).await.unwrap(), "{context}");
            }
            _ => breakers(&redis, &memory, &mut model, &mut chance, now, &context).await,
        }
        let lines = model.take_changed();
        if !lines.is_empty() {
            let mut read = redis::pipe();
            lines.iter().for_each(|(kind, name, _)| {
                read.get(format!("{{history-{seed}}}{}", key_of(kind, name)));
            });
            let kept: Vec<Option<String>> = read.query_async(&mut reader).await.unwrap();
            let ours: Vec<Option<String>> =
                lines.iter().map(|(_, name, line)| Some(format!("{line}\n{name}"))).collect();
            assert_eq!(kept, ours, "{context}");
        }
    }
}

async fn breakers(
    redis: &tollgate_redis::Redis,
    memory: &Memory,
    model: &mut Model,
    chance: &mut Chance,
    now: u64,
    context: &str,
) {
    let name = chance.one(&["one", "two"]);
    let rule = BreakerRule { failures: chance.one(&[0, 2, 3]), open_ms: 5_000, probe_ms: 1_000 };
    if chance.below(2) == 0 {
        let answer = redis.ask(name, rule, now).await.unwrap();
        assert_eq!(answer, model.ask(name, rule, now), "{context}");
        assert_eq!(answer, memory.ask(name, rule, now).await.unwrap(), "{context}");
    } else {
        let generation = model.generation(name).saturating_sub(chance.below(4) / 3);
        let health = chance.one(&[Health::Good, Health::Bad, Health::Bad, Health::Unknown]);
        redis.tell(name, rule, generation, health, now).await.unwrap();
        model.tell(name, rule, generation, health, now);
        memory.tell(name, rule, generation, health, now).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_history_is_that_of_the_pure_rules() {
    let server = Arc::new(Server::start());
    let histories: Vec<_> =
        (1..=8_u64).map(|seed| tokio::spawn(history(Arc::clone(&server), seed * 7_919, STEPS))).collect();
    for history in histories {
        history.await.unwrap();
    }
}
