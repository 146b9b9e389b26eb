//! A ledger reached over HTTP, for shells that have no store of their own: edge components and proxies.
//!
//! `protocol.md` beside this crate describes the protocol, and a test holds the two against each other. Both ends are
//! here, and neither does I/O: [`Call`] is what a shell sends and how it reads what comes back, [`answer`] is what a
//! host does with it. Who carries the bytes, and how it proves that it may, is theirs.
//!
//! An answer that is missing, late or unreadable is [`Unavailable`](tollgate_ledger::Unavailable): whether the
//! operation took effect is then not known, as with any other store. Every operation can be repeated.

mod answer;
mod call;

pub use answer::{Answer, answer};
pub use call::Call;

/// The largest body of a request, in bytes: a row of the books and its claims are far smaller.
pub const MOST_BYTES: usize = 64 << 10;

mod path {
    pub const FIND: &str = "/ledger/v1/find";
    pub const RESERVE: &str = "/ledger/v1/reserve";
    pub const RAISE: &str = "/ledger/v1/raise";
    pub const RENEW: &str = "/ledger/v1/renew";
    pub const SETTLE: &str = "/ledger/v1/settle";
    pub const ASK: &str = "/ledger/v1/ask";
    pub const TELL: &str = "/ledger/v1/tell";
}
