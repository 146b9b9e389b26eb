//! A client's request as `http` has it. The path stays as it was sent; where it was sent to says nothing.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::{PathAndQuery, Uri};
use http_body::{Frame, SizeHint};
use wasip3::http::types::{self, ErrorCode};
use wasip3::http_compat::IncomingRequestBody;

use super::client::headers;

/// Takes a request apart.
pub fn request(request: types::Request) -> Result<http::Request<Incoming>, ErrorCode> {
    let malformed = || ErrorCode::HttpRequestUriInvalid;
    let path = request.get_path_with_query().unwrap_or_else(|| "/".to_owned());
    let path: PathAndQuery = path.parse().map_err(|_| malformed())?;
    let method = request.get_method().try_into().map_err(|_| ErrorCode::HttpRequestMethodInvalid)?;
    let headers = headers(request.get_headers().copy_all()).ok_or(ErrorCode::HttpProtocolError)?;
    // A length that is ambiguous is refused before the body is read, in the policy's words.
    let body = IncomingRequestBody::new(request).map_or(Incoming(None), |body| Incoming(Some(body)));
    let mut taken = http::Request::new(body);
    *taken.method_mut() = method;
    *taken.uri_mut() = Uri::from(path);
    *taken.headers_mut() = headers;
    Ok(taken)
}

/// A client's body, if its framing can be read.
pub struct Incoming(Option<IncomingRequestBody>);

/// What was wrong with a body, for the client.
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The request body could not be read.")
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Unreadable;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unreadable>>> {
        match &mut self.0 {
            Some(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|_| Unreadable)))
            }
            None => Poll::Ready(Some(Err(Unreadable))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        // The platform tells the announced length as the most there can be; it is what there will be.
        let announced = self.0.as_ref().and_then(|body| body.size_hint().upper());
        announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
