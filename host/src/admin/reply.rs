//! Answers to operators: JSON, and errors in the shape of the API that clients know.

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde::Serialize;

use crate::operator::NotDone;

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    // Writing these to memory does not fail; an empty body would be seen at once.
    bytes(status, "application/json", serde_json::to_vec(body).unwrap_or_default())
}

/// An answer with this body.
pub(super) fn bytes(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Why there is no answer.
pub(crate) struct Failed {
    status: StatusCode,
    code: &'static str,
    message: String,
    problems: Vec<At>,
    allow: Option<&'static str>,
}

/// One thing that is wrong, and where.
#[derive(Serialize)]
struct At {
    at: String,
    message: String,
}

#[derive(Serialize)]
struct Envelope<'f> {
    error: Error<'f>,
}

#[derive(Serialize)]
struct Error<'f> {
    message: &'f str,
    code: &'static str,
    #[serde(skip_serializing_if = "<[At]>::is_empty")]
    problems: &'f [At],
}

impl Failed {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), problems: Vec::new(), allow: None }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn unauthorized() -> Self {
        let message = "the operators' credential is missing or wrong: send `authorization: Bearer <token>`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(super) fn forbidden() -> Self {
        let message = "this listener has no credential, so it answers programs on this machine that call it by its \
                       address, and no web page; give it one with `token` in `[admin]`";
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_url", "there is nothing here; see the OpenAPI description")
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// RFC 9110, section 15.5.6: such an answer names the methods that there are.
    pub(super) fn wrong_method(allow: &'static str) -> Self {
        let message = format!("this path takes {allow}");
        let failed = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_supported", message);
        Self { allow: Some(allow), ..failed }
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let error = Error { message: &self.message, code: self.code, problems: &self.problems };
        let mut response = json(self.status, &Envelope { error });
        if let Some(allow) = self.allow {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<NotDone> for Failed {
    fn from(reason: NotDone) -> Self {
        let (status, code) = match &reason {
            NotDone::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            NotDone::Exists(_) => (StatusCode::CONFLICT, "exists"),
            NotDone::Revoked(_) => (StatusCode::CONFLICT, "revoked"),
            NotDone::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            NotDone::Busy(_) => (StatusCode::CONFLICT, "busy"),
            NotDone::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable"),
            NotDone::Broken(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
        };
        let message = reason.to_string();
        let problems = match reason {
            NotDone::Invalid(problems) => {
                problems.into_iter().map(|problem| At { at: problem.at, message: problem.message }).collect()
            }
            _ => Vec::new(),
        };
        Self { status, code, message, problems, allow: None }
    }
}

impl From<tollgate_ledger::Unavailable> for Failed {
    fn from(unavailable: tollgate_ledger::Unavailable) -> Self {
        NotDone::Unavailable(unavailable).into()
    }
}
