//! A row of the books, as it stands in the table of charges.

use serde::Serialize;
use tollgate_ledger::{Entry, Unavailable};

use crate::database::Value;

/// settle once: a row that is there stays as it is.
pub(crate) const ADD: &str = "INSERT INTO charges (at_ms, request_id, key, model, upstream, upstream_model, \
                              input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, \
                              reasoning_tokens, estimated, charge_nano, currency, input_price, \
                              cached_input_price, cache_write_price, output_price, reasoning_price, \
                              price_since_ms, price_source, status, outcome, duration_ms, first_byte_ms) \
                              VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, \
                              ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25) ON CONFLICT DO NOTHING";

/// The values of [`ADD`].
pub(crate) fn values(entry: &Entry) -> [Value; 25] {
    [
        entry.at_ms.into(),
        entry.request_id.as_str().into(),
        entry.key.as_str().into(),
        entry.model.as_str().into(),
        entry.upstream.as_deref().into(),
        entry.upstream_model.as_deref().into(),
        entry.input_tokens.into(),
        entry.cached_input_tokens.into(),
        entry.cache_write_tokens.into(),
        entry.output_tokens.into(),
        entry.reasoning_tokens.into(),
        u64::from(entry.estimated).into(),
        entry.charge.into(),
        entry.currency.as_str().into(),
        entry.price.input.into(),
        entry.price.cached_input.into(),
        entry.price.cache_write.into(),
        entry.price.output.into(),
        entry.price.reasoning.into(),
        entry.price.since_ms.into(),
        entry.price.source.as_deref().into(),
        u64::from(entry.status).into(),
        entry.outcome.as_str().into(),
        entry.duration_ms.into(),
        entry.first_byte_ms.into(),
    ]
}

/// A value as JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, Unavailable> {
    serde_json::to_string(value)
        .map_err(|cause| Unavailable::new(format!("a row cannot be written: {cause}")))
}
