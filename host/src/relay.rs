//! An answer on its way to the client, chunk by chunk: the upstream's bytes, seen by the policy first.
//!
//! It reads the upstream only when the client has room (the server polls it), so a slow client slows the
//! upstream. Dropped before its end, it settles its exchange as one whose client left.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::exchange::Exchange;
use crate::policy::wit;
use crate::upstream::Flowing;

/// The answer broke off: what is said to the server, which then cuts the connection.
#[derive(Debug)]
pub struct Cut(&'static str);

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Cut {}

/// A flowing answer and its exchange.
pub(crate) struct Relay {
    exchange: Exchange,
    /// None once the upstream is done with, or let go.
    upstream: Option<Flowing>,
    inspect: bool,
}

impl Relay {
    pub(crate) fn new(exchange: Exchange, upstream: Flowing, inspect: bool) -> Self {
        Self { exchange, upstream: Some(upstream), inspect }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.upstream.is_none()
    }

    /// The next bytes for the client; none at the end of the body.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        loop {
            let Some(upstream) = &mut self.upstream else { return Poll::Ready(None) };
            let received = std::task::ready!(upstream.poll_chunk(cx));
            let step = match received {
                Some(Ok(bytes)) => self.chunk(bytes),
                Some(Err(fault)) => self.broken(fault),
                None => self.end(),
            };
            if let Some(bytes) = step.transpose() {
                self.exchange.first_byte();
                return Poll::Ready(Some(bytes));
            }
        }
    }

    fn chunk(&mut self, bytes: Bytes) -> Result<Option<Bytes>, Cut> {
        if !self.inspect {
            return Ok(Some(bytes));
        }
        match self.feed(wit::Piece::Chunk(&bytes))? {
            wit::Output::Pass => Ok(Some(bytes)),
            wit::Output::Replace(other) => Ok(some(other)),
            wit::Output::Stop(last) => Ok(self.stop(last, wit::Ending::Completed)),
        }
    }

    fn end(&mut self) -> Result<Option<Bytes>, Cut> {
        let output = if self.inspect { self.feed(wit::Piece::End)? } else { wit::Output::Pass };
        let last = match output {
            wit::Output::Pass => Vec::new(),
            wit::Output::Replace(last) | wit::Output::Stop(last) => last,
        };
        Ok(self.stop(last, wit::Ending::Completed))
    }

    fn broken(&mut self, fault: wit::Fault) -> Result<Option<Bytes>, Cut> {
        let output = if self.inspect { self.feed(wit::Piece::Broken(fault))? } else { wit::Output::Pass };
        match output {
            wit::Output::Pass => {
                self.stop(Vec::new(), wit::Ending::UpstreamBroke);
                Err(Cut("the upstream's answer broke off"))
            }
            wit::Output::Replace(last) | wit::Output::Stop(last) => {
                Ok(self.stop(last, wit::Ending::UpstreamBroke))
            }
        }
    }

    /// Ends the body with these bytes, lets the upstream go and settles.
    fn stop(&mut self, last: Vec<u8>, ending: wit::Ending) -> Option<Bytes> {
        self.upstream = None;
        self.exchange.finish(ending);
        some(last)
    }

    /// A policy that fails here has its answer cut: the client must not take half an answer for a whole one.
    fn feed(&mut self, piece: wit::Piece<'_>) -> Result<wit::Output, Cut> {
        self.exchange.feed(piece).map_err(|broken| {
            tracing::error!(request_id = %self.exchange.id(), cause = %broken, "the policy gave no answer inside a stream");
            self.stop(Vec::new(), wit::Ending::PolicyFailed);
            Cut("the policy failed")
        })
    }
}

fn some(bytes: Vec<u8>) -> Option<Bytes> {
    (!bytes.is_empty()).then(|| Bytes::from(bytes))
}
