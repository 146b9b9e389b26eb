//! The store in a file keeps the contract, and answers as the store in memory does, step by step, through restarts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod place;

use place::{Alone, Place, wait};
use tollgate_contract::operations::{Answer, Call, Operations, Random, apply};
use tollgate_contract::{NOW, all_rows, contract};
use tollgate_ledger::{Ledger as _, Memory};
use tollgate_sqlite::Sqlite;

contract!(Alone::new(), wait);

#[test]
fn every_answer_is_the_one_of_the_store_in_memory() {
    let (alone, memory) = (Alone::new(), Memory::new());
    for (step, operation) in Operations::new(1).take(20_000).enumerate() {
        let answers = (wait(apply(&*alone, &operation)), wait(apply(&memory, &operation)));
        assert_eq!(answers.0, answers.1, "step {step}: {operation:?}");
    }
    assert_eq!(wait(all_rows(&*alone)), wait(all_rows(&memory)));
}

#[test]
fn every_answer_is_the_same_when_the_server_is_restarted_at_any_time() {
    for seed in 0..12 {
        wait(restarted_at_random(seed));
    }
}

async fn restarted_at_random(seed: u64) {
    let (place, memory, mut random) = (Place::new(), Memory::new(), Random::new(seed));
    let mut store = Some(place.open(NOW));
    let mut lost = 0;
    // Breakers need not survive. Clocks go forward: a cell is read back as its last change left it, so one that has
    // since been shown a time that was taken back may count for longer than in memory, never shorter.
    let asks = |call: &Call| matches!(call, Call::Ask(..) | Call::Tell(..));
    for (step, operation) in
        Operations::steady(seed).filter(|operation| !asks(&operation.call)).take(400).enumerate()
    {
        if random.below(30) == 0 {
            drop(store.take());
            store = Some(place.open(operation.now));
            // A file that is opened closes what was lost meanwhile, and tells it with the next expiry.
            lost = memory.expire(operation.now).await.unwrap();
        }
        let store: &Sqlite = store.as_ref().unwrap();
        let (here, mut there) = (apply(store, &operation).await, apply(&memory, &operation).await);
        if let Answer::Expired(number) = &mut there {
            *number += std::mem::take(&mut lost);
        }
        assert_eq!(here, there, "seed {seed}, step {step}: {operation:?}");
        let (here, there) = (store.snapshot(operation.now), memory.snapshot(operation.now));
        assert_eq!(here.holds, there.holds, "seed {seed}, step {step}");
        for cell in here.cells {
            // Either may have dropped what is over.
            let same = there.cells.iter().find(|other| other.name == cell.name);
            assert!(same.is_none_or(|same| *same == cell), "seed {seed}, step {step}: {cell:?} {same:?}");
        }
    }
    assert_eq!(all_rows(store.as_ref().unwrap()).await, all_rows(&memory).await);
}
