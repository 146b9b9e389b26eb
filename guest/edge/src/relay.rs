//! An answer on its way to the client, chunk by chunk: the upstream's bytes, seen by the policy first.
//!
//! It reads the upstream only when the client has room (the server polls it), so a slow client slows the
//! upstream. Dropped before its end, it settles its exchange as one whose client left.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tollgate_ledger::Entry;

use crate::exchange::Exchange;
use crate::platform::{Cause, Client, Clock as _, Platform};
use crate::upstream::Flowing;
use crate::wit;

/// More is being held. Its answer is for [`Exchange::raised`].
pub(crate) type Raising = Pin<Box<dyn Future<Output = Option<Arc<Entry>>>>>;

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
pub(crate) struct Relay<P: Platform> {
    exchange: Exchange<P>,
    /// None once the upstream is done with, or let go.
    upstream: Option<Flowing<<P::Client as Client>::Body>>,
    inspect: bool,
    /// What must be held before the next piece.
    raising: Option<Raising>,
}

impl<P: Platform> Relay<P> {
    pub(crate) fn new(
        exchange: Exchange<P>,
        upstream: Flowing<<P::Client as Client>::Body>,
        inspect: bool,
    ) -> Self {
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
                    None => Ok(self.limited()),
                }
            } else {
                match ready!(upstream.poll_chunk(cx)) {
                    Some(Ok(bytes)) => self.chunk(bytes),
                    Some(Err(fault)) => self.broken(fault),
                    None => Ok(self.end()),
                }
            };
            if let Some(bytes) = step.transpose() {
                self.first_byte();
                return Poll::Ready(Some(bytes));
            }
        }
    }

    fn first_byte(&mut self) {
        let Exchange { shell, started, first_byte, .. } = &mut self.exchange;
        first_byte.get_or_insert_with(|| shell.clock.elapsed().saturating_sub(*started));
    }

    fn chunk(&mut self, bytes: Bytes) -> Result<Option<Bytes>, Cut> {
        self.exchange.keep_alive();
        if !self.inspect {
            return Ok(Some(bytes));
        }
        let (output, holding) = self.feed(wit::PieceParam::Chunk(&bytes));
        if let Some(holding) = holding {
            let raising = self.exchange.raise(holding);
            self.raising = Some(raising.map_err(|cause| self.cut(cause))?);
        }
        match output {
            wit::Output::Pass => Ok(Some(bytes)),
            wit::Output::Replace(other) => Ok(some(other)),
            wit::Output::Stop(last) => Ok(self.stop(last, wit::Ending::Completed)),
        }
    }

    /// INVARIANT (never over-admit): nothing more than what is held passes.
    fn limited(&mut self) -> Option<Bytes> {
        match self.feed(wit::PieceParam::Limited).0 {
            wit::Output::Pass => None,
            wit::Output::Replace(bytes) => some(bytes),
            wit::Output::Stop(last) => self.stop(last, wit::Ending::Completed),
        }
    }

    fn end(&mut self) -> Option<Bytes> {
        let output = if self.inspect { self.feed(wit::PieceParam::End).0 } else { wit::Output::Pass };
        let last = match output {
            wit::Output::Pass => Vec::new(),
            wit::Output::Replace(last) | wit::Output::Stop(last) => last,
        };
        self.stop(last, wit::Ending::Completed)
    }

    fn broken(&mut self, fault: wit::Fault) -> Result<Option<Bytes>, Cut> {
        let output =
            if self.inspect { self.feed(wit::PieceParam::Broken(fault)).0 } else { wit::Output::Pass };
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

    fn feed(&mut self, piece: wit::PieceParam<'_>) -> (wit::Output, Option<wit::Holding>) {
        let exchange = &mut self.exchange;
        let fed = exchange.shell.generation.gateway.feed(&exchange.ticket, piece);
        if let Some(ticket) = fed.ticket {
            exchange.ticket = ticket;
        }
        (fed.output, fed.holding)
    }

    /// A policy that fails here has its answer cut: the client must not take half an answer for a whole one.
    fn cut(&mut self, cause: Cause) -> Cut {
        self.exchange.note("the policy gave no answer inside a stream", &cause);
        self.stop(Vec::new(), wit::Ending::PolicyFailed);
        Cut("the policy failed")
    }
}

fn some(bytes: Vec<u8>) -> Option<Bytes> {
    (!bytes.is_empty()).then(|| Bytes::from(bytes))
}
