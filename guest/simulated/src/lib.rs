//! What the simulated provider answers: OpenAI-shaped, with no account. It has no network and no clock: whoever serves
//! it waits as the answer says.
//!
//! It reads a request as strictly as it must and answers with text that is always the same. The model's name says
//! how: `sim-48t-30ms` answers 48 tokens, 30 ms apart; other names 24 tokens, 15 ms apart; `missing..` does not
//! exist; `fail-429`, `fail-500` and the like answer that status. It checks no key: it belongs where only the gateway
//! reaches it.

#![forbid(unsafe_code)]

mod ask;
mod chat;
mod embed;
mod error;
mod shape;
mod speech;
mod tools;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;

pub use ask::Pace;
use error::ApiError;
pub use speech::{tokens, words};

/// Larger requests are refused.
pub const BODY_LIMIT: usize = 64 << 20;

/// What `GET /v1/models` lists. Any other name works too.
const MODELS: [&str; 4] = ["gpt-4o", "gpt-4o-mini", "sim-24t-15ms", "text-embedding-3-small"];

/// The pieces of a body, each with the time since the one before.
pub type Frames = Box<dyn Iterator<Item = (Duration, Bytes)> + Send>;

type Body = Frames;

/// An answer, and how long it takes until it begins.
pub struct Answer {
    /// From the end of the request.
    pub wait: Duration,
    /// The answer.
    pub response: Response<Frames>,
}

/// Answers a request. Without a body, because it could not be read, it is refused.
#[must_use]
pub fn answer(method: &Method, path: &str, body: Option<&[u8]>) -> Answer {
    let routed = route(method, path, body);
    let mut answer = routed.unwrap_or_else(|error| Answer::at_once(error.into_response()));
    let headers = answer.response.headers_mut();
    headers.insert("openai-version", HeaderValue::from_static("2020-10-01"));
    if let Ok(id) = HeaderValue::from_str(&format!("req_sim_{}", next_number())) {
        headers.insert("x-request-id", id);
    }
    answer
}

impl Answer {
    fn at_once(response: Response<Frames>) -> Self {
        Self { wait: Duration::ZERO, response }
    }
}

fn route(method: &Method, path: &str, body: Option<&[u8]>) -> Result<Answer, ApiError> {
    let body = || body.ok_or_else(|| ApiError::bad_request("The request body could not be read.", None));
    match (method, path) {
        (&Method::POST, "/v1/chat/completions") => chat::answer(body()?),
        (&Method::POST, "/v1/embeddings") => embed::answer(body()?).map(Answer::at_once),
        (&Method::GET, "/v1/models") => Ok(Answer::at_once(models())),
        (&Method::GET, path) => match path.strip_prefix("/v1/models/") {
            Some(id) => {
                ask::check_model(id)?;
                Ok(Answer::at_once(json(&Model::named(id))))
            }
            None => Err(ApiError::unknown_url("GET", path)),
        },
        (method, path) => Err(ApiError::unknown_url(method.as_str(), path)),
    }
}

fn models() -> Response<Body> {
    #[derive(Serialize)]
    struct List {
        object: &'static str,
        data: [Model<'static>; MODELS.len()],
    }
    json(&List { object: "list", data: MODELS.map(Model::named) })
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

impl<'a> Model<'a> {
    const fn named(id: &'a str) -> Self {
        Self { id, object: "model", created: 1_700_000_000, owned_by: "simulated" }
    }
}

fn json(value: &impl Serialize) -> Response<Body> {
    let text = Bytes::from(serde_json::to_vec(value).unwrap_or_default());
    let length = HeaderValue::from(text.len());
    let mut response = Response::<Body>::new(Box::new(std::iter::once((Duration::ZERO, text))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, length);
    response
}

fn json_with_status(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut response = json(value);
    *response.status_mut() = status;
    response
}

/// A number no other call gets, for ids.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
