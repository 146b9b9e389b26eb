//! A ledger for shells over HTTP, as a Tollgate server has it, on the books of a test.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tollgate_remote::{Answer, answer};

use crate::kept::Books;

/// What shells present.
pub const TOKEN: &str = "shells-secret-0123456789";

/// A ledger that listens until it is dropped.
pub struct Ledger {
    /// Where.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Ledger {
    /// Lets these books be asked.
    pub fn start(runtime: &Runtime, books: &Arc<Books>) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, books) = (listener.local_addr().unwrap(), Arc::clone(books));
        let task = runtime.spawn(async move {
            loop {
                let stream = listener.accept().await.unwrap().0;
                stream.set_nodelay(true).unwrap();
                let books = Arc::clone(&books);
                let service = service_fn(move |request| answered(Arc::clone(&books), request));
                // A shell that leaves ends its connection with an error, which is its own affair.
                tokio::spawn(async move {
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answered(books: Arc<Books>, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let is_known = head.headers.get(AUTHORIZATION).is_some_and(|value| value == &format!("Bearer {TOKEN}"));
    let Answer { status, body } = if is_known {
        answer(&*books, head.uri.path(), &body).await
    } else {
        Answer::failed(401, "unauthorized", "the credential is another one")
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status.try_into().unwrap();
    Ok(response)
}
