//! Reading a client's body: all of it, within a limit. How long it may take is for the platform to say.

use bytes::{Bytes, BytesMut};

/// Why there is no body.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is longer than this many bytes.
    TooLarge(u64),
    /// Its framing cannot be read; the text says why.
    Malformed(String),
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
