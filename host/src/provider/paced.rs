//! A body whose frames come one by one, each at its time. Nothing runs while nobody reads, and a client that leaves
//! takes the rest with it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep};

/// Frames, each with the time since the one before.
pub struct Paced<I> {
    frames: I,
    /// The one that waits for its time.
    next: Option<Bytes>,
    due: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl<I: Iterator<Item = (Duration, Bytes)>> Paced<I> {
    pub fn new(frames: I) -> Self {
        let due = Instant::now();
        Self { frames, next: None, due, sleep: Box::pin(tokio::time::sleep_until(due)) }
    }
}

impl<I: Iterator<Item = (Duration, Bytes)> + Unpin> Body for Paced<I> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.next.is_none() {
            let Some((gap, frame)) = this.frames.next() else { return Poll::Ready(None) };
            this.next = Some(frame);
            if !gap.is_zero() {
                // From the time it was due, not from now: the pace does not drift.
                this.due += gap;
                this.sleep.as_mut().reset(this.due);
            }
        }
        ready!(this.sleep.as_mut().poll(cx));
        Poll::Ready(this.next.take().map(|frame| Ok(Frame::data(frame))))
    }
}
