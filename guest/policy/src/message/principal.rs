//! Keys and scopes, and what limits them, as the interface has it. Limits are texts here: what they mean is read
//! elsewhere.

use super::Claim;

/// The limits of one key or scope, as they are written: record `limits`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Such as `100/1m`.
    pub requests: Option<String>,
    /// Such as `200000/1m`.
    pub tokens: Option<String>,
    /// Exchanges at once.
    pub concurrent: Option<u64>,
    /// Such as `1000 JPY/month`.
    pub budgets: Vec<String>,
}

/// The limits of a scope: record `scope`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its path.
    pub name: String,
    /// Its limits.
    pub limits: Limits,
}

/// How urgent a key's requests are: enum `priority`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Before all others.
    Urgent,
    /// In their turn.
    #[default]
    Normal,
    /// When there is room.
    Batch,
}

/// A key and what it may do: record `principal`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// Its name, a path; never the key itself.
    pub key: String,
    /// Its own limits.
    pub limits: Limits,
    /// The scopes around it that have limits, outermost first.
    pub scopes: Vec<Scope>,
    /// The models it may use; none: every model.
    pub models: Option<Vec<String>>,
    /// How urgent its requests are.
    pub priority: Priority,
    /// Words that routes can ask for.
    pub tags: Vec<String>,
    /// From when on it is no longer valid: milliseconds since the epoch.
    pub expires_ms: Option<u64>,
}

/// What a limit counts: enum `unit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Requests that reached an upstream.
    Requests,
    /// Input and output tokens.
    Tokens,
    /// Exchanges at once.
    Concurrent,
    /// Nano-units of a currency.
    Money,
}

/// A limit and the cell it counts in: record `limit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitOf {
    /// The path of the key or scope whose limit it is.
    pub scope: String,
    /// As it is written.
    pub text: String,
    /// What it counts.
    pub unit: Unit,
    /// A claim of nothing on its cell.
    pub claim: Claim,
}
