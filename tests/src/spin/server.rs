//! Serves a component over loopback: each request in an instance of its own, or all in one, as Spin may do either.
//!
//! A client that leaves is told to the component as `wasi:http` has it: its answer could not be delivered.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use wasmtime::Store;
use wasmtime::component::{Accessor, AccessorTask};
use wasmtime_wasi_http::p3::Request as WasiRequest;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView as _};

use super::platform::{Engine, State, World};

/// Which instance serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instances {
    /// One of its own.
    Fresh,
    /// The same as every other request, all at once.
    Shared,
}

/// A server that is running.
pub struct Server {
    /// Where.
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts one on a port of its own.
    pub fn start(runtime: &Runtime, engine: &Engine, instances: Instances, world: Arc<World>) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = runtime.spawn(serve(listener, engine.clone(), instances, world, stopped));
        Self { address, stop, task }
    }

    /// Takes no more requests, and waits until every instance is done.
    pub fn stop(self, runtime: &Runtime) {
        let _ = self.stop.send(());
        runtime.block_on(self.task).unwrap();
    }
}

async fn serve(
    listener: TcpListener,
    engine: Engine,
    instances: Instances,
    world: Arc<World>,
    mut stopped: oneshot::Receiver<()>,
) {
    let (calls, received) = mpsc::unbounded_channel();
    let instances = tokio::spawn(run(engine, instances, world, received));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        stream.set_nodelay(true).unwrap();
        let calls = calls.clone();
        let answer = service_fn(move |request| {
            let (tell, told) = oneshot::channel();
            let _ = calls.send(Call { request, tell });
            told
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        // A client that leaves ends its connection with an error; the component has heard of it.
        connections.spawn(async move { drop(connection.await) });
    }
    drop(calls);
    while connections.join_next().await.is_some() {}
    instances.await.unwrap();
}

/// A request for an instance.
struct Call {
    request: Request<Incoming>,
    tell: oneshot::Sender<Response<Told>>,
}

type Calls = mpsc::UnboundedReceiver<Call>;

/// Gives every call to its instance.
async fn run(engine: Engine, instances: Instances, world: Arc<World>, mut calls: Calls) {
    if instances == Instances::Shared {
        return instance(engine, world, calls).await.unwrap();
    }
    let mut running = JoinSet::new();
    while let Some(call) = calls.recv().await {
        let (only, received) = mpsc::unbounded_channel();
        let _ = only.send(call);
        running.spawn(instance(engine.clone(), Arc::clone(&world), received));
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap().unwrap();
    }
}

/// Runs one instance until the last of its tasks has ended.
async fn instance(engine: Engine, world: Arc<World>, mut calls: Calls) -> wasmtime::Result<()> {
    let mut store = Store::new(&engine.engine, State::new(&world));
    let service = Arc::new(engine.service.instantiate_async(&mut store).await?);
    let ran = store.run_concurrent(async |accessor| {
        let (under_way, mut answered) = mpsc::channel::<()>(1);
        while let Some(call) = calls.recv().await {
            let (service, under_way) = (Arc::clone(&service), under_way.clone());
            accessor.spawn(Called { service, call, _under_way: under_way })?;
        }
        drop(under_way);
        answered.recv().await;
        // Answers flow on after the calls have returned.
        std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
        wasmtime::Result::Ok(())
    });
    ran.await?
}

/// A call under way.
struct Called {
    service: Arc<Service>,
    call: Call,
    /// Dropped when it is answered.
    _under_way: mpsc::Sender<()>,
}

impl AccessorTask<State> for Called {
    async fn run(self, accessor: &Accessor<State>) -> wasmtime::Result<()> {
        let Call { request, tell } = self.call;
        let request =
            accessor.with(|mut access| WasiRequest::from_http(access.get().http().hooks, request).0);
        let response = self.service.handle(accessor, request).await?;
        let response = response.map_err(|code| wasmtime::format_err!("the component answers {code:?}"))?;
        let (delivered, known) = oneshot::channel();
        let delivery = async move {
            // Whoever drops the body before its end has nobody to deliver it to.
            known.await.unwrap_or(Err(Error::ConnectionTerminated))
        };
        let response = accessor.with(|mut access| response.into_http(&mut access, delivery))?;
        // The client may be gone.
        let _ = tell.send(response.map(|body| Told { body, delivered: Some(delivered) }));
        Ok(())
    }
}

/// A body that tells whether it was read to its end.
struct Told {
    body: WasiBody,
    delivered: Option<oneshot::Sender<Result<(), Error>>>,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = frame
            && let Some(delivered) = self.delivered.take()
        {
            let _ = delivered.send(Ok(()));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
