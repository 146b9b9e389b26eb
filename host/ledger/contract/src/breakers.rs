//! Breakers that all servers of a store share.

use tollgate_ledger::Store;
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};

use crate::terms::together;

const RULE: BreakerRule = BreakerRule { failures: 3, open_ms: 60_000, probe_ms: 5_000 };

async fn ask(store: &dyn Store, now: u64) -> Passage {
    store.ask("upstream", RULE, now).await.unwrap()
}

async fn tell(store: &dyn Store, generation: u64, health: Health, now: u64) {
    store.tell("upstream", RULE, generation, health, now).await.unwrap();
}

fn generation(passage: Passage) -> u64 {
    match passage {
        Passage::Pass { generation, .. } => generation,
        Passage::Wait(wait) => panic!("waits {wait}"),
    }
}

fn is_probe(passage: Passage) -> bool {
    matches!(passage, Passage::Pass { probe: true, .. })
}

/// One exchange that passed.
async fn one(store: &dyn Store, health: Health, now: u64) {
    let passed = generation(ask(store, now).await);
    tell(store, passed, health, now).await;
}

async fn open(store: &dyn Store, now: u64) {
    for _ in 0..3 {
        one(store, Health::Bad, now).await;
    }
}

pub async fn a_breaker_opens_after_failures_in_a_row_and_only_then(store: &dyn Store) {
    for health in [Health::Bad, Health::Bad, Health::Good, Health::Bad, Health::Bad, Health::Unknown] {
        one(store, health, 0).await;
    }
    one(store, Health::Bad, 10).await;
    assert_eq!(ask(store, 10).await, Passage::Wait(60_000));
    assert_eq!(ask(store, 60_009).await, Passage::Wait(1));
}

pub async fn one_probe_decides(store: &dyn Store) {
    open(store, 0).await;
    let probe = ask(store, 60_000).await;
    assert!(is_probe(probe), "{probe:?}");
    assert_eq!(ask(store, 60_000).await, Passage::Wait(5_000), "one at a time");
    tell(store, generation(probe), Health::Bad, 61_000).await;
    assert_eq!(ask(store, 61_000).await, Passage::Wait(60_000));
    let probe = ask(store, 121_000).await;
    assert!(is_probe(probe), "{probe:?}");
    tell(store, generation(probe), Health::Good, 121_001).await;
    assert!(matches!(ask(store, 121_001).await, Passage::Pass { probe: false, .. }));
}

pub async fn a_probe_that_is_cancelled_or_lost_frees_its_place(store: &dyn Store) {
    open(store, 0).await;
    let probe = generation(ask(store, 60_000).await);
    tell(store, probe, Health::Unknown, 60_001).await;
    assert!(is_probe(ask(store, 60_001).await));
    assert_eq!(ask(store, 65_000).await, Passage::Wait(1));
    assert!(is_probe(ask(store, 65_001).await));
}

pub async fn a_late_result_of_an_older_generation_is_ignored(store: &dyn Store) {
    let early = generation(ask(store, 0).await);
    open(store, 0).await;
    tell(store, early, Health::Good, 1).await;
    assert!(matches!(ask(store, 1).await, Passage::Wait(_)));
    let probe = generation(ask(store, 60_000).await);
    tell(store, early, Health::Bad, 60_001).await;
    tell(store, probe, Health::Good, 60_002).await;
    tell(store, probe, Health::Bad, 60_003).await;
    assert!(matches!(ask(store, 60_003).await, Passage::Pass { probe: false, .. }));
}

pub async fn breakers_are_told_apart_by_name(store: &dyn Store) {
    open(store, 0).await;
    assert!(matches!(ask(store, 0).await, Passage::Wait(_)));
    assert!(matches!(store.ask("other", RULE, 0).await, Ok(Passage::Pass { probe: false, .. })));
}

pub async fn one_probe_at_a_time_among_many(store: &dyn Store) {
    open(store, 0).await;
    let answers = together((0..20).map(|_| store.ask("upstream", RULE, 60_000))).await;
    assert_eq!(answers.iter().filter(|passage| is_probe(**passage)).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|passage| **passage == Passage::Wait(5_000)).count(), 19);
}

pub async fn a_clock_that_goes_back_keeps_nobody_out_for_long(store: &dyn Store) {
    open(store, 1_000_000_000).await;
    assert!(is_probe(ask(store, 5).await));
}
