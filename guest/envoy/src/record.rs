//! The line that every exchange leaves in Envoy's log, as JSON. Never a body, never a key.

use proxy_wasm::types::LogLevel;
use tollgate_ledger::Entry;

use crate::plugin::log;

/// A row of the books. Names follow OpenTelemetry's GenAI conventions where these have one.
pub fn row(row: &Entry) {
    let mut line = Line::of(&row.request_id, row.status, row.outcome.as_str());
    line.text("key", &row.key);
    line.text("gen_ai.request.model", &row.model);
    line.text_if("upstream", row.upstream.as_deref());
    line.text_if("gen_ai.response.model", row.upstream_model.as_deref());
    line.number("gen_ai.usage.input_tokens", row.input_tokens);
    line.number("gen_ai.usage.cache_read.input_tokens", row.cached_input_tokens);
    line.number("gen_ai.usage.cache_creation.input_tokens", row.cache_write_tokens);
    line.number("gen_ai.usage.output_tokens", row.output_tokens);
    line.number("gen_ai.usage.reasoning.output_tokens", row.reasoning_tokens);
    line.bare("estimated", if row.estimated { "true" } else { "false" });
    line.number("charge_nano", row.charge);
    line.text("currency", &row.currency);
    line.number("price_input_pico", row.price.input);
    line.number("price_cached_input_pico", row.price.cached_input);
    line.number("price_cache_write_pico", row.price.cache_write);
    line.number("price_output_pico", row.price.output);
    line.number("price_reasoning_pico", row.price.reasoning);
    line.number_if("price_since_ms", row.price.since_ms);
    line.text_if("price_source", row.price.source.as_deref());
    line.number("duration_ms", row.duration_ms);
    line.number_if("first_byte_ms", row.first_byte_ms);
    line.write();
}

/// An exchange that has no row, because nothing was held for it.
pub fn refused(request_id: &str, status: u16) {
    Line::of(request_id, status, "undispatched").write();
}

/// An object under way. It is written straight into its line: every exchange has one.
struct Line(String);

impl Line {
    fn of(request_id: &str, status: u16, outcome: &str) -> Self {
        let mut line = Self(String::with_capacity(1_024));
        line.0.push_str("{\"message\":\"exchange\"");
        line.text("request_id", request_id);
        line.number("status", status.into());
        line.text("outcome", outcome);
        line
    }

    /// A member whose value is as it stands in JSON.
    fn bare(&mut self, name: &str, value: &str) {
        for part in [",\"", name, "\":", value] {
            self.0.push_str(part);
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.bare(name, &value.to_string());
    }

    fn number_if(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(name, value);
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        self.bare(name, "\"");
        let mut plain = value;
        while let Some(at) = plain.find(|c: char| c == '"' || c == '\\' || c.is_control()) {
            let (before, rest) = plain.split_at(at);
            self.0.push_str(before);
            let mut rest = rest.chars();
            if let Some(special) = rest.next() {
                self.escape(special);
            }
            plain = rest.as_str();
        }
        self.0.push_str(plain);
        self.0.push('"');
    }

    fn text_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// RFC 8259, section 7: any character of the basic plane may be written by its number, and these all are of it.
    fn escape(&mut self, special: char) {
        self.0.push_str(&format!("\\u{:04x}", u32::from(special)));
    }

    fn write(mut self) {
        self.0.push('}');
        log(LogLevel::Info, &self.0);
    }
}
