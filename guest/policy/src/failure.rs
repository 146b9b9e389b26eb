//! What a failure that only the shell can see becomes: one of the refusals.

use crate::claim::Caller;
use crate::config::Config;
use crate::message::{Failure, Limited, Reply, Unit};
use crate::rates;
use crate::refusal::Refusal;
use crate::ticket::{BadTicket, Stage};

/// The reply for a failure; the stage is there if the exchange has a ticket.
pub fn reply(config: &Config, stage: Option<&Stage<'_>>, failure: &Failure) -> Result<Reply, BadTicket> {
    let refusal = match failure {
        Failure::Malformed(why) => Refusal::Malformed(why.clone()),
        Failure::HeadTooLarge(why) => Refusal::HeadTooLarge(why.clone()),
        Failure::BodyTooLarge(most) => Refusal::BodyTooLarge(*most),
        Failure::RequestTimeout => Refusal::RequestTimeout,
        Failure::UnknownKey => Refusal::KeyUnknown,
        Failure::LedgerUnavailable => Refusal::LedgerUnavailable,
        Failure::Unavailable(why) => Refusal::Unavailable(why.clone()),
        Failure::Internal(id) => Refusal::Internal(id.clone()),
        Failure::Limited(limited) => {
            // Only an exchange that was admitted has claims.
            let exchange = stage.ok_or(BadTicket)?.exchange()?.ok_or(BadTicket)?;
            let caller = exchange.caller(config)?;
            let mut headers = Vec::new();
            rates::add(&mut headers, &caller.limits, &limited.standings);
            return Ok(of_limit(&caller, limited)?.reply(headers));
        }
    };
    Ok(refusal.reply(Vec::new()))
}

/// The refusal for a claim that was not granted.
pub fn of_limit(caller: &Caller, limited: &Limited) -> Result<Refusal, BadTicket> {
    let limit = usize::try_from(limited.claim).ok().and_then(|index| caller.limits.get(index));
    let limit = limit.ok_or(BadTicket)?;
    let (unit, text) = (limit.unit(), limit.told(&caller.name));
    Ok(match (unit, limited.retry_after_ms) {
        (Unit::Money, _) => Refusal::QuotaSpent { budget: text },
        // How long the exchanges under way will last is not known, only when a ledger would give them up.
        (Unit::Concurrent, _) => Refusal::RateLimited { unit, limit: text, retry_after_ms: 1_000 },
        (_, Some(retry_after_ms)) => Refusal::RateLimited { unit, limit: text, retry_after_ms },
        (_, None) => Refusal::NeverFits { unit, limit: text },
    })
}
