//! What an exchange used and cost, in the end.

/// How an exchange ended: enum `ending`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing reached an upstream.
    Undispatched,
    /// The client got everything.
    Completed,
    /// The client left.
    ClientLeft,
    /// The upstream failed in the middle.
    UpstreamBroke,
    /// The policy failed.
    PolicyFailed,
}

/// What an exchange used: record `usage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Name of the caller's key.
    pub key: String,
    /// Model asked for.
    pub model: String,
    /// Last upstream tried.
    pub upstream: Option<String>,
    /// Model asked of it.
    pub upstream_model: Option<String>,
    /// All input tokens.
    pub input_tokens: u64,
    /// Those from the provider's cache.
    pub cached_input_tokens: u64,
    /// Those written to the provider's cache.
    pub cache_write_tokens: u64,
    /// All output tokens.
    pub output_tokens: u64,
    /// Those that are reasoning.
    pub reasoning_tokens: u64,
    /// Whether counts are estimated.
    pub estimated: bool,
    /// Nano-units of `currency`.
    pub charge: u64,
    /// ISO 4217.
    pub currency: String,
    /// The price it was charged at.
    pub price: Price,
}

/// What one token costs, in pico-units (10^-12): record `price`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// An input token that has nothing to do with the provider's cache.
    pub input: u64,
    /// An input token from the cache.
    pub cached_input: u64,
    /// An input token written to the cache.
    pub cache_write: u64,
    /// An output token that is no reasoning.
    pub output: u64,
    /// An output token that is reasoning.
    pub reasoning: u64,
    /// From when on it counts.
    pub since_ms: Option<u64>,
    /// Where it comes from.
    pub source: Option<String>,
}

/// The answer of `settle`: record `settlement`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The real amount of each claim.
    pub amounts: Vec<u64>,
    /// The usage record.
    pub usage: Usage,
}
