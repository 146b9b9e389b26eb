//! The values of an answer that is relayed piece by piece.

use super::{Fault, Ticket, Usage};

/// A piece of a relayed body: variant `piece`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes as they came.
    Chunk(&'a [u8]),
    /// The body is complete.
    End,
    /// The body is not complete and will not be.
    Broken(Fault),
    /// More could not be held.
    Limited,
}

/// What the client gets for a piece: variant `output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The piece itself.
    Pass,
    /// These bytes.
    Replace(Vec<u8>),
    /// These bytes, then the end.
    Stop(Vec<u8>),
}

/// The answer of `feed`: record `fed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fed {
    /// The next ticket, if it changed.
    pub ticket: Option<Ticket>,
    /// What the client gets.
    pub output: Output,
    /// What must be held before the next piece.
    pub holding: Option<Holding>,
}

/// What must be held from now on: record `holding`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// One for each claim.
    pub amounts: Vec<u64>,
    /// The row of the books if nobody ever settles the exchange.
    pub usage: Usage,
}
