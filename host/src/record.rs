//! The line that every exchange leaves in the log. Never a body, never a key.

use std::sync::Arc;
use std::time::Duration;

use tollgate_ledger::{Entry, Outcome};

/// What is known of an exchange when it ends.
#[derive(Default)]
pub(crate) struct Record {
    pub status: u16,
    pub first_byte: Option<Duration>,
    /// Who called for what, once it was admitted.
    pub opening: Option<Arc<Entry>>,
}

impl Record {
    /// Writes it; `row` is there if claims were granted. Names follow OpenTelemetry's GenAI conventions where these
    /// have one.
    pub(crate) fn write(&self, request_id: &str, row: Option<&Entry>, outcome: Outcome, duration: Duration) {
        let outcome = row.map_or(outcome, |row| row.outcome).as_str();
        let duration_us = micros(duration);
        match row {
            Some(row) => tracing::info!(
                request_id,
                status = self.status,
                outcome,
                key = row.key,
                "gen_ai.request.model" = row.model,
                upstream = row.upstream,
                "gen_ai.response.model" = row.upstream_model,
                "gen_ai.usage.input_tokens" = row.input_tokens,
                "gen_ai.usage.cache_read.input_tokens" = row.cached_input_tokens,
                "gen_ai.usage.cache_creation.input_tokens" = row.cache_write_tokens,
                "gen_ai.usage.output_tokens" = row.output_tokens,
                "gen_ai.usage.reasoning.output_tokens" = row.reasoning_tokens,
                estimated = row.estimated,
                charge_nano = row.charge,
                currency = row.currency,
                price_input_pico = row.price.input,
                price_cached_input_pico = row.price.cached_input,
                price_cache_write_pico = row.price.cache_write,
                price_output_pico = row.price.output,
                price_reasoning_pico = row.price.reasoning,
                price_since_ms = row.price.since_ms,
                price_source = row.price.source,
                duration_us,
                first_byte_us = self.first_byte.map(micros),
                "exchange"
            ),
            None => tracing::info!(
                request_id,
                status = self.status,
                outcome,
                key = self.opening.as_ref().map(|opening| opening.key.as_str()),
                "gen_ai.request.model" = self.opening.as_ref().map(|opening| opening.model.as_str()),
                duration_us,
                "exchange"
            ),
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
