//! A connection that one exchange at a time has for itself, and drives.
//!
//! Whoever has it asks the connection in its own task, together with the answer that comes through it: no other task
//! has to be woken for an exchange, and none is needed while the connection is idle.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::unconstrained;

/// A socket, encrypted or not.
pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
/// A request as it is sent.
pub(super) type Outgoing = Request<Full<Bytes>>;

/// An HTTP/1.1 connection.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// None once it has ended.
    connection: Option<Connection<Stream, Full<Bytes>>>,
}

impl Link {
    pub(super) async fn begin(stream: Stream) -> hyper::Result<Self> {
        let (sender, connection) = http1::handshake(stream).await?;
        Ok(Self { sender, connection: Some(connection) })
    }

    /// Sends a request and waits for the head of its answer. A request that was not begun is given back.
    pub(super) async fn send(
        &mut self,
        request: Outgoing,
    ) -> Result<Response<Incoming>, TrySendError<Outgoing>> {
        // Unconstrained, because a turn that Tokio lets it miss is told to its waker, and it has none.
        let mut answer = pin!(unconstrained(self.sender.try_send_request(request)));
        let connection = &mut self.connection;
        std::future::poll_fn(|cx| {
            drive(connection, cx);
            // Nobody but the connection gives the answer: it wakes us.
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }

    /// Reads and writes what can be read and written.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.connection, cx);
    }

    /// Whether another request can be sent, as far as was seen when it was last driven.
    pub(super) fn is_idle(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// An end of the connection is told to whoever waits for an answer or its body when it is dropped.
fn drive(connection: &mut Option<Connection<Stream, Full<Bytes>>>, cx: &mut Context<'_>) {
    let Some(open) = connection else { return };
    if let Poll::Ready(ended) = Pin::new(open).poll(cx) {
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to an upstream broke");
        }
        *connection = None;
    }
}
