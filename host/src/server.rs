//! The HTTP/1.1 server around a gateway: connections, their limits, and an orderly end.

mod workers;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tollgate_settings::ServerSettings;
use tower_service::Service as _;

use self::workers::Workers;
use crate::again::Again;
use crate::body::Body;
use crate::exchange::Failure;
use crate::framing::{self, Guarded};
use crate::gateway::Gateway;

/// A bound listener and the gateway behind it.
pub struct Server {
    listener: TcpListener,
    gateway: Gateway,
    settings: ServerSettings,
    workers: Workers,
}

impl Server {
    /// Listens where the configuration says, or at `listen` if that is given.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(gateway: Gateway, listen: Option<SocketAddr>) -> std::io::Result<Self> {
        let settings = gateway.config().server;
        let listener = TcpListener::bind(listen.unwrap_or(settings.listen)).await?;
        Ok(Self { listener, gateway, settings, workers: Workers::default() })
    }

    /// Serves its connections on so many threads of its own, each with a runtime, instead of the caller's runtime.
    ///
    /// # Errors
    /// When the system has no room for them.
    pub fn on_threads(mut self, number: usize) -> std::io::Result<Self> {
        self.workers = Workers::start(number)?;
        Ok(self)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is ready; then accepts nothing more, lets exchanges under way end within the drain
    /// timeout, and waits for what is still to be settled.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let tended = self.gateway.clone();
        let tending = tokio::spawn(async move { tended.tend().await });
        let graceful = GracefulShutdown::new();
        let room =
            Arc::new(Semaphore::new(usize::try_from(self.settings.connections).unwrap_or(usize::MAX >> 4)));
        let http = self.http();
        let head_limit = usize::try_from(self.settings.head_limit).unwrap_or(usize::MAX);
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = accept(&self.listener, &room) => accepted,
            };
            let Some((stream, permit)) = accepted else { continue };
            let (http, gateway, watcher) = (http.clone(), self.gateway.clone(), graceful.watcher());
            let served = self.workers.serve(stream, move |stream| {
                let io = TokioIo::new(Guarded::new(stream, head_limit));
                let service = service_fn(move |request| answer(gateway.clone(), request));
                let connection = watcher.watch(http.serve_connection(io, service));
                Again::new(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    drop(permit);
                })
            });
            if let Err(error) = served {
                tracing::warn!(%error, "a connection could not be served");
            }
        }
        drop(self.listener);
        self.gateway.drain();
        tracing::info!(connections = graceful.count(), "draining");
        if tokio::time::timeout(self.settings.drain_timeout, graceful.shutdown()).await.is_err() {
            tracing::warn!("exchanges were still running at the end of the drain timeout; they are cut");
        }
        tending.abort();
        // What is cut is settled as well.
        drop(self.workers);
        self.gateway.settled().await;
    }

    fn http(&self) -> http1::Builder {
        let head_limit = usize::try_from(self.settings.head_limit).unwrap_or(usize::MAX);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.settings.head_timeout)
            // The guard refuses longer heads in the policy's words; hyper only needs room for what passes it.
            .max_buf_size(head_limit.saturating_add(16 << 10));
        http
    }
}

/// The next connection, once there is room for it. None: the client was gone again, or the system is out of
/// something, which passes.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Without it, delayed acknowledgements cost 40 ms a chunk.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps Nagle's algorithm");
            }
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn answer(mut gateway: Gateway, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if let Some(violation) = framing::violation(request.method()) {
        let what = violation.text().to_owned();
        let failure =
            if violation.too_large() { Failure::HeadTooLarge(what) } else { Failure::Malformed(what) };
        let mut response = gateway.refuse(&failure);
        response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
        return Ok(response);
    }
    gateway.call(request).await
}
