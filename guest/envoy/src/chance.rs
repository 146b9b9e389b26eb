//! Randomness for weights, jitter and ids. None of them is a secret.

use std::cell::Cell;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(seed());
    /// Names this VM in the ids it makes.
    static VM: u64 = seed();
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// The standard library seeds this from the host's randomness.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Uniformly random bits: SplitMix64 (Steele, Lea and Flood, 2014).
pub fn bits() -> u64 {
    let state = STATE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    STATE.set(state);
    let mut bits = state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// This VM, told from all others.
pub fn vm() -> String {
    VM.with(|vm| format!("{vm:016x}"))
}

/// An id that no other exchange has: 64 random bits of this VM, then a counter. The client's own `x-request-id` is not
/// used: who chooses ids could name the hold of another exchange.
pub fn id() -> String {
    let next = NEXT.get();
    NEXT.set(next.wrapping_add(1));
    VM.with(|vm| format!("req_{vm:016x}{next:08x}"))
}
