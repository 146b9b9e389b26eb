//! What is made of one try.

use super::{OwnHeader, Reply, Ticket};

/// What a try tells of its upstream: enum `health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works.
    Good,
    /// It failed by its own fault.
    Bad,
    /// It refused the gateway's credential.
    Denied,
    /// Nothing was learnt.
    Unknown,
}

/// The answer of `judge`: record `judgement`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What to do.
    pub verdict: Verdict,
    /// What it tells of the upstream.
    pub health: Health,
}

/// What to do after a try: variant `verdict`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the answer to the client.
    Relay {
        /// The next ticket.
        ticket: Ticket,
        /// Headers to add.
        headers: Vec<OwnHeader>,
        /// Whether the body goes through `feed`.
        inspect: bool,
    },
    /// Try again.
    Retry {
        /// The next ticket.
        ticket: Ticket,
        /// Index of the target.
        target: u32,
        /// How long to wait first.
        after_ms: u64,
    },
    /// Answer this.
    Reply {
        /// The next ticket.
        ticket: Ticket,
        /// The reply.
        reply: Reply,
    },
}
