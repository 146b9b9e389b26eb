//! An answer on its way to the client, chunk by chunk: the upstream's bytes, seen by the policy first.
//!
//! It reads the upstream only when the client has room (the server polls it), so a slow client slows the
//! upstream. Dropped before its end, it settles its exchange as one whose client left.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::exchange::{Exchange, Raising};
use crate::policy::{Broken, wit};
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
    /// What must be held before the next piece.
    raising: Option<Raising>,
}

impl Relay {
    pub(crate) fn new(exchange: Exchange, upstream: Flowing, inspect: bool) -> Self {
        Self { exchange, upstream: Some(upstream), inspect, raising: None }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.upstream.is_none()
    }

    /// The next bytes for the client; none at the end of the body.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        loop {
            let Some(upstream) = &mut self.upstream else { return Poll::Ready(None) };
            let step = if let Some(raising) = &mut self.raising {
                let raised = ready!(raising.as_mut().poll(cx));
                self.raising = None;
                match raised {
                    Some(opening) => {
                        self.exchange.raised(opening);
                        continue;
                    }
                    None => self.limited(),
                }
            } else {
                match ready!(upstream.poll_chunk(cx)) {
                    Some(Ok(bytes)) => self.chunk(bytes),
                    Some(Err(fault)) => self.broken(fault),
                    None => self.end(),
                }
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
        let (output, holding) = self.feed(wit::Piece::Chunk(&bytes))?;
        if let Some(holding) = holding {
            let raising = self.exchange.raise(holding);
            self.raising = Some(raising.map_err(|broken| self.cut(&broken))?);
        }
        match output {
            wit::Output::Pass => Ok(Some(bytes)),
            wit::Output::Replace(other) => Ok(some(other)),
            wit::Output::Stop(last) => Ok(self.stop(last, wit::Ending::Completed)),
        }
    }

    /// INVARIANT (never over-admit): nothing more than what is held passes.
    fn limited(&mut self) -> Result<Option<Bytes>, Cut> {
        match self.feed(wit::Piece::Limited)?.0 {
            wit::Output::Pass => Ok(None),
            wit::Output::Replace(bytes) => Ok(some(bytes)),
            wit::Output::Stop(last) => Ok(self.stop(last, wit::Ending::Completed)),
        }
    }

    fn end(&mut self) -> Result<Option<Bytes>, Cut> {
        let output = if self.inspect { self.feed(wit::Piece::End)?.0 } else { wit::Output::Pass };
        let last = match output {
            wit::Output::Pass => Vec::new(),
            wit::Output::Replace(last) | wit::Output::Stop(last) => last,
        };
        Ok(self.stop(last, wit::Ending::Completed))
    }

    fn broken(&mut self, fault: wit::Fault) -> Result<Option<Bytes>, Cut> {
        let output = if self.inspect { self.feed(wit::Piece::Broken(fault))?.0 } else { wit::Output::Pass };
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

    fn feed(&mut self, piece: wit::Piece<'_>) -> Result<(wit::Output, Option<wit::Holding>), Cut> {
        self.exchange.feed(piece).map_err(|broken| self.cut(&broken))
    }

    /// A policy that fails here has its answer cut: the client must not take half an answer for a whole one.
    fn cut(&mut self, broken: &Broken) -> Cut {
        tracing::error!(request_id = %self.exchange.id(), cause = %broken, "the policy gave no answer inside a stream");
        self.stop(Vec::new(), wit::Ending::PolicyFailed);
        Cut("the policy failed")
    }
}

fn some(bytes: Vec<u8>) -> Option<Bytes> {
    (!bytes.is_empty()).then(|| Bytes::from(bytes))
}
