//! The scripts of the ledger in Redis: what each is told and how its answer is read.
//!
//! Nothing here does I/O. [`Calls`] makes a [`Call`] of every operation: a script, its keys and its arguments, to be sent
//! with `EVALSHA`; [`Call::read`] makes sense of the flat list that comes back. [`Shared`] is the ledger for a platform
//! that does no more than execute commands; a server that does more (a journal, a local share) makes its own of the
//! calls. Both run the very same scripts on the same keys, so they share one truth.
//!
//! Numbers above 2^53 - 1 are not exact in Lua and are taken as that. Whose answer has another form than the script
//! gives is an error, never a grant.

#![forbid(unsafe_code)]

mod call;
mod calls;
mod names;
mod record;
mod script;
mod shared;

pub use call::{Call, Next, Word};
pub use calls::{Calls, DUE_AT_ONCE, Due, Target, When};
pub use names::{Names, is_plain};
pub use script::Script;
pub use shared::{Commands, Shared};
