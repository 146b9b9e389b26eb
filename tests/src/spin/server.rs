//! Serves a component over loopback, each request in an instance of its own, as Spin may do.
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
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use wasmtime::Store;
use wasmtime_wasi_http::p3::Request as WasiRequest;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView as _};

use super::platform::{Engine, State, World};

/// A server that is running.
pub struct Server {
    /// Where.
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Starts one on a port of its own.
    pub fn start(runtime: &Runtime, engine: &Engine, world: Arc<World>) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = runtime.spawn(serve(listener, engine.clone(), world, stopped));
        Self { address, stop, task }
    }

    /// Takes no more requests, and waits until every instance is done.
    pub fn stop(self, runtime: &Runtime) {
        let _ = self.stop.send(());
        runtime.block_on(self.task).unwrap();
    }
}

async fn serve(listener: TcpListener, engine: Engine, world: Arc<World>, mut stopped: oneshot::Receiver<()>) {
    let mut tasks = JoinSet::new();
    let (instances, mut started) = tokio::sync::mpsc::unbounded_channel::<tokio::task::JoinHandle<()>>();
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        stream.set_nodelay(true).unwrap();
        let (engine, world, instances) = (engine.clone(), Arc::clone(&world), instances.clone());
        let answer =
            service_fn(move |request| answer(engine.clone(), Arc::clone(&world), request, instances.clone()));
        // A client that leaves ends its connection with an error; the component has heard of it.
        tasks.spawn(async move {
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await)
        });
    }
    drop(instances);
    while tasks.join_next().await.is_some() {}
    while let Some(instance) = started.recv().await {
        instance.await.unwrap();
    }
}

async fn answer(
    engine: Engine,
    world: Arc<World>,
    request: Request<Incoming>,
    instances: tokio::sync::mpsc::UnboundedSender<tokio::task::JoinHandle<()>>,
) -> anyhow::Result<Response<Told>> {
    let (tell, told) = oneshot::channel();
    instances.send(tokio::spawn(async move {
        if let Err(trap) = instance(engine, &world, request, tell).await {
            panic!("the component trapped: {trap:?}");
        }
    }))?;
    Ok(told.await?)
}

/// Runs one instance until the last of its tasks has ended.
async fn instance(
    engine: Engine,
    world: &Arc<World>,
    request: Request<Incoming>,
    tell: oneshot::Sender<Response<Told>>,
) -> wasmtime::Result<()> {
    let mut store = Store::new(&engine.engine, State::new(world));
    let service = engine.service.instantiate_async(&mut store).await?;
    let (request, _read) = WasiRequest::from_http(store.data_mut().http().hooks, request);
    let ran = store.run_concurrent(async |accessor| {
        let response = service.handle(accessor, request).await?;
        let response = response.map_err(|code| wasmtime::format_err!("the component answers {code:?}"))?;
        let (delivered, known) = oneshot::channel();
        let delivery = async move {
            // Whoever drops the body before its end has nobody to deliver it to.
            known.await.unwrap_or(Err(Error::ConnectionTerminated))
        };
        let response = accessor.with(|mut access| response.into_http(&mut access, delivery))?;
        let response = response.map(|body| Told { body, delivered: Some(delivered) });
        // The client may be gone.
        let _ = tell.send(response);
        std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
        wasmtime::Result::Ok(())
    });
    ran.await?
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
