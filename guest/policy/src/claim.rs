//! What an exchange takes from the ledger: one claim for each limit around the caller, always in the same order.
//!
//! The outermost scope comes first and the key itself last; within each, requests, tokens, exchanges at once, money.
//! Claims, the real amounts at the end and what standings mean all follow from that list of limits.

use serde::{Deserialize, Serialize};

use crate::amounts::Amounts;
use crate::calendar::Calendar;
use crate::limit::Limit;
use crate::message::Claim;

/// Who calls, as far as the books and the ledger are concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The key's name: a path.
    pub name: String,
    /// All that limits it, in the order of its claims.
    pub limits: Vec<Limit>,
}

impl Caller {
    /// The claims for these amounts at this time: milliseconds since the epoch.
    pub fn claims(&self, calendar: &Calendar, amounts: &Amounts, now_ms: u64) -> Vec<Claim> {
        self.limits.iter().map(|limit| limit.claim(calendar, amounts, now_ms)).collect()
    }

    /// One amount for each claim.
    pub fn amounts(&self, amounts: &Amounts) -> Vec<u64> {
        self.limits.iter().map(|limit| amounts.of(limit.unit())).collect()
    }
}
