//! The ledger in one SQLite file: the embedded default.
//!
//! Counters and open holds live in memory, where each step takes a microsecond; a thread writes every change to the
//! file, many in one commit. `reserve` answers at once, and `durable` waits for the commit, which happens while the
//! upstream works: a hold survives a crash before its client gets a byte, and costs that client no time. Keys are
//! always read from the file, so whatever changes them beside the server is seen by the next request.
//!
//! [`Sqlite`] is a server's store; one file has one server at a time. [`Records`] reads and changes the keys and
//! reads the rows of a file beside a running server: for tools. The tables are in `schema.sql`, made to be
//! read, with the views of `views.sql`.
//!
//! This crate never decides: the rules are [`tollgate_ledger`]'s, and so is what each cell says.

#![forbid(unsafe_code)]

mod backlog;
mod batch;
mod file;
mod keys;
mod records;
mod recovery;
mod rows;
mod server;
mod statements;
mod writer;

pub use file::OpenError;
pub use records::Records;
pub use server::Sqlite;
