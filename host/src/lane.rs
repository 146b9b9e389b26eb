//! Threads that share nothing with each other: what one of them keeps, such as an idle connection, is for itself.
//!
//! A server's connections stay on the thread that began them. A connection to an upstream belongs to the reactor of
//! its thread too: another thread could use it, but every byte of it would be a wake from one thread to the other.

use std::cell::Cell;

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// The lane of this thread. All threads that never entered one share the first.
pub(crate) fn current() -> usize {
    CURRENT.get()
}

/// Whether this thread keeps what it begins to itself.
pub(crate) fn is_own() -> bool {
    current() != 0
}

/// Puts this thread on a lane.
pub(crate) fn enter(lane: usize) {
    CURRENT.set(lane);
}
