//! The Lua scripts, one for each operation: the only code that changes the shared books.
//!
//! Each applies the rules of `tollgate-ledger` to cells kept as the lines that crate writes, in one atomic step. A
//! script names no key of its own and is never put together from a caller's text: keys and values are arguments. Its
//! answer is a flat list of numbers and texts, for some clients flatten every list.

include!("table.rs");
include!(concat!(env!("OUT_DIR"), "/scripts.rs"));

/// A script.
#[derive(Debug)]
pub struct Script {
    parts: &'static [&'static str],
    hash: &'static str,
}

impl Script {
    /// What the server knows it by, once it was loaded: for `EVALSHA`.
    pub fn hash(&self) -> &'static str {
        self.hash
    }

    /// What the server is told where it does not know it: for `SCRIPT LOAD`.
    #[must_use]
    pub fn text(&self) -> String {
        self.parts.concat()
    }
}
