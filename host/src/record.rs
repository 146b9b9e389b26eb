//! The line that every exchange leaves in the log. Never a body, never a key.

use std::time::Duration;

use crate::policy::wit;

/// What is known of an exchange when it ends.
#[derive(Default)]
pub(crate) struct Record {
    pub status: u16,
    pub first_byte: Option<Duration>,
    pub usage: Option<wit::Usage>,
}

impl Record {
    /// Writes it. Names follow OpenTelemetry's GenAI conventions where these have one.
    pub(crate) fn write(&self, request_id: &str, ending: wit::Ending, duration: Duration) {
        let outcome = match ending {
            wit::Ending::Undispatched => "undispatched",
            wit::Ending::Completed => "completed",
            wit::Ending::ClientLeft => "client_left",
            wit::Ending::UpstreamBroke => "upstream_broke",
            wit::Ending::PolicyFailed => "policy_failed",
        };
        let duration_us = micros(duration);
        match &self.usage {
            Some(usage) => tracing::info!(
                request_id,
                status = self.status,
                outcome,
                key = usage.key,
                "gen_ai.request.model" = usage.model,
                upstream = usage.upstream,
                "gen_ai.response.model" = usage.upstream_model,
                "gen_ai.usage.input_tokens" = usage.input_tokens,
                "gen_ai.usage.cache_read.input_tokens" = usage.cached_input_tokens,
                "gen_ai.usage.output_tokens" = usage.output_tokens,
                "gen_ai.usage.reasoning.output_tokens" = usage.reasoning_tokens,
                estimated = usage.estimated,
                charge_nano = usage.charge,
                currency = usage.currency,
                duration_us,
                first_byte_us = self.first_byte.map(micros),
                "exchange"
            ),
            None => tracing::info!(request_id, status = self.status, outcome, duration_us, "exchange"),
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
