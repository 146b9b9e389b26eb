//! Sending requests through `wasi:http`. Timeouts are the platform's to keep: it sees the connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use super::clock::nanoseconds;
use crate::{Client, Fault, Timeouts};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use wasip3::http::client;
use wasip3::http::types::{self, ErrorCode, Fields, Method, RequestOptions, Scheme};
use wasip3::http_compat::IncomingResponseBody;
use wasip3::{spawn, wit_future, wit_stream};

/// The client of `wasi:http`.
pub struct Wasi;

impl Client for Wasi {
    type Body = Incoming;

    async fn send(&self, request: Request<Bytes>, timeouts: Timeouts) -> Result<Response<Incoming>, Fault> {
        let (request, writing) = outgoing(request, timeouts)?;
        let answer = beside(writing, client::send(request)).await.map_err(|code| fault(&code))?;
        let mut response = Response::new(());
        *response.status_mut() =
            StatusCode::from_u16(answer.get_status_code()).map_err(|_| Fault::Malformed)?;
        *response.headers_mut() = headers(answer.get_headers().copy_all()).ok_or(Fault::Malformed)?;
        let body = IncomingResponseBody::new(answer).map_err(|_| Fault::Malformed)?;
        Ok(response.map(|()| Incoming { body, is_over: false }))
    }
}

/// Awaits the answer, and writes the body meanwhile; what an early answer leaves of it is written after.
///
/// Not spawned from the beginning: what is spawned has its first turn with the next event of the task, which here may be
/// the timeout.
async fn beside<T>(writing: impl Future<Output = ()> + 'static, answer: impl Future<Output = T>) -> T {
    let (mut writing, mut answer) = (Some(Box::pin(writing)), pin!(answer));
    let answer = poll_fn(|cx| {
        if writing.as_mut().is_some_and(|writing| writing.as_mut().poll(cx).is_ready()) {
            writing = None;
        }
        answer.as_mut().poll(cx)
    });
    let answer = answer.await;
    if let Some(rest) = writing {
        spawn(rest);
    }
    answer
}

/// A request, and the writing of its body.
fn outgoing(
    request: Request<Bytes>,
    timeouts: Timeouts,
) -> Result<(types::Request, impl Future<Output = ()> + use<>), Fault> {
    let (head, body) = request.into_parts();
    let (mut writer, contents) = wit_stream::new();
    let (ended, trailers) = wit_future::new(|| Ok(None));
    let options = RequestOptions::new();
    // A platform that cannot keep a timeout has its own.
    let _ = options.set_connect_timeout(Some(nanoseconds(timeouts.connect)));
    let _ = options.set_first_byte_timeout(Some(nanoseconds(timeouts.silence)));
    let _ = options.set_between_bytes_timeout(Some(nanoseconds(timeouts.silence)));
    let fields = fields(&head.headers).ok_or(Fault::Malformed)?;
    let (request, _) = types::Request::new(fields, Some(contents), trailers, Some(options));
    let scheme = match head.uri.scheme_str() {
        Some("http") => Scheme::Http,
        _ => Scheme::Https,
    };
    let path = head.uri.path_and_query().map(http::uri::PathAndQuery::as_str);
    let set = request.set_method(&Method::Post).is_ok()
        && request.set_scheme(Some(&scheme)).is_ok()
        && request.set_authority(head.uri.authority().map(http::uri::Authority::as_str)).is_ok()
        && request.set_path_with_query(path).is_ok();
    if !set {
        return Err(Fault::Malformed);
    }
    let writing = async move {
        // An upstream that wants no more of it has answered, or is gone: that is heard elsewhere.
        let _ = writer.write_all(body.to_vec()).await;
        drop(writer);
        let _ = ended.write(Ok(None)).await;
    };
    Ok((request, writing))
}

/// The body of an answer, while it arrives.
pub struct Incoming {
    body: IncomingResponseBody,
    is_over: bool,
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.is_over = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame.map(|frame| frame.map_err(|code| fault(&code))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

/// What an error of the platform is to the policy. [`Fault::Connect`] only where nothing can have been sent.
fn fault(code: &ErrorCode) -> Fault {
    match code {
        ErrorCode::DnsTimeout
        | ErrorCode::DnsError(_)
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpProhibited
        | ErrorCode::DestinationIpUnroutable
        | ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionLimitReached
        | ErrorCode::TlsProtocolError
        | ErrorCode::TlsCertificateError
        | ErrorCode::TlsAlertReceived(_)
        | ErrorCode::HttpRequestDenied => Fault::Connect,
        ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => Fault::Timeout,
        ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete | ErrorCode::InternalError(_) => {
            Fault::Closed
        }
        _ => Fault::Malformed,
    }
}

/// Headers as `http` has them; none if they are not headers.
pub(super) fn headers(fields: Vec<(String, Vec<u8>)>) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        map.append(name, HeaderValue::from_bytes(&value).ok()?);
    }
    Some(map)
}

/// Headers as WASI has them; none if it does not take them.
pub(super) fn fields(headers: &HeaderMap) -> Option<Fields> {
    let list: Vec<(String, Vec<u8>)> =
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    Fields::from_list(&list).ok()
}
