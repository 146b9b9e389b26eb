//! The words the sentences are made of: claims and rows as they are used here, and the store asked in one line.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tollgate_ledger::{
    Charge, Claim, Entry, Hold, Pending, Position, Price, Query, Raise, Reservation, Rule, Settled, Standing,
    Store,
};

/// The period of [`window`], in milliseconds.
pub const MINUTE: u64 = 60_000;

/// The lease of a hold, in milliseconds.
pub const LEASE: u64 = 300_000;

/// A moment at the very beginning of a bucket of a minute's window.
pub const NOW: u64 = 1_700_000_000_000 / 2_000 * 2_000;

/// When the period of [`budget`] ends.
pub const END: u64 = NOW + 86_400_000;

/// A claim of so many requests or tokens a minute.
#[must_use]
pub fn window(cell: &str, limit: u64, amount: u64) -> Claim {
    Claim { cell: cell.into(), rule: Rule::Window { limit, period_ms: MINUTE }, amount }
}

/// A claim of money in the period that [`NOW`] lies in.
#[must_use]
pub fn budget(cell: &str, limit: u64, amount: u64) -> Claim {
    Claim { cell: cell.into(), rule: Rule::Budget { limit, start_ms: NOW - 1_000, end_ms: END }, amount }
}

/// A claim of places.
#[must_use]
pub fn slots(cell: &str, limit: u64, amount: u64) -> Claim {
    Claim { cell: cell.into(), rule: Rule::Slots { limit }, amount }
}

/// The row of an exchange as it stands if nobody ever settles it.
#[must_use]
pub fn entry(id: &str, charge: u64) -> Entry {
    Entry {
        request_id: id.to_owned(),
        at_ms: NOW,
        key: "acme/ml/alice".to_owned(),
        model: "small".to_owned(),
        input_tokens: charge,
        output_tokens: charge,
        estimated: true,
        charge,
        currency: "USD".to_owned(),
        price: Price {
            input: 2_800,
            cached_input: 1_400,
            cache_write: 3_500,
            output: 11_200,
            reasoning: 22_400,
            since_ms: Some(1_767_225_600_000),
            source: Some("a page; 1 USD = 150.2 JPY".into()),
        },
        ..Entry::default()
    }
}

/// Holds the claims for the named exchange.
pub async fn reserve(store: &dyn Store, id: &str, claims: &[Claim], now: u64) -> Reservation {
    let entry = Arc::new(entry(id, claims.first().map_or(0, |claim| claim.amount)));
    store.reserve(Hold { entry: &entry, claims, lease_ms: LEASE }, now).await.unwrap()
}

/// Whether the claims are held now.
pub async fn granted(store: &dyn Store, id: &str, claims: &[Claim], now: u64) -> bool {
    is_granted(&reserve(store, id, claims, now).await)
}

/// Whether it is.
#[must_use]
pub fn is_granted(reservation: &Reservation) -> bool {
    matches!(reservation, Reservation::Granted { .. })
}

/// Raises the named exchange's hold to these claims. Its row is charged what the first of them holds then.
pub async fn raise(store: &dyn Store, id: &str, claims: &[Claim], now: u64) -> Raise {
    let entry = Arc::new(entry(id, claims.first().map_or(0, |claim| claim.amount)));
    store.raise(Hold { entry: &entry, claims, lease_ms: LEASE }, now).await.unwrap()
}

/// Whether all of it is held then.
pub async fn raised(store: &dyn Store, id: &str, claims: &[Claim], now: u64) -> bool {
    matches!(raise(store, id, claims, now).await, Raise::Granted { .. })
}

/// Settles the named exchange.
pub async fn settle(store: &dyn Store, id: &str, charge: Charge<'_>, now: u64) -> Settled {
    store.settle(&Arc::new(entry(id, 0)), charge, now).await.unwrap()
}

/// What is left for a claim like this one.
pub async fn standing(store: &dyn Store, claim: Claim, now: u64) -> Standing {
    store.standings(&[claim], now).await.unwrap()[0]
}

/// Units that are left for a claim like this one.
pub async fn remaining(store: &dyn Store, claim: Claim, now: u64) -> u64 {
    standing(store, claim, now).await.remaining
}

/// The rows that match, once everything is written.
pub async fn rows(store: &dyn Store, query: &Query) -> Vec<Entry> {
    store.flush().await.unwrap();
    store.charges(query).await.unwrap()
}

/// Every row.
pub async fn all_rows(store: &dyn Store) -> Vec<Entry> {
    rows(store, &Query { limit: usize::MAX, ..Query::default() }).await
}

/// A reservation without its position, which is each store's own.
#[must_use]
pub fn placeless(reservation: Reservation) -> Reservation {
    match reservation {
        Reservation::Granted { standings, .. } => {
            Reservation::Granted { standings, position: Position::default() }
        }
        limited @ Reservation::Limited { .. } => limited,
    }
}

/// All of the answers, asked for at the same time.
pub async fn together<'a, T: 'a>(pending: impl IntoIterator<Item = Pending<'a, T>>) -> Vec<T> {
    let mut asked: Vec<(Option<Pending<'a, T>>, Option<T>)> =
        pending.into_iter().map(|pending| (Some(pending), None)).collect();
    poll_fn(|context| {
        let mut waits = false;
        for (pending, answer) in &mut asked {
            match pending.as_mut().map(|pending| pending.as_mut().poll(context)) {
                Some(Poll::Ready(ready)) => (*pending, *answer) = (None, Some(ready.unwrap())),
                Some(Poll::Pending) => waits = true,
                None => {}
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    asked.into_iter().filter_map(|(_, answer)| answer).collect()
}
