//! The ledger that is asked statement by statement keeps the contract, beside the tools of the file it shares.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod place;

use place::{Place, wait};
use tollgate_contract::operations::{Operations, apply};
use tollgate_contract::{all_rows, contract};
use tollgate_ledger::Memory;

contract!(Box::new(Place::new()), wait);

#[test]
fn every_answer_is_the_one_of_the_store_in_memory() {
    let (place, memory) = (Place::new(), Memory::new());
    for (step, operation) in Operations::new(3).take(3_000).enumerate() {
        let answers = (wait(apply(&place, &operation)), wait(apply(&memory, &operation)));
        assert_eq!(answers.0, answers.1, "step {step}: {operation:?}");
    }
    assert_eq!(wait(all_rows(&place)), wait(all_rows(&memory)));
}
