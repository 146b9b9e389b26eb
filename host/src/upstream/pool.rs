//! The connections to one upstream: taken for an exchange, given back after it, kept for a while.
//!
//! Over HTTP/1.1 an exchange has a connection for itself; over HTTP/2, which only TLS can agree on, all share one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, Scheme, Uri};
use http::{HeaderValue, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service as _;

use super::fault;
use super::link::{Link, Outgoing, Stream};
use crate::lane;
use crate::policy::wit::Fault;

/// How long a connection is kept that nobody uses.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

type Shared = http2::SendRequest<Full<Bytes>>;

/// All connections to one upstream.
pub(super) struct Pool {
    connector: HttpsConnector<HttpConnector>,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    kept: Arc<Kept>,
}

/// Connections nobody uses at the moment, and one that all do.
#[derive(Default)]
struct Kept {
    /// By lane; the last used is the first to be used again.
    idle: Mutex<Vec<VecDeque<Idle>>>,
    shared: Mutex<Option<(Shared, Instant)>>,
}

/// A connection that can be used at once.
enum Way {
    Alone(Box<Link>),
    Shared(Shared),
}

struct Idle {
    link: Box<Link>,
    since: Instant,
}

/// A connection that an exchange has for itself until it gives it back. Dropped, it is closed.
pub(super) struct Lent {
    link: Box<Link>,
    from: Arc<Kept>,
}

impl Lent {
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        self.link.drive(cx);
    }

    /// Keeps it for another exchange, if it can serve one.
    pub(super) fn give_back(mut self) {
        if !self.link.is_idle() {
            // The last of the answer may be here, and not yet read.
            self.link.drive(&mut Context::from_waker(Waker::noop()));
        }
        if self.link.is_idle() {
            self.from.keep(self.link);
        }
    }
}

impl Pool {
    pub(super) fn new(
        connector: HttpsConnector<HttpConnector>,
        scheme: Scheme,
        authority: Authority,
    ) -> Self {
        let default = if scheme == Scheme::HTTPS { 443 } else { 80 };
        let is_default = authority.port_u16().is_none_or(|port| port == default);
        let host = if is_default { authority.host() } else { authority.as_str() };
        // An authority has no bytes that a header could not have.
        let host = HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static(""));
        Self { connector, scheme, authority, host, kept: Arc::default() }
    }

    /// Sends a request, whose target is a path, and waits for the head of its answer.
    ///
    /// A kept connection may have been closed by the other end. A request of which nothing was sent over it is sent
    /// over the next one; any other is not, for the upstream may have begun to work.
    pub(super) async fn send(
        &self,
        mut request: Outgoing,
    ) -> Result<(Response<Incoming>, Option<Lent>), Fault> {
        loop {
            let answer = match self.kept.take() {
                Some(Way::Alone(link)) => self.send_alone(link, request).await,
                Some(Way::Shared(shared)) => self.send_shared(shared, request).await,
                // Rare, and large: boxed, so that no exchange has to have room for it.
                None => return Box::pin(self.send_fresh(request)).await,
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failed(error.error())),
                },
            }
        }
    }

    async fn send_fresh(&self, request: Outgoing) -> Result<(Response<Incoming>, Option<Lent>), Fault> {
        let stream = self.connect().await?;
        let answer = if stream.connected().is_negotiated_h2() {
            let shared = self.share(stream).await.map_err(|error| failed(&error))?;
            self.send_shared(shared, request).await
        } else {
            let link = Link::begin(stream).await.map_err(|error| failed(&error))?;
            self.send_alone(Box::new(link), request).await
        };
        answer.map_err(|error| failed(error.error()))
    }

    async fn send_alone(
        &self,
        mut link: Box<Link>,
        mut request: Outgoing,
    ) -> Result<(Response<Incoming>, Option<Lent>), TrySendError<Outgoing>> {
        // It names the upstream only if it was to be sent over a shared connection before.
        if request.uri().authority().is_some() {
            let path = std::mem::take(request.uri_mut()).into_parts().path_and_query;
            *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
        }
        request.headers_mut().insert(HOST, self.host.clone());
        let answer = link.send(request).await?;
        Ok((answer, Some(Lent { link, from: Arc::clone(&self.kept) })))
    }

    async fn send_shared(
        &self,
        mut shared: Shared,
        mut request: Outgoing,
    ) -> Result<(Response<Incoming>, Option<Lent>), TrySendError<Outgoing>> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        (parts.scheme, parts.authority) = (Some(self.scheme.clone()), Some(self.authority.clone()));
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        request.headers_mut().remove(HOST);
        Ok((shared.try_send_request(request).await?, None))
    }

    async fn connect(&self) -> Result<Stream, Fault> {
        let to = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        let to = to.path_and_query("/").build().map_err(|_| Fault::Malformed)?;
        self.connector.clone().call(to).await.map_err(|error| {
            tracing::debug!(%error, cause = error.source().map(tracing::field::display), "no connection to an upstream");
            Fault::Connect
        })
    }

    /// Begins a connection for all.
    async fn share(&self, stream: Stream) -> hyper::Result<Shared> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let (shared, connection) = builder.timer(TokioTimer::new()).handshake(stream).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a shared connection to an upstream broke");
            }
        });
        *lock(&self.kept.shared) = Some((shared.clone(), Instant::now()));
        Ok(shared)
    }

    /// Closes what was idle for too long, and what the other end has closed.
    pub(super) fn sweep(&self) {
        for lane in lock(&self.kept.idle).iter_mut() {
            lane.retain_mut(|idle| {
                idle.link.drive(&mut Context::from_waker(Waker::noop()));
                idle.since.elapsed() < IDLE_LIMIT && idle.link.is_idle()
            });
        }
        lock(&self.kept.shared).take_if(|(shared, used)| shared.is_closed() || used.elapsed() >= IDLE_LIMIT);
    }
}

impl Kept {
    fn take(&self) -> Option<Way> {
        self.shared().map(Way::Shared).or_else(|| self.idle().map(Way::Alone))
    }

    fn idle(&self) -> Option<Box<Link>> {
        let idle = lock(&self.idle).get_mut(lane::current())?.pop_back()?;
        (idle.since.elapsed() < IDLE_LIMIT).then_some(idle.link)
    }

    fn keep(&self, link: Box<Link>) {
        let (mut lanes, lane) = (lock(&self.idle), lane::current());
        if lanes.len() <= lane {
            lanes.resize_with(lane.saturating_add(1), VecDeque::new);
        }
        if let Some(lane) = lanes.get_mut(lane) {
            lane.push_back(Idle { link, since: Instant::now() });
        }
    }

    fn shared(&self) -> Option<Shared> {
        let mut kept = lock(&self.shared);
        let (shared, used) = kept.as_mut().filter(|(shared, _)| !shared.is_closed())?;
        *used = Instant::now();
        Some(shared.clone())
    }
}

fn failed(error: &hyper::Error) -> Fault {
    let cause = std::error::Error::source(error).map(tracing::field::display);
    tracing::debug!(%error, cause, "no answer");
    fault::of(error)
}

/// Nothing under these locks panics.
fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
