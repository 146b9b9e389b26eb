//! Between HTTP and the interface: headers one way and the other, claims, edits. No decisions.
//!
//! The host compiles this file too, against its own bindings of the same interface.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_ledger::breaker::{BreakerRule, Health};
use tollgate_ledger::{Entry, Outcome, Price};

use crate::wit;

/// The client's headers that the policy asked for. One that is not visible ASCII is the client's mistake.
pub(crate) fn headers_for_guest<'h>(
    headers: &'h HeaderMap,
    wanted: &'h [HeaderName],
) -> Result<Vec<wit::HeaderParam<'h>>, String> {
    let mut list = Vec::new();
    for (place, name) in (0..).zip(wanted) {
        for value in headers.get_all(name) {
            let value = value
                .to_str()
                .map_err(|_| format!("the header {name} has bytes that are not visible ASCII"))?;
            list.push(wit::HeaderParam { name: place, value });
        }
    }
    Ok(list)
}

/// An upstream's headers that the policy asked for, without those that are no text.
pub(crate) fn readable_headers<'h>(
    headers: &'h HeaderMap,
    wanted: &'h [HeaderName],
) -> Vec<wit::HeaderParam<'h>> {
    let mut list = Vec::new();
    for (place, name) in (0..).zip(wanted) {
        for value in headers.get_all(name).iter().filter_map(|value| value.to_str().ok()) {
            list.push(wit::HeaderParam { name: place, value });
        }
    }
    list
}

/// Room for the headers of a message as they mostly are, made at once.
const USUAL_HEADERS: usize = 12;

/// Only the headers named.
pub(crate) fn pick(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut picked = HeaderMap::with_capacity(USUAL_HEADERS);
    for name in names {
        for value in headers.get_all(name) {
            picked.append(name, value.clone());
        }
    }
    picked
}

/// The most headers a policy may add to one answer.
const MOST_HEADERS: usize = 64;

/// Adds the policy's headers, which have these names. Headers that HTTP cannot carry, too many, or one whose name was not
/// said are a policy that does not work.
pub(crate) fn add_headers(
    to: &mut HeaderMap,
    headers: Vec<wit::HeaderResult>,
    names: &[HeaderName],
) -> Result<(), &'static str> {
    if headers.len() > MOST_HEADERS {
        return Err("the policy adds more headers than an answer can have");
    }
    for header in headers {
        let name = usize::try_from(header.name).ok().and_then(|place| names.get(place));
        let name = name.ok_or("the policy made a header whose name it had not said")?;
        let value = HeaderValue::try_from(header.value);
        let value = value.map_err(|_| "the policy made a header that HTTP cannot carry")?;
        to.append(name.clone(), value);
    }
    Ok(())
}

/// The body after the policy's edits; none if they do not fit it.
pub(crate) fn edited(body: &Bytes, edits: &[wit::Edit]) -> Option<Bytes> {
    if edits.is_empty() {
        return Some(body.clone());
    }
    let added: usize = edits.iter().map(|edit| edit.bytes.len()).sum();
    let mut out = BytesMut::with_capacity(body.len().saturating_add(added));
    let mut kept = 0;
    for edit in edits {
        let (start, end) = (usize::try_from(edit.start).ok()?, usize::try_from(edit.end).ok()?);
        if end < start {
            return None;
        }
        out.extend_from_slice(body.get(kept..start)?);
        out.extend_from_slice(&edit.bytes);
        kept = end;
    }
    out.extend_from_slice(body.get(kept..)?);
    Some(out.freeze())
}

/// A claim of the policy as the ledger takes it.
pub(crate) fn claim(claim: wit::Claim) -> tollgate_ledger::Claim {
    let rule = match claim.rule {
        wit::Rule::Window(wit::Window { limit, period_ms }) => {
            tollgate_ledger::Rule::Window { limit, period_ms }
        }
        wit::Rule::Budget(wit::Budget { limit, start_ms, end_ms }) => {
            tollgate_ledger::Rule::Budget { limit, start_ms, end_ms }
        }
        wit::Rule::Slots(limit) => tollgate_ledger::Rule::Slots { limit },
    };
    tollgate_ledger::Claim { cell: claim.cell, rule, amount: claim.amount }
}

/// A breaker of the policy as the ledger takes it.
pub(crate) fn breaker(breaker: wit::Breaker) -> BreakerRule {
    let wit::Breaker { failures, open_ms, probe_ms } = breaker;
    BreakerRule { failures, open_ms, probe_ms }
}

/// What a try tells an upstream's breaker.
pub(crate) fn health(health: wit::Health) -> Health {
    match health {
        wit::Health::Good => Health::Good,
        wit::Health::Bad => Health::Bad,
        wit::Health::Denied | wit::Health::Unknown => Health::Unknown,
    }
}

/// A usage record of the policy as a row of the books, as it stands if nobody settles the exchange.
pub(crate) fn entry(request_id: &str, at_ms: u64, usage: wit::Usage) -> Entry {
    Entry {
        request_id: request_id.to_owned(),
        at_ms,
        key: usage.key,
        model: usage.model,
        upstream: usage.upstream,
        upstream_model: usage.upstream_model,
        input_tokens: usage.input_tokens,
        cached_input_tokens: usage.cached_input_tokens,
        cache_write_tokens: usage.cache_write_tokens,
        output_tokens: usage.output_tokens,
        reasoning_tokens: usage.reasoning_tokens,
        estimated: usage.estimated,
        charge: usage.charge,
        currency: usage.currency,
        price: Price {
            input: usage.price.input,
            cached_input: usage.price.cached_input,
            cache_write: usage.price.cache_write,
            output: usage.price.output,
            reasoning: usage.price.reasoning,
            since_ms: usage.price.since_ms,
            source: usage.price.source,
        },
        ..Entry::default()
    }
}

/// How an exchange ended, as the books have it.
pub(crate) fn outcome(ending: wit::Ending) -> Outcome {
    match ending {
        wit::Ending::Undispatched => Outcome::Undispatched,
        wit::Ending::Completed => Outcome::Completed,
        wit::Ending::ClientLeft => Outcome::ClientLeft,
        wit::Ending::UpstreamBroke => Outcome::UpstreamBroke,
        wit::Ending::PolicyFailed => Outcome::PolicyFailed,
    }
}

/// What the ledger says of a claim, as the policy takes it.
pub(crate) fn standing(standing: &tollgate_ledger::Standing) -> wit::Standing {
    wit::Standing { remaining: standing.remaining, reset_ms: standing.reset_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(start: u32, end: u32, bytes: &str) -> wit::Edit {
        wit::Edit { start, end, bytes: bytes.as_bytes().to_vec() }
    }

    #[test]
    fn only_headers_that_http_can_carry_are_added() {
        let names = ["x-one", "x-two"].map(HeaderName::from_static);
        let added = |headers: &[(u32, &str)]| {
            let header = |&(name, value): &(u32, &str)| wit::HeaderResult { name, value: value.into() };
            let mut to = HeaderMap::new();
            add_headers(&mut to, headers.iter().map(header).collect(), &names).map(|()| to)
        };
        let map = added(&[(1, "a"), (0, "b"), (1, "c")]).unwrap();
        let text =
            |name: &str| map.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((text("x-one"), text("x-two")), (vec!["b"], vec!["a", "c"]));
        for place in [2, u32::MAX] {
            let unsaid = "the policy made a header whose name it had not said";
            assert_eq!(added(&[(0, "a"), (place, "b")]), Err(unsaid), "{place}");
        }
        for value in ["a\r\nx-evil: b", "\0", "\u{7f}"] {
            assert_eq!(
                added(&[(0, value)]),
                Err("the policy made a header that HTTP cannot carry"),
                "{value:?}"
            );
        }
        assert_eq!(added(&[(0, "a"); MOST_HEADERS]).unwrap().len(), MOST_HEADERS);
        assert_eq!(
            added(&[(0, "a"); MOST_HEADERS + 1]),
            Err("the policy adds more headers than an answer can have")
        );
    }

    #[test]
    fn edits_replace_and_insert_in_order() {
        let body = Bytes::from_static(b"0123456789");
        let edits = [edit(0, 0, "<"), edit(2, 4, "ab"), edit(10, 10, ">")];
        assert_eq!(edited(&body, &edits).unwrap(), "<01ab456789>");
    }

    #[test]
    fn a_body_without_edits_is_the_same_memory() {
        let body = Bytes::from_static(b"0123456789");
        assert_eq!(edited(&body, &[]).unwrap().as_ptr(), body.as_ptr());
    }

    #[test]
    fn edits_that_do_not_fit_are_refused() {
        let body = Bytes::from_static(b"0123456789");
        for edits in [
            vec![edit(4, 2, "")],
            vec![edit(0, 11, "")],
            vec![edit(11, 11, "")],
            vec![edit(5, 6, ""), edit(2, 3, "")],
        ] {
            assert_eq!(edited(&body, &edits), None, "{edits:?}");
        }
    }
}
