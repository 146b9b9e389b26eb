//! The listener for operators: keys, scopes, what is left of limits, the rows of the books, how the ledger is.
//!
//! It is a second listener, never a path of the first one, so that who can reach a model cannot reach this.
//! `openapi.json` beside this file describes it, and a test holds the two against each other. It has a credential of
//! its own; without one it serves loopback only, and there refuses whatever a web page could make a browser send.

mod guard;
mod reply;
mod routes;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tollgate_ledger::Store;

use self::guard::Guard;
use self::reply::Failed;
use crate::framing::{self, Guarded};
use crate::gateway::Gateway;
use crate::operator::Operator;

/// The most bytes of a request's body.
const BODY_LIMIT: usize = 64 << 10;

/// The most bytes of a request's head.
const HEAD_LIMIT: usize = 16 << 10;

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// A bound listener for operators.
pub struct Admin {
    listener: TcpListener,
    desk: Arc<Desk>,
}

/// What every request is served with.
struct Desk {
    guard: Guard,
    operator: Operator,
    store: Arc<dyn Store>,
    gateway: Gateway,
}

impl Admin {
    /// Listens at this address. `token` is the credential of operators; none: whoever reaches the listener.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(gateway: Gateway, listen: SocketAddr, token: Option<&str>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let store = gateway.store();
        let keys: Arc<dyn tollgate_ledger::keys::Keys> = Arc::clone(&store) as _;
        let operator = Operator::new(gateway.clone(), keys);
        let desk = Desk { guard: Guard::new(token), operator, store, gateway };
        Ok(Self { listener, desk: Arc::new(desk) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for ever.
    pub async fn serve(self) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "an operator's connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let desk = Arc::clone(&self.desk);
            let service = service_fn(move |request| {
                let desk = Arc::clone(&desk);
                async move { Ok::<_, Infallible>(desk.answer(request).await) }
            });
            let connection = http.serve_connection(TokioIo::new(Guarded::new(stream, HEAD_LIMIT)), service);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "an operator's connection ended early");
                }
            });
        }
    }
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answered = match self.guard.admits(&request) {
            Ok(()) => self.read_and_route(request).await,
            Err(failed) => Err(failed),
        };
        answered.unwrap_or_else(Failed::response)
    }

    async fn read_and_route(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failed> {
        if let Some(violation) = framing::violation(request.method()) {
            return Err(Failed::bad_request(violation.text()));
        }
        let (head, body) = request.into_parts();
        let read = tokio::time::timeout(PATIENCE, Limited::new(body, BODY_LIMIT).collect()).await;
        let body = match read {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(cause)) if cause.is::<LengthLimitError>() => return Err(Failed::too_large(BODY_LIMIT)),
            Ok(Err(_)) => return Err(Failed::bad_request("the body was cut off")),
            Err(_) => return Err(Failed::bad_request("the body did not arrive in time")),
        };
        if head.method != Method::GET && !body.is_empty() && !guard::is_json(&head.headers) {
            return Err(Failed::bad_request("a body must be sent as `content-type: application/json`"));
        }
        routes::route(self, &head, &body).await
    }
}
