//! Sending a request to an upstream, and hearing its answer. Only this module touches credentials.

mod fault;
mod flowing;
mod link;
mod pool;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::connect::HttpConnector;
use tollgate_settings::Credential;

pub(crate) use self::flowing::Flowing;
use self::link::Outgoing;
use self::pool::Pool;
use crate::breakers::Calm;
use crate::config::UpstreamSettings;
use crate::latency::Latency;
use crate::policy::wit::Fault;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION")));

/// One configured endpoint of a provider, with its pool of connections.
pub(crate) struct Upstream {
    settings: UpstreamSettings,
    credential: Option<HeaderValue>,
    pool: Pool,
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
            .with_tls_config(settings.trust.client_config()?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let base = &settings.base_url;
        let pool = Pool::new(connector, base.scheme().clone(), base.authority().clone());
        Ok(Self {
            credential: credential.map(Credential::bearer),
            settings,
            pool,
            latency: Latency::default(),
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
        let answer = tokio::time::timeout(self.settings.timeout, self.pool.send(request)).await;
        let (answer, link) = answer.map_err(|_| Fault::Timeout)??;
        let (head, body) = answer.into_parts();
        let mut flowing = Flowing::new(body, link, self.settings.timeout);
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

    /// Keeps no connection that is of no use any more. To be called now and then.
    pub(crate) fn sweep(&self) {
        self.pool.sweep();
    }

    fn request(&self, path: &str, mut headers: HeaderMap, body: Bytes) -> Option<Outgoing> {
        let path = self.settings.base_url.join(path)?;
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(USER_AGENT, AGENT);
        if let Some(credential) = &self.credential {
            headers.insert(AUTHORIZATION, credential.clone());
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(path);
        *request.headers_mut() = headers;
        Some(request)
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

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("text/event-stream")
}
