//! The gateway as a service.

mod builder;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use tollgate_document::Problem;
use tollgate_ledger::{Condition, Store};

pub use self::builder::{Builder, Loaded};
use crate::body::Body;
use crate::config::Config;
use crate::exchange::{self, Exchange, Failure};
use crate::generation::{Generation, NotLoaded};
use crate::shell::Shell;

/// How often leases are looked at, at least.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// How long the end of a server waits for its ledger.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

/// A gateway: cheap to clone, and a [`tower_service::Service`] that any server of `http` types can mount.
#[derive(Clone)]
pub struct Gateway {
    shell: Arc<Shell>,
}

impl Gateway {
    /// Begins to make a gateway from the text of a configuration file.
    pub fn builder(config: impl Into<String>) -> Builder {
        Builder::new(config.into())
    }

    /// Puts another configuration in force. Exchanges under way end with the one they began with.
    ///
    /// # Errors
    /// As [`Builder::build`]; then the present configuration stays.
    pub fn reload(&self, config: &str) -> Result<(), NotLoaded> {
        self.shell.reload(config)
    }

    /// The shell's part of the configuration in force.
    pub fn config(&self) -> Config {
        self.shell.generation().config.clone()
    }

    /// What an operator should know of the configuration in force although nothing is wrong with it.
    pub fn notes(&self) -> Vec<Problem> {
        self.shell.generation().policy.notes().to_vec()
    }

    /// The time as the gateway tells it, in milliseconds since the epoch.
    pub fn now(&self) -> u64 {
        (self.shell.clock)()
    }

    /// Where books and keys are kept.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.shell.store)
    }

    pub(crate) fn generation(&self) -> Arc<Generation> {
        self.shell.generation()
    }

    /// Keeps the leases of exchanges under way, and closes holds whose lease has passed and connections that are of no
    /// use any more, for ever. [`crate::Server`] does this by itself; who mounts the gateway elsewhere runs it beside.
    pub async fn tend(&self) {
        loop {
            let generation = self.shell.generation();
            let lease = generation.config.lease;
            generation.upstreams.values().for_each(|upstream| upstream.sweep());
            drop(generation);
            tokio::time::sleep(TEND_EVERY.min(lease / 4)).await;
            self.shell.books.renew(lease, self.now()).await;
            match self.shell.store.expire(self.now()).await {
                Ok(0) => {}
                Ok(lost) => {
                    tracing::warn!(
                        lost,
                        "exchanges were not settled before their lease passed; they are charged as held"
                    );
                }
                Err(cause) => tracing::debug!(%cause, "leases could not be looked at"),
            }
        }
    }

    /// Says on `/readyz` that no more requests should come.
    pub fn drain(&self) {
        self.shell.drain();
    }

    /// Waits until every settlement under way is in the ledger, and survives a crash there; for ten seconds at most.
    pub async fn settled(&self) {
        let written = async {
            self.shell.books.written().await;
            self.shell.store.flush().await
        };
        match tokio::time::timeout(SETTLE_WITHIN, written).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => tracing::error!(%cause, "the ledger did not write what it has"),
            Err(_) => tracing::error!("the ledger did not write what it has in time"),
        }
    }

    /// The policy's reply to a request that the server could not even read.
    pub(crate) fn refuse(&self, failure: &Failure) -> Response<Body> {
        Exchange::begin(Arc::clone(&self.shell)).refuse(failure)
    }

    fn probe(&self, path: &str) -> Response<Body> {
        let (status, text): (u16, String) = if path == "/healthz" {
            (200, "ok\n".into())
        } else if self.shell.is_draining() {
            (503, "draining\n".into())
        } else {
            match self.shell.store.condition() {
                Condition::Sound => (200, "ok\n".into()),
                // It still serves who has no budget; taking every server away would serve nobody.
                Condition::Degraded(why) => (200, format!("degraded: {why}\n")),
                Condition::Down(why) => (503, format!("the ledger is down: {why}\n")),
            }
        };
        let mut response = Response::new(Body::whole(text.into()));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/plain"));
        response
    }
}

impl<B> tower_service::Service<Request<B>> for Gateway
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        if matches!(path, "/healthz" | "/readyz") && matches!(*request.method(), Method::GET | Method::HEAD) {
            let response = self.probe(path);
            return Box::pin(std::future::ready(Ok(response)));
        }
        let shell = Arc::clone(&self.shell);
        // Made where it is boxed: it is large, and would be copied.
        Box::pin(async move { Ok(exchange::serve(shell, request).await) })
    }
}
