//! The bare proxy: the least a reverse proxy can do with the same parts Tollgate is made of. hyper's server,
//! hyper-util's pooled client, no delay on either socket, hop-by-hop headers dropped, bodies passed on as they
//! come. It checks nothing, counts nothing and logs nothing.

use std::convert::Infallible;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderName, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, Scheme};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Upstream = Client<HttpConnector, Incoming>;
type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// Listens on a free port of loopback, prints its address on one line, and forwards everything to `upstream`
/// (`host:port`) until it is killed.
pub async fn serve(upstream: &str) -> Result<()> {
    let authority: Authority = upstream.parse()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Upstream = Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, authority) = (client.clone(), authority.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(client.clone(), authority.clone(), request));
            // A connection that ends badly is the client's business: the load generator counts it there.
            let _ended = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(client: Upstream, to: Authority, request: Request<Incoming>) -> Result<Answer, Infallible> {
    Ok(forward(client, to, request).await.unwrap_or_else(|_| {
        let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }))
}

async fn forward(client: Upstream, to: Authority, mut request: Request<Incoming>) -> Result<Answer> {
    let path = request.uri().path_and_query().cloned().ok_or_else(|| anyhow!("no path"))?;
    *request.uri_mut() = Uri::builder().scheme(Scheme::HTTP).authority(to).path_and_query(path).build()?;
    drop_hop_by_hop(request.headers_mut());
    request.headers_mut().remove(HOST);
    let mut response = client.request(request).await?;
    drop_hop_by_hop(response.headers_mut());
    Ok(response.map(BodyExt::boxed))
}

fn drop_hop_by_hop(headers: &mut hyper::HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, HeaderName::from_static("keep-alive")] {
        headers.remove(name);
    }
}
