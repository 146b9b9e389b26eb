//! The work behind the store: finding a connection again, and taking the journal to Redis.
//!
//! Before a connection is taken into use, everything that waited by then has been taken over it, in order; what has
//! come meanwhile follows, for while there is no connection more comes, and may come faster than it is taken. A line that
//! is taken twice has effect once, because an exchange's marker is in Redis. This module grants and refuses nothing.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tollgate_ledger::Unavailable;
use tollgate_scripts::{Target, When};

use crate::Inner;
use crate::evaluate::{evaluate, odd};
use crate::journal::Line;
use crate::link::{Failure, connect};
use crate::options::Server;

/// The pause after a connection that failed, doubled each time, up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the link up for as long as the store is there.
pub async fn keep(inner: Arc<Inner>, server: Server) {
    let mut pause = PAUSE;
    loop {
        let done = match inner.link.down() {
            None if inner.journal.is_empty() => {
                inner.link.work.notified().await;
                continue;
            }
            None => take_over(&inner, None).await,
            Some(_) => reach(&inner, &server).await,
        };
        inner.tried.notify_waiters();
        match done {
            Ok(()) => pause = PAUSE,
            Err(why) => {
                if inner.link.down().is_none() {
                    tracing::warn!(reason = &*why.reason, "the journal waits");
                }
                inner.link.stays_down(&why);
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Connects, takes over what waits, and takes the connection into use.
pub async fn reach(inner: &Inner, server: &Server) -> Result<(), Unavailable> {
    // It writes: a server that is full, or only a replica, is no server for us.
    let probe =
        |on: MultiplexedConnection| async move { evaluate(on, inner.calls(0).due(0)).await.map(drop) };
    let connection = connect(server, probe).await?;
    take_over(inner, Some(&connection)).await?;
    inner.link.raise(connection);
    Ok(())
}

/// Takes the lines of the journal, in order: over this connection those that are there by now, or over the one in use
/// every line. Empties it when all were taken.
async fn take_over(inner: &Inner, over: Option<&MultiplexedConnection>) -> Result<(), Unavailable> {
    let mut at = 0;
    let end = if over.is_some() { inner.journal.len() } else { u64::MAX };
    while at < end && !inner.journal.is_empty() {
        let batch = inner.journal.read(at).await?;
        for line in &batch.lines {
            let taken = match over {
                Some(connection) => inner.link.bounded(take(inner, connection.clone(), line)).await,
                None => inner.link.run(|on| take(inner, on, line)).await,
            };
            match taken {
                Ok(()) => {}
                Err(Failure::Down(why)) => return Err(why),
                // Redis would refuse it for ever. Its hold ends by its lease, charged as held.
                Err(Failure::Refused(why)) => {
                    let (Line::Settle { entry, .. } | Line::Record { entry }) = line;
                    let row = serde_json::to_string(entry).unwrap_or_default();
                    tracing::error!(reason = &*why.reason, row, "the shared ledger refuses a settlement");
                }
            }
        }
        at = batch.end;
        if at == inner.journal.len() && inner.journal.clear(at).await? {
            at = 0;
        }
    }
    Ok(())
}

/// Takes one line.
async fn take(inner: &Inner, on: MultiplexedConnection, line: &Line) -> redis::RedisResult<()> {
    let (Line::Settle { entry, .. } | Line::Record { entry }) = line;
    let id = &entry.request_id;
    let refused = |why: Unavailable| odd(why.to_string());
    let key = inner.names.hold(id).map_err(refused)?;
    let calls = inner.calls(entry.at_ms);
    let target = Target { id, key: &key, cells: Arc::from([]) };
    let call = match line {
        Line::Settle { charge, .. } => calls.settle(&target, (entry, charge.charge(), When::Late)),
        Line::Record { .. } => calls.record(&target, entry),
    };
    evaluate(on, call.map_err(refused)?).await.map(drop)
}
