//! Sending a request to an upstream, and hearing its answer. Only this module touches credentials.

mod fault;
mod flowing;
mod link;
mod pool;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::connect::HttpConnector;

pub(crate) use self::flowing::Flowing;
use self::link::Outgoing;
use self::pool::Pool;
use crate::breakers::Calm;
use crate::config::{Credential, UpstreamSettings};
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
            .with_tls_config(settings.tls.client_config()?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let base = &settings.base_url;
        let pool = Pool::new(connector, base.scheme.clone(), base.authority.clone());
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

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("text/event-stream")
}
