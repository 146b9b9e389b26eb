//! A simulated provider for `serve --demo` and for trying things: OpenAI-shaped, over real HTTP, with no account.
//!
//! It reads a request as strictly as it must and answers with text that is always the same. The model's name says
//! how: `sim-48t-30ms` answers 48 tokens, 30 ms apart; other names 24 tokens, 15 ms apart; `missing..` does not
//! exist; `fail-429`, `fail-500` and the like answer that status. It checks no key and belongs on the loopback
//! interface only.

mod ask;
mod chat;
mod embed;
mod error;
mod paced;
mod shape;
mod speech;
#[cfg(test)]
mod tests;
mod tools;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpListener;

use error::ApiError;

/// Larger requests are refused.
const BODY_LIMIT: usize = 64 << 20;

/// What `GET /v1/models` lists. Any other name works too.
const MODELS: [&str; 4] = ["gpt-4o", "gpt-4o-mini", "sim-24t-15ms", "text-embedding-3-small"];

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Answers every connection of the listener, for as long as the future is polled.
pub async fn serve(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, or the client was gone again: both pass.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Small frames must not wait for the acknowledgement of the one before. If it fails they are late, no more.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            // A client that leaves ends its connection with an error; there is nobody to tell.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let mut response = route(request).await.unwrap_or_else(ApiError::into_response);
    let headers = response.headers_mut();
    headers.insert("openai-version", HeaderValue::from_static("2020-10-01"));
    if let Ok(id) = HeaderValue::from_str(&format!("req_sim_{}", next_number())) {
        headers.insert("x-request-id", id);
    }
    Ok(response)
}

async fn route(request: Request<Incoming>) -> Result<Response<Body>, ApiError> {
    let (head, body) = request.into_parts();
    match (&head.method, head.uri.path()) {
        (&Method::POST, "/v1/chat/completions") => chat::answer(&read(body).await?).await,
        (&Method::POST, "/v1/embeddings") => embed::answer(&read(body).await?),
        (&Method::GET, "/v1/models") => Ok(models()),
        (&Method::GET, path) => match path.strip_prefix("/v1/models/") {
            Some(id) => {
                ask::check_model(id)?;
                Ok(json(&Model::named(id)))
            }
            None => Err(ApiError::unknown_url("GET", path)),
        },
        (method, path) => Err(ApiError::unknown_url(method.as_str(), path)),
    }
}

async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    let whole = Limited::new(body, BODY_LIMIT).collect().await;
    Ok(whole.map_err(|_| ApiError::bad_request("The request body could not be read.", None))?.to_bytes())
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
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::from(text).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
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
