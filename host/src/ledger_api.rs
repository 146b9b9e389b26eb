//! The listener for other shells: the protocol of `host/ledger/remote` over this server's store.
//!
//! It is a listener of its own with a credential of its own: a shell can spend, and an operator can hand out what may
//! be spent, and neither is the other.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::net::TcpListener;
use tollgate_ledger::Store;
use tollgate_remote::{Answer, MOST_BYTES, answer};

use crate::admin::Guard;
use crate::gateway::Gateway;
use crate::listener::{self, Unread};

/// A bound listener for other shells.
pub struct LedgerApi {
    listener: TcpListener,
    desk: Arc<Desk>,
}

struct Desk {
    guard: Guard,
    store: Arc<dyn Store>,
}

impl LedgerApi {
    /// Listens at this address for shells that present `token`.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(gateway: &Gateway, listen: SocketAddr, token: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let desk = Desk { guard: Guard::new(Some(token)), store: gateway.store() };
        Ok(Self { listener, desk: Arc::new(desk) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for ever.
    pub async fn serve(self) {
        listener::serve(self.listener, self.desk, "shells").await;
    }
}

impl listener::Desk for Desk {
    const BODY_LIMIT: usize = MOST_BYTES;

    fn turns_away(&self, head: &Parts) -> Option<Response<Full<Bytes>>> {
        let refused = |_| failed(401, "unauthorized", "the credential of shells is missing or wrong");
        self.guard.admits(&head.headers).err().map(refused)
    }

    async fn answer(&self, head: Parts, body: Bytes) -> Response<Full<Bytes>> {
        if head.method != Method::POST {
            return failed(405, "method_not_supported", "this ledger takes POST");
        }
        response(answer(&*self.store, head.uri.path(), &body).await)
    }

    fn unread(&self, why: Unread) -> Response<Full<Bytes>> {
        match why {
            Unread::Malformed(why) => failed(400, "bad_request", why),
            Unread::TooLarge(limit) => {
                failed(413, "too_large", &format!("the body is larger than {limit} bytes"))
            }
        }
    }
}

fn failed(status: u16, code: &'static str, message: &str) -> Response<Full<Bytes>> {
    response(Answer::failed(status, code, message))
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
