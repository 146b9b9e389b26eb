//! Threads that each serve their share of the connections from beginning to end.
//!
//! A connection, its exchanges and their connections to upstreams stay on one thread: nothing is stolen, and no thread
//! wakes another while an exchange goes on. The price is that a policy's call, which is cut when it takes too long,
//! keeps the other connections of its thread waiting.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::lane;

/// So many polls of tasks until a thread looks for news of its sockets while it still has work. Exchanges that go from
/// stage to stage together ([`crate::stage`]) are to come to their end before others join in.
const POLLS_IN_A_ROW: u32 = 512;

/// The threads. They end, and what still runs on them, when this is dropped.
#[derive(Default)]
pub(super) struct Workers(Vec<Worker>);

struct Worker {
    runtime: Handle,
    /// As many clones as there are connections, and one.
    connections: Arc<()>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Workers {
    /// # Errors
    /// When the system has no room for a thread or its reactor.
    pub(super) fn start(number: usize) -> io::Result<Self> {
        (0..number).map(Worker::start).collect::<io::Result<_>>().map(Self)
    }

    /// Serves a connection on the thread that has the fewest, or on the runtime of the caller if there are none.
    pub(super) fn serve<F>(
        &self,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(worker) = self.0.iter().min_by_key(|worker| Arc::strong_count(&worker.connections)) else {
            tokio::spawn(serve(stream));
            return Ok(());
        };
        // Its socket moves from our reactor to the worker's.
        let stream = stream.into_std()?;
        let connection = Arc::clone(&worker.connections);
        worker.runtime.spawn(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(stream).await,
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
            drop(connection);
        });
        Ok(())
    }
}

impl Worker {
    fn start(lane: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().event_interval(POLLS_IN_A_ROW).build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name(format!("tollgate-serve-{lane}")).spawn(move || {
            // The first lane is for threads that are none of ours.
            lane::enter(lane.saturating_add(1));
            // It ends in both ways: told to, or left alone.
            let _told = runtime.block_on(stopped);
            // Whoever still looks up a name is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, connections: Arc::new(()), stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a thread that serves connections panicked");
        }
    }
}
