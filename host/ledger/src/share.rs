//! The part of every limit that a shell grants by itself while the store that all share cannot be asked: of each window
//! and of the slots, never of a budget.
//!
//! With the shares of all shells together at most the whole, a limit is kept among them. What the store had granted
//! before is not known to a share, so in the first period after the store goes, and after it returns, a window can hold
//! its limit and the shares besides.

use crate::{Claim, Rule};

/// The claims with so many percent of their limits, at least 1 of each that is not 0. None: a budget is among them.
///
/// INVARIANT (never over-admit): nobody but the store knows what is left of a budget, so no share of it is granted.
#[must_use]
pub fn scaled(claims: &[Claim], percent: u64) -> Option<Vec<Claim>> {
    let scale = |claim: &Claim| {
        let rule = match claim.rule {
            Rule::Window { limit, period_ms } => Rule::Window { limit: part(limit, percent), period_ms },
            Rule::Slots { limit } => Rule::Slots { limit: part(limit, percent) },
            Rule::Budget { .. } => return None,
        };
        Some(Claim { rule, ..claim.clone() })
    };
    claims.iter().map(scale).collect()
}

fn part(limit: u64, percent: u64) -> u64 {
    if limit == 0 {
        return 0;
    }
    // By hundreds, so that nothing overflows; at least 1, or the smallest limits would refuse everybody.
    let (hundreds, rest) = (limit / 100, limit % 100);
    hundreds.saturating_mul(percent).saturating_add(rest.saturating_mul(percent) / 100).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MOST_UNITS;

    fn window(limit: u64) -> Claim {
        Claim { cell: "w".into(), rule: Rule::Window { limit, period_ms: 60_000 }, amount: 1 }
    }

    #[test]
    fn a_share_is_a_part_of_the_limit_and_at_least_one() {
        for (limit, percent, granted) in
            [(100, 25, 25), (10, 25, 2), (3, 25, 1), (1, 1, 1), (0, 100, 0), (MOST_UNITS, 50, MOST_UNITS / 2)]
        {
            let scaled = scaled(&[window(limit)], percent).unwrap();
            assert_eq!(scaled[0].rule.limit(), granted, "{percent} percent of {limit}");
        }
    }

    #[test]
    fn there_is_no_share_of_a_budget() {
        let rule = Rule::Budget { limit: 100, start_ms: 0, end_ms: 1_000 };
        assert_eq!(scaled(&[window(5), Claim { cell: "b".into(), rule, amount: 1 }], 100), None);
    }
}
