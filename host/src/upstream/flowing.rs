//! The body of an answer while it arrives.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::fault;
use super::pool::Lent;
use crate::policy::wit::Fault;

/// An answer that is no stream is read whole and judged with its body up to this many bytes.
const WHOLE_LIMIT: usize = 1 << 20;

/// A body that is still arriving. It ends in a fault when nothing comes for as long as the upstream's timeout.
pub(crate) struct Flowing {
    /// Read already, not yet passed on.
    read: VecDeque<Bytes>,
    body: Incoming,
    /// What the body comes through, unless it is shared.
    link: Option<Lent>,
    timeout: Duration,
    heard: Instant,
    /// Armed while nothing comes; moved lazily, so that a busy stream does not touch the timer.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Flowing {
    pub(super) fn new(body: Incoming, link: Option<Lent>, timeout: Duration) -> Self {
        Self { read: VecDeque::new(), body, link, timeout, heard: Instant::now(), alarm: None }
    }

    /// Reads to the end if that is within the limit; else keeps what was read.
    pub(super) async fn read_whole(&mut self) -> Result<Option<Bytes>, Fault> {
        let mut length = 0_usize;
        while !self.body.is_end_stream() {
            let Some(chunk) = std::future::poll_fn(|cx| self.poll_body(cx)).await.transpose()? else { break };
            length = length.saturating_add(chunk.len());
            self.read.push_back(chunk);
            if length > WHOLE_LIMIT {
                return Ok(None);
            }
        }
        self.give_back();
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
            let Poll::Ready(frame) = self.poll_frame(cx) else {
                ready!(self.poll_silence(cx));
                return Poll::Ready(Some(Err(Fault::Timeout)));
            };
            self.heard = Instant::now();
            match frame {
                Some(Ok(frame)) => {
                    // Trailers are not passed on.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(fault::of(&error)))),
                None => {
                    self.give_back();
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// What is here already, or what the connection brings now.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(link) = &mut self.link else { return Pin::new(&mut self.body).poll_frame(cx) };
        // Nobody but the connection fills the body, and nobody but we ask the connection: it wakes us.
        let mut asleep = Context::from_waker(Waker::noop());
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(&mut asleep) {
            return Poll::Ready(frame);
        }
        link.drive(cx);
        Pin::new(&mut self.body).poll_frame(&mut asleep)
    }

    /// Lets the connection be used again, once the answer has ended.
    fn give_back(&mut self) {
        if let Some(link) = self.link.take() {
            link.give_back();
        }
    }

    /// Ready when nothing was heard for the whole timeout.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let due = self.heard + self.timeout;
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            ready!(alarm.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
    }
}
