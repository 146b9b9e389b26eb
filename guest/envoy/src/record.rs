//! The line that every exchange leaves in Envoy's log, as JSON. Never a body, never a key.

use proxy_wasm::types::LogLevel;
use serde_json::{Map, Value};
use tollgate_ledger::Entry;

use crate::plugin::log;

/// A row of the books. Names follow OpenTelemetry's GenAI conventions where these have one.
pub fn row(row: &Entry) {
    let mut line = line(&row.request_id, row.status, row.outcome.as_str());
    let mut put = |name: &str, value: Value| drop(line.insert(name.to_owned(), value));
    put("key", row.key.as_str().into());
    put("gen_ai.request.model", row.model.as_str().into());
    put("upstream", row.upstream.clone().into());
    put("gen_ai.response.model", row.upstream_model.clone().into());
    put("gen_ai.usage.input_tokens", row.input_tokens.into());
    put("gen_ai.usage.cache_read.input_tokens", row.cached_input_tokens.into());
    put("gen_ai.usage.cache_creation.input_tokens", row.cache_write_tokens.into());
    put("gen_ai.usage.output_tokens", row.output_tokens.into());
    put("gen_ai.usage.reasoning.output_tokens", row.reasoning_tokens.into());
    put("estimated", row.estimated.into());
    put("charge_nano", row.charge.into());
    put("currency", row.currency.as_str().into());
    put("price_input_pico", row.price.input.into());
    put("price_cached_input_pico", row.price.cached_input.into());
    put("price_cache_write_pico", row.price.cache_write.into());
    put("price_output_pico", row.price.output.into());
    put("price_reasoning_pico", row.price.reasoning.into());
    put("price_since_ms", row.price.since_ms.into());
    put("price_source", row.price.source.clone().into());
    put("duration_ms", row.duration_ms.into());
    put("first_byte_ms", row.first_byte_ms.into());
    write(line);
}

/// An exchange that has no row, because nothing was held for it.
pub fn refused(request_id: &str, status: u16) {
    write(line(request_id, status, "undispatched"));
}

fn line(request_id: &str, status: u16, outcome: &str) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("message".to_owned(), "exchange".into());
    line.insert("request_id".to_owned(), request_id.into());
    line.insert("status".to_owned(), status.into());
    line.insert("outcome".to_owned(), outcome.into());
    line
}

fn write(mut line: Map<String, Value>) {
    line.retain(|_, value| !value.is_null());
    log(LogLevel::Info, &Value::Object(line).to_string());
}
