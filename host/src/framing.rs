//! The guard under the HTTP/1 server: a byte reaches hyper only after the framing it belongs to was found sound.
//!
//! It decides nothing about what a request means. Two readers that disagree about where a request ends is how
//! requests are smuggled (RFC 9112, section 11.2), so whatever two readers could read differently is refused here,
//! before the first of them. A sound head is handed on as it came, in the read it came in; a bad one is replaced by
//! a small request whose method tells the service above, through [`violation`], what to answer, and nothing after it
//! is read. A body whose framing breaks becomes a read error. Memory per connection: at most one head.

mod chunked;
mod head;
mod inspector;
#[cfg(test)]
mod tests;
mod violation;

pub use violation::Violation;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use inspector::Inspector;

/// The most header lines a request may have: as many as hyper reads, unless told otherwise.
pub const MAX_HEADERS: usize = 100;

/// How much of what a client still sends is read and dropped when the connection is shut down, so that its system
/// does not discard our last answer for unread bytes (RFC 9112, section 9.6).
const DRAIN_LIMIT: usize = 256 * 1024;

/// The name of a method that no client has reason to send, followed by the violation's number. A client that sends
/// it anyway earns the same refusal.
const MALFORMED: &str = "X-TOLLGATE-MALFORMED-";

/// What was wrong with the request that this method stands for. None: it is a request as the client sent it.
///
/// The answer to such a request says `connection: close`, and hyper closes by itself after it.
#[must_use]
pub fn violation(method: &http::Method) -> Option<Violation> {
    Violation::numbered(method.as_str().strip_prefix(MALFORMED)?.parse().ok()?)
}

/// A client's connection whose reads are inspected. Writes pass untouched.
#[derive(Debug)]
pub struct Guarded<S> {
    stream: S,
    inspector: Inspector,
    /// Bytes read but not handed on: `released..cleared` may be, the rest is not yet known to be sound.
    held: Vec<u8>,
    released: usize,
    cleared: usize,
    end: End,
}

/// What follows the bytes that are cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More, once it is read.
    Open,
    /// A head that is refused.
    Refuse(Violation),
    /// Nothing: a head was refused.
    Refused,
    /// A body that ends here, and should not.
    Broken(Violation),
}

impl<S> Guarded<S> {
    /// Guards a connection from its first byte on. Heads have at most `head_limit` bytes, which must fit into hyper's
    /// buffer.
    pub fn new(stream: S, head_limit: usize) -> Self {
        let inspector = Inspector::new(head_limit);
        Self { stream, inspector, held: Vec::new(), released: 0, cleared: 0, end: End::Open }
    }

    /// Hands on what may be handed on. False: there is none.
    fn release(&mut self, to: &mut ReadBuf<'_>) -> bool {
        if self.released == self.cleared {
            return false;
        }
        let bytes = self.held.get(self.released..self.cleared).unwrap_or_default();
        let some = bytes.len().min(to.remaining());
        to.put_slice(bytes.get(..some).unwrap_or_default());
        self.released += some;
        if self.released == self.cleared {
            self.held.drain(..self.cleared);
            (self.released, self.cleared) = (0, 0);
            if self.held.is_empty() {
                self.held = Vec::new();
            }
        }
        true
    }

    fn stop_after(&mut self, kept: usize, violation: Option<Violation>) {
        if let Some(violation) = violation {
            self.held.truncate(kept);
            self.end = if violation.in_body() { End::Broken(violation) } else { End::Refuse(violation) };
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.release(buf) {
                return Poll::Ready(Ok(()));
            }
            match this.end {
                End::Open => {}
                End::Refuse(violation) => {
                    this.end = End::Refused;
                    let number = violation.number();
                    let head =
                        format!("{MALFORMED}{number} / HTTP/1.1\r\nhost: -\r\nconnection: close\r\n\r\n");
                    this.held = head.into_bytes();
                    this.cleared = this.held.len();
                    continue;
                }
                // The service answers and hyper closes; an end of file here would cut that answer short.
                End::Refused => return Poll::Pending,
                End::Broken(violation) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation)));
                }
            }
            let start = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let read = buf.filled().get(start..).unwrap_or_default();
            if read.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if this.held.is_empty() {
                // The usual way: what is sound stays where it was read.
                let (cleared, violation) = this.inspector.inspect(read);
                this.held.extend_from_slice(read.get(cleared..).unwrap_or_default());
                this.stop_after(0, violation);
                buf.set_filled(start + cleared);
                if cleared > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                this.held.extend_from_slice(read);
                buf.set_filled(start);
                let (cleared, violation) = this.inspector.inspect(&this.held);
                this.cleared = cleared;
                this.stop_after(cleared, violation);
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        let mut scratch = [0; 4096];
        let mut drained = 0;
        while drained < DRAIN_LIMIT {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => drained += buf.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
