//! The values that cross the interface, as plain Rust. They mirror `wit/policy.wit`, which specifies them;
//! the comments here only name the item.

mod header;
mod judgement;
mod principal;
mod stream;
mod usage;

pub use header::{Header, Own, OwnHeader};
pub use judgement::{Health, Judgement, Verdict};
pub use principal::{LimitOf, Limits, Principal, Priority, Scope, Unit};
pub use stream::{Fed, Holding, Output, Piece};
pub use tollgate_document::Problem;
pub use usage::{Ending, Price, Settlement, Usage};

/// What a policy is loaded with: record `settings`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings<'a> {
    /// The whole configuration file, TOML.
    pub config: &'a str,
    /// Top-level tables that the shell reads itself.
    pub shell_tables: Vec<String>,
    /// Names of the upstreams that the shell can reach.
    pub upstreams: Vec<String>,
    /// The text of the price list that the configuration names.
    pub catalogue: Option<&'a str>,
}

/// The head of a client's request: record `head`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Method as sent.
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// The headers the policy asked for.
    pub headers: Vec<Header>,
}

/// A whole answer made by the policy: record `reply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<OwnHeader>,
    /// Body.
    pub body: Vec<u8>,
}

/// One replacement in a body: record `edit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// First byte replaced.
    pub start: u32,
    /// First byte kept again.
    pub end: u32,
    /// What stands there instead.
    pub bytes: Vec<u8>,
}

impl Edit {
    /// Puts edits into the order in which they are applied; those of one place stay as they are.
    pub(crate) fn sort(edits: &mut [Self]) {
        edits.sort_by_key(|edit| (edit.start, edit.end));
    }
}

/// Opaque bytes: the policy's memory of one exchange.
pub type Ticket = Vec<u8>;

/// Who calls: record `identified`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// The exchange's first ticket.
    pub ticket: Ticket,
    /// SHA-256 of the key presented.
    pub digest: [u8; 32],
    /// Whether the configuration knows it.
    pub configured: bool,
}

/// The answer of `identify`: variant `identity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Answer this, the body unread.
    Reply(Reply),
    /// Go on.
    Caller(Identified),
}

/// How a cell is limited: variant `rule`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// At most `limit` units in any trailing `period_ms`.
    Window {
        /// Units.
        limit: u64,
        /// Milliseconds.
        period_ms: u64,
    },
    /// At most `limit` units between two instants.
    Budget {
        /// Units.
        limit: u64,
        /// Milliseconds since the epoch.
        start_ms: u64,
        /// Milliseconds since the epoch.
        end_ms: u64,
    },
    /// At most `limit` units at once.
    Slots {
        /// Units.
        limit: u64,
    },
}

/// Units to take from one cell: record `claim`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The cell's name.
    pub cell: String,
    /// Its rule.
    pub rule: Rule,
    /// Units to hold.
    pub amount: u64,
}

/// What the shell knows when a request is to be admitted: record `surroundings`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Milliseconds since the epoch.
    pub now_ms: u64,
    /// Uniformly random bits.
    pub random: u64,
    /// Milliseconds to the head of an answer, one for each upstream; empty if not asked for.
    pub latencies: Vec<Option<u32>>,
}

/// When an upstream is left alone: record `breaker`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Milliseconds it stays open.
    pub open_ms: u64,
    /// Milliseconds after which a silent probe frees its place.
    pub probe_ms: u64,
}

/// One place to send the request to: record `target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name of an upstream of the shell.
    pub upstream: String,
    /// Appended to its base URL.
    pub path: String,
    /// Changes to the client's body.
    pub edits: Vec<Edit>,
    /// The upstream's breaker.
    pub breaker: Option<Breaker>,
}

/// Record `admitted`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The next ticket.
    pub ticket: Ticket,
    /// What to reserve.
    pub claims: Vec<Claim>,
    /// Where to send, in order of preference.
    pub targets: Vec<Target>,
    /// The row of the books if nobody ever settles the exchange.
    pub usage: Usage,
}

/// The answer of `admit`: variant `admission`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "it is taken apart where it is made: a box would cost more")]
pub enum Admission {
    /// Answer this.
    Reply(Reply),
    /// Go on.
    Admitted(Admitted),
}

/// Why there is no usable answer: enum `fault`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection.
    Connect,
    /// Nothing heard in time.
    Timeout,
    /// Ended before the answer did.
    Closed,
    /// Not HTTP.
    Malformed,
}

/// An upstream's answer: record `answer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The headers the policy asked for.
    pub headers: Vec<Header>,
    /// The whole body where it is short and not a stream.
    pub body: Option<Vec<u8>>,
}

/// What came of an attempt: variant `outcome`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer.
    Answer(Answer),
    /// None.
    Fault(Fault),
    /// The breaker let nobody pass; milliseconds until it may be asked again.
    Tripped(u64),
}

/// A claim that was not granted: record `limited`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Index of the claim.
    pub claim: u32,
    /// When it could be; none: never.
    pub retry_after_ms: Option<u64>,
    /// One for each claim.
    pub standings: Vec<Standing>,
}

/// What was sent lately: record `load`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// First tries.
    pub requests: u32,
    /// Tries after the first.
    pub retries: u32,
}

/// What is left of a claim: record `standing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Units that could be taken now.
    pub remaining: u64,
    /// Milliseconds until all of the limit could be taken.
    pub reset_ms: u64,
}

/// One try: record `attempt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Index of the target.
    pub target: u32,
    /// Tries so far, this one included.
    pub number: u32,
    /// What came of it.
    pub outcome: Outcome,
    /// One for each claim.
    pub standings: Vec<Standing>,
    /// Milliseconds since the epoch.
    pub now_ms: u64,
    /// Uniformly random bits.
    pub random: u64,
    /// What was sent lately.
    pub load: Load,
}

/// What only the shell can see: variant `failure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Ambiguous or malformed framing or head.
    Malformed(String),
    /// Head too large.
    HeadTooLarge(String),
    /// Body larger than this many bytes.
    BodyTooLarge(u64),
    /// The request did not arrive in time.
    RequestTimeout,
    /// Nobody knows the key.
    UnknownKey,
    /// A claim was not granted.
    Limited(Limited),
    /// The ledger cannot be asked.
    LedgerUnavailable,
    /// Going away, or no room.
    Unavailable(String),
    /// The policy failed; the request id.
    Internal(String),
}
