//! The listener for operators: keys, scopes, what is left of limits, the rows of the books, how the ledger is.
//!
//! It is a second listener, never a path of the first one, so that who can reach a model cannot reach this.
//! `openapi.json` beside this file describes it, and a test holds the two against each other. It has a credential of
//! its own; without one it serves loopback only, and there refuses whatever a web page could make a browser send.

mod guard;
mod reply;
mod routes;

use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::net::TcpListener;
use tollgate_ledger::Store;

pub(crate) use self::guard::Guard;
use self::reply::Failed;
use crate::gateway::Gateway;
use crate::listener::{self, Unread};
use crate::operator::Operator;

/// A bound listener for operators.
pub struct Admin {
    listener: TcpListener,
    desk: Arc<Desk>,
}

/// What every request is served with.
struct Desk {
    guard: Guard,
    operator: Operator,
    store: Arc<dyn Store>,
    gateway: Gateway,
}

impl Admin {
    /// Listens at this address. `token` is the credential of operators; none: whoever reaches the listener.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(gateway: Gateway, listen: SocketAddr, token: Option<&str>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let store = gateway.store();
        let keys: Arc<dyn tollgate_ledger::keys::Keys> = Arc::clone(&store) as _;
        let operator = Operator::new(gateway.clone(), keys);
        let desk = Desk { guard: Guard::new(token), operator, store, gateway };
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
        listener::serve(self.listener, self.desk, "operators").await;
    }
}

impl listener::Desk for Desk {
    const BODY_LIMIT: usize = 64 << 10;

    fn turns_away(&self, head: &Parts) -> Option<Response<Full<Bytes>>> {
        self.guard.admits(&head.headers).err().map(Failed::response)
    }

    async fn answer(&self, head: Parts, body: Bytes) -> Response<Full<Bytes>> {
        if head.method != Method::GET && !body.is_empty() && !guard::is_json(&head.headers) {
            let failed = Failed::bad_request("a body must be sent as `content-type: application/json`");
            return failed.response();
        }
        routes::route(self, &head, &body).await.unwrap_or_else(Failed::response)
    }

    fn unread(&self, why: Unread) -> Response<Full<Bytes>> {
        let failed = match why {
            Unread::Malformed(why) => Failed::bad_request(why),
            Unread::TooLarge(limit) => Failed::too_large(limit),
        };
        failed.response()
    }
}
