//! The body of a response: whole, or flowing from an upstream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::platform::Platform;
use crate::relay::{Cut, Relay};

/// The body of every response.
pub struct Body<P: Platform>(Kind<P>);

enum Kind<P: Platform> {
    Whole(Option<Bytes>),
    Relay(Box<Relay<P>>),
}

impl<P: Platform> Body<P> {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    pub(crate) fn relay(relay: Relay<P>) -> Self {
        Self(Kind::Relay(Box::new(relay)))
    }
}

/// A body that is here.
impl<P: Platform> From<Bytes> for Body<P> {
    fn from(bytes: Bytes) -> Self {
        Self::whole(bytes)
    }
}

impl<P: Platform> http_body::Body for Body<P> {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Relay(relay) => relay.poll_chunk(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Relay(relay) => relay.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.as_ref().map_or(0, Bytes::len)).unwrap_or(u64::MAX))
            }
            Kind::Relay(_) => SizeHint::default(),
        }
    }
}
