//! How much of everything that a limit counts.

use crate::message::Unit;

/// An amount in each unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Requests.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
    /// Nano-units.
    pub money: u64,
}

impl Amounts {
    /// The amount in one unit.
    pub fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.requests,
            Unit::Tokens => self.tokens,
            // An exchange is one, for as long as it lasts; what it cost in the end changes nothing.
            Unit::Concurrent => 1,
            Unit::Money => self.money,
        }
    }
}
