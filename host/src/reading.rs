//! Reading a client's body: all of it, within a limit and a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

/// Why there is no body.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is longer than this many bytes.
    TooLarge(u64),
    /// It did not arrive in time.
    TooSlow,
    /// Its framing cannot be read; the text says why.
    Malformed(String),
}

/// Reads a body of at most `limit` bytes within `time`. A length announced beyond the limit is refused at once.
pub(crate) async fn read<B>(body: B, limit: u64, time: Duration) -> Result<Bytes, Unread>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::error::Error + 'static,
{
    if body.size_hint().lower() > limit {
        return Err(Unread::TooLarge(limit));
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    tokio::time::timeout(time, collect(body, limit)).await.unwrap_or(Err(Unread::TooSlow))
}

async fn collect<B>(body: B, limit: u64) -> Result<Bytes, Unread>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::error::Error + 'static,
{
    let mut body = std::pin::pin!(body);
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    let mut length = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Unread::Malformed(root_cause(&error)))?;
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

/// The innermost cause: what was wrong with the bytes, rather than who noticed.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
