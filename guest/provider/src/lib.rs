//! The simulated provider as a component: with it, `spin up` answers without an account.
//!
//! What it answers is the business of `tollgate-simulated`; here it is served, each piece in its time. Only the
//! gateway's component can reach it, for it has no route.
#![allow(unsafe_code, reason = "the export that wit-bindgen writes reads the canonical ABI's raw memory")]

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::http_service;
use spin_sdk::wasip3::clocks::monotonic_clock;
use tollgate_simulated::{Answer, BODY_LIMIT, Frames};

#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let (head, body) = request.into_parts();
    let body = read(body).await;
    let Answer { wait, response } =
        tollgate_simulated::answer(&head.method, head.uri.path(), body.as_deref());
    pause(wait).await;
    response.map(Paced::new)
}

async fn read(body: impl Body<Data = Bytes> + Unpin) -> Option<Bytes> {
    let (mut body, mut whole) = (body, BytesMut::new());
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            whole.extend_from_slice(&data);
        }
        if whole.len() > BODY_LIMIT {
            return None;
        }
    }
    Some(whole.freeze())
}

async fn pause(span: Duration) {
    if !span.is_zero() {
        monotonic_clock::wait_for(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)).await;
    }
}

/// A body whose pieces come one by one, each at its time. Nothing runs while nobody reads.
struct Paced {
    frames: Frames,
    /// The one that waits for its time.
    next: Option<(Pause, Bytes)>,
}

type Pause = Pin<Box<dyn Future<Output = ()>>>;

impl Paced {
    fn new(frames: Frames) -> Self {
        Self { frames, next: None }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.next.is_none() {
            let Some((gap, frame)) = self.frames.next() else { return Poll::Ready(None) };
            self.next = Some((Box::pin(pause(gap)), frame));
        }
        if let Some((due, _)) = &mut self.next {
            ready!(due.as_mut().poll(cx));
        }
        Poll::Ready(self.next.take().map(|(_, frame)| Ok(Frame::data(frame))))
    }
}
