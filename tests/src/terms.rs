//! What the interface promises about rows and limits, checked on every exchange that the reference walk makes.

use tollgate_policy::message::{Admitted, Claim, Holding, Principal, Rule, Unit, Usage};

use crate::policy::Policy;

/// The row of an exchange that nobody settles is charged what is held for it, and `limits` tells of the same cells
/// as the claims.
pub fn assert_agree(policy: &mut dyn Policy, admitted: &Admitted, stored: Option<&Principal>, now: u64) {
    let Admitted { claims, usage, .. } = admitted;
    assert!(usage.estimated && usage.upstream.is_none() && usage.upstream_model.is_none(), "{usage:?}");
    let callers = policy.callers().unwrap();
    let configured = || callers.iter().find(|caller| caller.key == usage.key).expect("its key is configured");
    let principal = stored.unwrap_or_else(configured);
    assert_eq!(usage.key, principal.key);
    let limits = policy.limits(principal, now).unwrap().expect("who is admitted has sound limits");
    assert_eq!(limits.len(), claims.len(), "one claim for each limit");
    for (limit, claim) in limits.iter().zip(claims) {
        assert_eq!((&limit.claim.cell, limit.claim.rule, limit.claim.amount), (&claim.cell, claim.rule, 0));
        match limit.unit {
            Unit::Requests => assert_eq!(claim.amount, 1),
            Unit::Tokens => assert_eq!(claim.amount, usage.input_tokens + usage.output_tokens),
            Unit::Concurrent => assert!(claim.amount == 1 && matches!(claim.rule, Rule::Slots { .. })),
            Unit::Money => assert_eq!(claim.amount.min(MOST_MONEY), usage.charge),
        }
    }
}

/// What is to be held from now on is what the row says, and never less than before.
pub fn assert_raised(holding: &Holding, claims: &[Claim]) {
    let Holding { amounts, usage } = holding;
    assert!(usage.estimated && usage.upstream.is_some() && usage.upstream_model.is_some(), "{usage:?}");
    assert_eq!(amounts.len(), claims.len(), "one amount for each claim");
    assert!(
        claims.iter().zip(amounts).all(|(claim, amount)| *amount >= claim.amount),
        "{amounts:?} {claims:?}"
    );
    let in_all = usage.input_tokens + usage.output_tokens;
    for (claim, amount) in claims.iter().zip(amounts) {
        match claim.rule {
            Rule::Budget { .. } => assert_eq!((*amount).min(MOST_MONEY), usage.charge),
            Rule::Slots { .. } => assert_eq!(*amount, 1),
            Rule::Window { .. } => assert!([1, in_all].contains(amount), "{amount} of {in_all}"),
        }
    }
}

/// No charge is larger than the books hold.
const MOST_MONEY: u64 = 9_000_000_000_000_000;

/// A settled row is charged what its tokens cost at its price, rounded up once.
pub fn assert_priced(usage: &Usage) {
    let parts = [
        (usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens, usage.price.input),
        (usage.cached_input_tokens, usage.price.cached_input),
        (usage.cache_write_tokens, usage.price.cache_write),
        (usage.output_tokens - usage.reasoning_tokens, usage.price.output),
        (usage.reasoning_tokens, usage.price.reasoning),
    ];
    let pico: u128 = parts.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(*price)).sum();
    assert_eq!(u128::from(usage.charge), pico.div_ceil(1_000).min(MOST_MONEY.into()), "{usage:?}");
}
