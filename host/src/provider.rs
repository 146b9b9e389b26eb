//! A simulated provider for `serve --demo` and for trying things, over real HTTP. What it answers is the business of
//! `tollgate-simulated`; it checks no key and belongs on the loopback interface only.

mod paced;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tollgate_simulated::{Answer, BODY_LIMIT, Frames};

use self::paced::Paced;

/// Answers every connection of the listener, for as long as the future is polled.
pub async fn serve(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, or the client was gone again: both pass.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Small frames must not wait for the acknowledgement of the one before. If it fails they are late, no more.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            // A client that leaves ends its connection with an error; there is nobody to tell.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Paced<Frames>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_LIMIT).collect().await.ok().map(|body| body.to_bytes());
    let Answer { wait, response } =
        tollgate_simulated::answer(&head.method, head.uri.path(), body.as_deref());
    tokio::time::sleep(wait).await;
    Ok(response.map(Paced::new))
}
