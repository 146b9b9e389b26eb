//! Finds the end of a run of bytes, eight at a time.
//!
//! Runs in a provider's events are a few bytes long, and in a component there may be no vector instructions: a
//! search in plain 64-bit words is the fastest there, and as fast as any for short runs elsewhere.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// How many bytes come before the first that is one of the two.
pub fn until<const ONE: u8, const OTHER: u8>(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut before = 0_usize;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ repeated::<ONE>()) | zeros(word ^ repeated::<OTHER>());
        if found != 0 {
            // At most 7 more than the bytes before, all of them in the slice.
            return before.wrapping_add((found.trailing_zeros() / 8) as usize);
        }
        before = before.wrapping_add(8);
    }
    let more = rest.iter().position(|byte| *byte == ONE || *byte == OTHER);
    before.wrapping_add(more.unwrap_or(rest.len()))
}

const fn repeated<const BYTE: u8>() -> u64 {
    (BYTE as u64).wrapping_mul(ONES)
}

/// The high bit of each byte that is zero, up to and including the first; those after may be wrong.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(bytes in proptest::collection::vec(prop_oneof![
            8 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\'), 1 => Just(b'"' + 1), 1 => Just(b'"' | 0x80),
        ], 0..64)) {
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(bytes.len());
            prop_assert_eq!(until::<b'"', b'\\'>(&bytes), expected);
        }
    }
}
