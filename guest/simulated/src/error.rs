//! What the simulated provider refuses, in OpenAI's shape.

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::{Body, json_with_status};

/// An answer that is an error.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    retry_after: Option<&'static str>,
    error: Inner,
}

#[derive(Debug, Serialize)]
struct Inner {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl ApiError {
    /// 400.
    pub fn bad_request(message: impl Into<String>, param: Option<&'static str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message.into(), "invalid_request_error", param, None)
    }

    /// 404 for a model.
    pub fn no_such_model(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist or you do not have access to it.");
        Self::new(StatusCode::NOT_FOUND, message, "invalid_request_error", None, Some("model_not_found"))
    }

    /// 404 for a path.
    pub fn unknown_url(method: &str, path: &str) -> Self {
        let message = format!("Invalid URL ({method} {path})");
        Self::new(StatusCode::NOT_FOUND, message, "invalid_request_error", None, Some("unknown_url"))
    }

    /// The failure a model's name asks for.
    pub fn asked_for(status: StatusCode) -> Self {
        if status == StatusCode::TOO_MANY_REQUESTS {
            let message = "Rate limit reached. Please try again in 1s.".to_owned();
            let error = Self::new(status, message, "requests", None, Some("rate_limit_exceeded"));
            return Self { retry_after: Some("1"), ..error };
        }
        let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
        Self::new(
            status,
            format!("The simulated provider was asked to fail with {status}."),
            kind,
            None,
            None,
        )
    }

    pub fn into_response(self) -> Response<Body> {
        #[derive(Serialize)]
        struct Outer {
            error: Inner,
        }
        let mut response = json_with_status(self.status, &Outer { error: self.error });
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }

    fn new(
        status: StatusCode,
        message: String,
        kind: &'static str,
        param: Option<&'static str>,
        code: Option<&'static str>,
    ) -> Self {
        Self { status, retry_after: None, error: Inner { message, kind, param, code } }
    }
}
