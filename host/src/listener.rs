//! A second listener beside the one for clients: small requests with JSON, read whole before they are answered.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::framing::{self, Guarded};

/// The most bytes of a request's head.
const HEAD_LIMIT: usize = 16 << 10;

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// What answers requests.
pub(crate) trait Desk: Send + Sync + 'static {
    /// The most bytes of a body.
    const BODY_LIMIT: usize;

    /// What whoever may not come in gets, before the body is read.
    fn turns_away(&self, head: &Parts) -> Option<Response<Full<Bytes>>>;

    /// Answers one that did.
    fn answer(&self, head: Parts, body: Bytes) -> impl Future<Output = Response<Full<Bytes>>> + Send;

    /// Answers one that could not be read.
    fn unread(&self, why: Unread) -> Response<Full<Bytes>>;
}

/// Why a request could not be read.
pub(crate) enum Unread {
    /// It is not what it should be; the text says how.
    Malformed(&'static str),
    /// The body is larger than this many bytes.
    TooLarge(usize),
}

/// Serves for ever. `whose` names those who come, for the log.
pub(crate) async fn serve<D: Desk>(listener: TcpListener, desk: Arc<D>, whose: &'static str) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, whose, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Requests and answers are small and go to and fro: waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let desk = Arc::clone(&desk);
        let service = service_fn(move |request| {
            let desk = Arc::clone(&desk);
            async move { Ok::<_, Infallible>(answer(&*desk, request).await) }
        });
        let connection = http.serve_connection(TokioIo::new(Guarded::new(stream, HEAD_LIMIT)), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, whose, "a connection ended early");
            }
        });
    }
}

async fn answer<D: Desk>(desk: &D, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if let Some(refused) = desk.turns_away(&head) {
        return refused;
    }
    if let Some(violation) = framing::violation(&head.method) {
        return desk.unread(Unread::Malformed(violation.text()));
    }
    let read = tokio::time::timeout(PATIENCE, Limited::new(body, D::BODY_LIMIT).collect()).await;
    match read {
        Ok(Ok(body)) => desk.answer(head, body.to_bytes()).await,
        Ok(Err(cause)) if cause.is::<LengthLimitError>() => desk.unread(Unread::TooLarge(D::BODY_LIMIT)),
        Ok(Err(_)) => desk.unread(Unread::Malformed("the body was cut off")),
        Err(_) => desk.unread(Unread::Malformed("the body did not arrive in time")),
    }
}
