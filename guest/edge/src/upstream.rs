//! Sending a request to an upstream, and hearing its answer. Only this module touches credentials.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use tollgate_settings::{BaseUrl, Credential, UpstreamSettings};

use crate::latency::Latency;
use crate::platform::{Client, Timeouts};
use crate::wit::Fault;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION")));

/// An answer that is no stream is read whole and judged with its body up to this many bytes.
const WHOLE_LIMIT: usize = 1 << 20;

/// One configured endpoint of a provider.
pub(crate) struct Upstream {
    base_url: BaseUrl,
    credential: Option<HeaderValue>,
    timeouts: Timeouts,
    pub(crate) latency: Latency,
}

impl Upstream {
    pub(crate) fn new(settings: &UpstreamSettings<()>, credential: Option<&Credential>) -> Self {
        Self {
            base_url: settings.base_url.clone(),
            credential: credential.map(Credential::bearer),
            timeouts: Timeouts { connect: settings.connect_timeout, silence: settings.timeout },
            latency: Latency::default(),
        }
    }

    /// Sends a JSON body and waits for the answer: its head and, unless it is a stream or long, its body.
    ///
    /// # Errors
    /// What is between us and an answer.
    pub(crate) async fn send<C: Client>(
        &self,
        client: &C,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Received<C::Body>, Fault> {
        let request = self.request(path, headers, body).ok_or(Fault::Malformed)?;
        let (head, body) = client.send(request, self.timeouts).await?.into_parts();
        let mut flowing = Flowing { read: VecDeque::new(), body };
        let is_whole = !is_event_stream(&head.headers);
        let whole = if is_whole { flowing.read_whole().await? } else { None };
        let answer = whole.map_or(Answer::Flowing(flowing), Answer::Whole);
        Ok(Received { status: head.status, headers: head.headers, answer })
    }

    fn request(&self, path: &str, mut headers: HeaderMap, body: Bytes) -> Option<Request<Bytes>> {
        // Always absolute: what a client sent as its host must not choose where this goes.
        let uri = Uri::builder()
            .scheme(self.base_url.scheme().clone())
            .authority(self.base_url.authority().clone())
            .path_and_query(self.base_url.join(path)?)
            .build()
            .ok()?;
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(USER_AGENT, AGENT);
        if let Some(credential) = &self.credential {
            headers.insert(AUTHORIZATION, credential.clone());
        }
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Some(request)
    }

    /// How long nothing may be heard of it, at most.
    pub(crate) fn longest_silence(&self) -> Duration {
        self.timeouts.connect.saturating_add(self.timeouts.silence)
    }
}

/// An answer of an upstream, as far as it is here.
pub(crate) struct Received<B> {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub answer: Answer<B>,
}

/// The body of an answer.
pub(crate) enum Answer<B> {
    Whole(Bytes),
    Flowing(Flowing<B>),
}

impl<B> Received<B> {
    pub(crate) fn whole(&self) -> Option<&Bytes> {
        match &self.answer {
            Answer::Whole(bytes) => Some(bytes),
            Answer::Flowing(_) => None,
        }
    }
}

/// A body that is still arriving.
pub(crate) struct Flowing<B> {
    /// Read already, not yet passed on.
    read: VecDeque<Bytes>,
    body: B,
}

impl<B: http_body::Body<Data = Bytes, Error = Fault> + Unpin> Flowing<B> {
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
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                // Trailers are not passed on, and an empty chunk says nothing.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                    _ => {}
                },
                Some(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                None => return Poll::Ready(None),
            }
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("text/event-stream")
}
