//! Sending a request to an upstream, and hearing its answer. Only this module touches credentials.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, Sleep};

use crate::breakers::Calm;
use crate::config::{Credential, UpstreamSettings};
use crate::latency::Latency;
use crate::policy::wit::Fault;

/// An answer that is no stream is read whole and judged with its body up to this many bytes.
const WHOLE_LIMIT: usize = 1 << 20;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION")));

/// One configured endpoint of a provider, with its pool of connections.
pub(crate) struct Upstream {
    settings: UpstreamSettings,
    credential: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// How long it takes to begin its answers.
    pub(crate) latency: Latency,
    /// What is known here of its breaker.
    pub(crate) calm: Calm,
}

impl Upstream {
    /// # Errors
    /// When the machine has no usable cryptography.
    pub(crate) fn new(
        settings: UpstreamSettings,
        credential: Option<&Credential>,
    ) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(settings.tls.client_config()?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .build(connector);
        let latency = Latency::default();
        Ok(Self {
            credential: credential.map(Credential::bearer),
            settings,
            client,
            latency,
            calm: Calm::default(),
        })
    }

    /// Whether these settings and this credential would make the same upstream again.
    pub(crate) fn is(&self, settings: &UpstreamSettings, credential: Option<&Credential>) -> bool {
        self.settings == *settings && self.credential == credential.map(Credential::bearer)
    }

    /// Sends a JSON body and waits for the answer: its head and, unless it is a stream or long, its body.
    ///
    /// # Errors
    /// What is between us and an answer.
    pub(crate) async fn send(&self, path: &str, headers: HeaderMap, body: Bytes) -> Result<Received, Fault> {
        let request = self.request(path, headers, body).ok_or(Fault::Malformed)?;
        let answer = tokio::time::timeout(self.settings.timeout, self.client.request(request))
            .await
            .map_err(|_| Fault::Timeout)?
            .map_err(|error| fault_of_client(&error))?;
        let (head, body) = answer.into_parts();
        let mut flowing = Flowing::new(body, self.settings.timeout);
        if is_event_stream(&head.headers) {
            return Ok(Received {
                status: head.status,
                headers: head.headers,
                answer: Answer::Flowing(flowing),
            });
        }
        let answer = match flowing.read_whole().await? {
            Some(bytes) => Answer::Whole(bytes),
            None => Answer::Flowing(flowing),
        };
        Ok(Received { status: head.status, headers: head.headers, answer })
    }

    fn request(&self, path: &str, mut headers: HeaderMap, body: Bytes) -> Option<Request<Full<Bytes>>> {
        let base = &self.settings.base_url;
        let uri = Uri::builder()
            .scheme(base.scheme.clone())
            .authority(base.authority.clone())
            .path_and_query(base.join(path)?)
            .build()
            .ok()?;
        headers.remove(HOST);
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(USER_AGENT, AGENT);
        if let Some(credential) = &self.credential {
            headers.insert(AUTHORIZATION, credential.clone());
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Some(request)
    }
}

/// Where an upstream is: everything before the path that a target adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    prefix: String,
}

impl BaseUrl {
    /// Reads an absolute `http` or `https` URL.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(format!("`{text}` is not an absolute URL; it must begin with https:// or http://"));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(format!("the scheme `{scheme}` is not supported; use https or http"));
        }
        if authority.as_str().contains('@') {
            return Err("a URL must not hold a user or password; use `api_key = { env = \"..\" }`".into());
        }
        let path = parts.path_and_query;
        if path.as_ref().is_some_and(|path| path.query().is_some()) {
            return Err(format!("`{text}` has a query; a base URL is only the part before the endpoint"));
        }
        let prefix = path.map_or(String::new(), |path| path.path().trim_end_matches('/').to_owned());
        Ok(Self { scheme, authority, prefix })
    }

    fn join(&self, path: &str) -> Option<PathAndQuery> {
        if self.prefix.is_empty() {
            return path.parse().ok();
        }
        PathAndQuery::try_from(format!("{}{path}", self.prefix)).ok()
    }
}

/// An answer of an upstream, as far as it is here.
pub(crate) struct Received {
    status: StatusCode,
    headers: HeaderMap,
    answer: Answer,
}

/// The body of an answer.
pub(crate) enum Answer {
    Whole(Bytes),
    Flowing(Flowing),
}

impl Received {
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn whole(&self) -> Option<&Bytes> {
        match &self.answer {
            Answer::Whole(bytes) => Some(bytes),
            Answer::Flowing(_) => None,
        }
    }

    pub(crate) fn into_body(self) -> Answer {
        self.answer
    }
}

/// A body that is still arriving. It ends in a fault when nothing comes for as long as the upstream's timeout.
pub(crate) struct Flowing {
    /// Read already, not yet passed on.
    read: VecDeque<Bytes>,
    body: Incoming,
    timeout: Duration,
    heard: Instant,
    /// Armed while nothing comes; moved lazily, so that a busy stream does not touch the timer.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Flowing {
    fn new(body: Incoming, timeout: Duration) -> Self {
        Self { read: VecDeque::new(), body, timeout, heard: Instant::now(), alarm: None }
    }

    /// Reads to the end if that is within the limit; else keeps what was read.
    async fn read_whole(&mut self) -> Result<Option<Bytes>, Fault> {
        let mut length = 0_usize;
        while !self.body.is_end_stream() {
            let Some(chunk) = std::future::poll_fn(|cx| self.poll_body(cx)).await.transpose()? else { break };
            length = length.saturating_add(chunk.len());
            self.read.push_back(chunk);
            if length > WHOLE_LIMIT {
                return Ok(None);
            }
        }
        if self.read.len() <= 1 {
            return Ok(Some(self.read.pop_front().unwrap_or_default()));
        }
        let mut whole = BytesMut::with_capacity(length);
        self.read.drain(..).for_each(|chunk| whole.extend_from_slice(&chunk));
        Ok(Some(whole.freeze()))
    }

    /// The next chunk; none at the end as the framing has it.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        match self.read.pop_front() {
            Some(chunk) => Poll::Ready(Some(Ok(chunk))),
            None => self.poll_body(cx),
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                ready!(self.poll_silence(cx));
                return Poll::Ready(Some(Err(Fault::Timeout)));
            };
            self.heard = Instant::now();
            match frame {
                Some(Ok(frame)) => {
                    // Trailers are not passed on.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(fault_of_hyper(&error)))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// Ready when nothing was heard for the whole timeout.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let due = self.heard + self.timeout;
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            ready!(alarm.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("text/event-stream")
}

fn fault_of_client(error: &hyper_util::client::legacy::Error) -> Fault {
    tracing::debug!(%error, cause = std::error::Error::source(error).map(tracing::field::display), "no answer");
    if error.is_connect() {
        return Fault::Connect;
    }
    std::error::Error::source(error)
        .and_then(|cause| cause.downcast_ref::<hyper::Error>())
        .map_or(Fault::Closed, fault_of_hyper)
}

fn fault_of_hyper(error: &hyper::Error) -> Fault {
    if error.is_parse() {
        return Fault::Malformed;
    }
    let io = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput) => Fault::Malformed,
        _ => Fault::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_keeps_its_prefix() {
        for (base, joined) in [
            ("https://api.example.com/v1", "/v1/chat/completions"),
            ("https://api.example.com/v1/", "/v1/chat/completions"),
            ("http://127.0.0.1:8000", "/chat/completions"),
            ("http://127.0.0.1:8000/", "/chat/completions"),
        ] {
            assert_eq!(BaseUrl::parse(base).unwrap().join("/chat/completions").unwrap(), joined, "{base}");
        }
    }

    #[test]
    fn a_base_url_that_could_mislead_is_refused() {
        for bad in
            ["", "api.example.com/v1", "/v1", "ftp://x/v1", "https://user:pass@x/v1", "https://x/v1?a=b"]
        {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
