//! Invariant: any split of a stream into chunks gives the client, the books and the ledger the same.

use tollgate_tests::driver::{self, Walked};
use tollgate_tests::vector::Vector;

#[test]
fn any_split_of_a_stream_gives_the_same_outcome() {
    let native = Walked::native();
    for size in [1, 2, 3, 5, 13, 64, 1 << 20] {
        driver::agree_on(&native, &resplit(size));
    }
}

/// Every vector with a stream, its chunks `size` bytes long.
fn resplit(size: usize) -> Vec<Vector> {
    let streams = |vector: &Vector| vector.provider.values().flatten().any(|answer| answer.is_event_stream());
    // When more is asked for, and where a stream ends that is not given it, does depend on the pieces.
    let is_cut_to_slices = |vector: &Vector| vector.name.starts_with("slices/");
    let mut vectors: Vec<Vector> =
        driver::selected().into_iter().filter(streams).filter(|vector| !is_cut_to_slices(vector)).collect();
    assert!(!vectors.is_empty());
    // Byte by byte is for the short ones; the long ones are about their length.
    let length = |vector: &Vector| {
        vector.provider.values().flatten().flat_map(|answer| answer.pieces()).flatten().count()
    };
    vectors.retain(|vector| size >= 64 || length(vector) < 8 << 10);
    for vector in &mut vectors {
        for answer in vector.provider.values_mut().flatten().filter(|answer| answer.is_event_stream()) {
            *answer = answer.resplit(size);
        }
        vector.name.push_str(&format!(" (in chunks of {size})"));
    }
    vectors
}
