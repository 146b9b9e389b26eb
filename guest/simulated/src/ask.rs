//! Reading a request: what is asked for, and how the model's name says to answer.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// How a model answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Output tokens, if nothing cuts them short.
    pub tokens: u64,
    /// Between two of them.
    pub gap: Duration,
}

impl Pace {
    /// `sim-48t-30ms`; 24 tokens and 15 ms for other names.
    pub fn of(model: &str) -> Self {
        let by_name = || {
            let (tokens, gap) = model.strip_prefix("sim-")?.split_once("t-")?;
            let tokens = tokens.parse::<u64>().ok()?.min(1_000_000);
            let gap = gap.strip_suffix("ms")?.parse::<u64>().ok()?.min(60_000);
            Some(Self { tokens, gap: Duration::from_millis(gap) })
        };
        by_name().unwrap_or(Self { tokens: 24, gap: Duration::from_millis(15) })
    }
}

/// Refuses the models that do not exist or are made to fail.
pub fn check_model(model: &str) -> Result<(), ApiError> {
    if model.starts_with("missing") {
        return Err(ApiError::no_such_model(model));
    }
    let status = model.strip_prefix("fail-").and_then(|status| status.parse().ok());
    match status.map(StatusCode::from_u16) {
        Some(Ok(status)) if status.is_client_error() || status.is_server_error() => {
            Err(ApiError::asked_for(status))
        }
        _ => Ok(()),
    }
}

/// A request's fields.
pub struct Fields(Map<String, Value>);

impl Fields {
    pub fn read(body: &[u8]) -> Result<Self, ApiError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::bad_request("The request body must be a JSON object.", None)),
            Err(error) => {
                let message = format!("We could not parse the JSON body of your request: {error}.");
                Err(ApiError::bad_request(message, None))
            }
        }
    }

    /// The model, which exists and does not fail.
    pub fn model(&self) -> Result<&str, ApiError> {
        let model = self.get("model").and_then(Value::as_str).filter(|model| !model.is_empty());
        let model = model.ok_or_else(|| ApiError::bad_request("you must provide a model parameter", None))?;
        check_model(model)?;
        Ok(model)
    }

    /// A field that is there and not null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub fn flag(&self, name: &'static str) -> Result<bool, ApiError> {
        self.get(name).map_or(Ok(false), |value| value.as_bool().ok_or_else(|| wrong(name, "a boolean")))
    }

    /// A whole number between two others.
    pub fn number(&self, name: &'static str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(wrong(name, &format!("a whole number from {least} to {most}"))),
        }
    }

    pub fn list(&self, name: &'static str) -> Result<&[Value], ApiError> {
        match self.get(name) {
            Some(Value::Array(list)) if !list.is_empty() => Ok(list),
            Some(_) => Err(wrong(name, "a non-empty array")),
            None => Err(ApiError::bad_request(format!("Missing required parameter: '{name}'."), Some(name))),
        }
    }
}

/// 400 for a field that is not what it must be.
pub fn wrong(name: &'static str, what: &str) -> ApiError {
    ApiError::bad_request(format!("Invalid value for '{name}': expected {what}."), Some(name))
}

/// The text of a message: its content, or the text of its content's parts.
pub fn text_of(message: &Value, text: &mut String) {
    match message.get("content") {
        Some(Value::String(content)) => text.push_str(content),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
            texts.for_each(|part| text.push_str(part));
        }
        _ => {}
    }
}
