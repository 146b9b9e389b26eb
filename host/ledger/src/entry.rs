//! One row of the books: what an exchange was, what it used and what it was charged.
//!
//! There is one row for each exchange whose claims were granted, whatever became of it. A row is opened with the
//! hold, filled with the worst case, so that an exchange whose server dies still has one; a settlement replaces it.

use serde::{Deserialize, Serialize};

/// A row of the books. Names follow OpenTelemetry's GenAI conventions where these have one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Names the exchange and its hold: 1 to 64 of `[A-Za-z0-9_-]`.
    pub request_id: String,
    /// When its claims were made: milliseconds since the epoch. It counts in the periods that this lies in.
    pub at_ms: u64,
    /// The caller: a path of one to three names, `organisation/team/key`. Every prefix of it is a scope.
    pub key: String,
    /// The model as the client asked for it.
    pub model: String,
    /// The upstream that was tried last, if any was.
    pub upstream: Option<String>,
    /// The model asked of it.
    pub upstream_model: Option<String>,
    /// All input tokens, cached ones included.
    pub input_tokens: u64,
    /// The part of `input_tokens` that came from the provider's cache.
    pub cached_input_tokens: u64,
    /// Another part of `input_tokens`: what was written to the cache.
    #[serde(default)]
    pub cache_write_tokens: u64,
    /// All output tokens, reasoning included.
    pub output_tokens: u64,
    /// The part of `output_tokens` that is reasoning.
    pub reasoning_tokens: u64,
    /// Whether the counts are estimated, because the provider sent none or nobody is left who saw them.
    pub estimated: bool,
    /// What was charged, in nano-units of `currency`.
    pub charge: u64,
    /// ISO 4217; `XXX` where all is free.
    pub currency: String,
    /// The price it was charged at.
    pub price: Price,
    /// HTTP status of the answer; 0 if there was none.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Milliseconds from the request's head to the end of the answer.
    pub duration_ms: u64,
    /// Milliseconds from the request's head to the first byte of a streamed answer.
    pub first_byte_ms: Option<u64>,
}

/// The price of a token in pico-units (10^-12) of a currency, which is micro-units for a million tokens: as it was
/// used, after tiers, discounts and conversions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Price {
    /// An input token that has nothing to do with the provider's cache.
    pub input: u64,
    /// An input token from the cache.
    pub cached_input: u64,
    /// An input token that was written to the cache.
    #[serde(default)]
    pub cache_write: u64,
    /// An output token that is no reasoning.
    pub output: u64,
    /// An output token that is reasoning.
    #[serde(default)]
    pub reasoning: u64,
    /// From when on the price is known to count: milliseconds since the epoch.
    #[serde(default)]
    pub since_ms: Option<u64>,
    /// Where it comes from, in words; with the rate of exchange, if it was converted.
    #[serde(default)]
    pub source: Option<String>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No byte of the request reached an upstream.
    Undispatched,
    /// The client got all of the answer or of the reply.
    Completed,
    /// The client left before.
    ClientLeft,
    /// The upstream failed before its answer was complete.
    UpstreamBroke,
    /// The policy trapped or did not answer in time.
    PolicyFailed,
    /// Nobody settled it before its lease passed: the server died, or lost its ledger for that long. Charged as
    /// held.
    #[default]
    Lost,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] = [
        Self::Undispatched,
        Self::Completed,
        Self::ClientLeft,
        Self::UpstreamBroke,
        Self::PolicyFailed,
        Self::Lost,
    ];

    /// As it stands in logs, tables and exports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undispatched => "undispatched",
            Self::Completed => "completed",
            Self::ClientLeft => "client_left",
            Self::UpstreamBroke => "upstream_broke",
            Self::PolicyFailed => "policy_failed",
            Self::Lost => "lost",
        }
    }

    /// The reverse of [`Outcome::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

impl Entry {
    /// The row of an exchange that cost nothing, because nothing was sent.
    #[must_use]
    pub fn undispatched(&self) -> Self {
        Self {
            input_tokens: 0,
            cached_input_tokens: 0,
            cache_write_tokens: 0,
            output_tokens: 0,
            reasoning_tokens: 0,
            estimated: false,
            charge: 0,
            outcome: Outcome::Undispatched,
            ..self.clone()
        }
    }

    /// The scopes that the exchange counts in, outermost first: `acme`, `acme/ml`, `acme/ml/alice`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        scopes(&self.key)
    }
}

/// Every prefix of a path that is a scope, outermost first, the path itself last.
pub fn scopes(path: &str) -> impl Iterator<Item = &str> {
    let inner = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
    inner.chain([path])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_in_every_scope_around_it() {
        assert_eq!(scopes("acme/ml/alice").collect::<Vec<_>>(), ["acme", "acme/ml", "acme/ml/alice"]);
        assert_eq!(scopes("alice").collect::<Vec<_>>(), ["alice"]);
    }

    #[test]
    fn outcomes_are_read_as_they_are_written() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
        }
        assert_eq!(Outcome::parse("other"), None);
    }
}
