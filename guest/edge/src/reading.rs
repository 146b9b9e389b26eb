//! Reading a client's request: a head that can be read in one way only, a body within a limit. How long it may take is for the platform to say.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Why there is no body.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is longer than this many bytes.
    TooLarge(u64),
    /// Its framing cannot be read; the text says why.
    Malformed(String),
}

/// Refuses a head whose framing can be read in two ways, as far as a platform lets it be seen.
pub(crate) fn unambiguous(headers: &HeaderMap) -> Result<(), String> {
    let count = |name: HeaderName| headers.get_all(name).iter().count();
    if count(CONTENT_LENGTH) > 1 {
        return Err("The request has more than one Content-Length header.".into());
    }
    if count(HOST) > 1 {
        return Err("The request has more than one Host header.".into());
    }
    if count(CONTENT_LENGTH) > 0 && count(TRANSFER_ENCODING) > 0 {
        return Err("The request has both Content-Length and Transfer-Encoding.".into());
    }
    let digits = |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if headers.get(CONTENT_LENGTH).is_some_and(|value| !digits(value)) {
        return Err("The Content-Length header is not one decimal number.".into());
    }
    Ok(())
}

/// Reads a body of at most `limit` bytes. A length announced beyond the limit is refused at once.
pub(crate) async fn read<B>(body: B, limit: u64) -> Result<Bytes, Unread>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    if body.size_hint().lower() > limit {
        return Err(Unread::TooLarge(limit));
    }
    let mut body = std::pin::pin!(body);
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    let mut length = 0_u64;
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|error| Unread::Malformed(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if length > limit {
            return Err(Unread::TooLarge(limit));
        }
        // A body in one frame, the usual case, is not copied.
        if first.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}
