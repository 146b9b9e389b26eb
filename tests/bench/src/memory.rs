//! What streams cost: memory of each one held open, and processor time of each event.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use crate::Effort;
use crate::report::{Report, Target};
use crate::subjects::{HELD, Ledger, PACED, Server, Subjects};
use crate::wire::Connection;

/// Streams at once when events are counted.
const PACED_STREAMS: usize = 200;

/// Measures both, of Tollgate and of the bare proxy, each in a fresh process.
pub async fn measure(subjects: &Subjects, effort: Effort, report: &mut Report) -> Result<()> {
    let streams = effort.streams;
    for (name, is_tollgate) in [("bare proxy", false), ("tollgate", true)] {
        let server =
            if is_tollgate { subjects.tollgate(&Ledger::Memory).await?.0 } else { subjects.proxy()? };
        let request = |model: &str| subjects.request(Some(&server), model, true);
        let kib = held(&server, &request(HELD), streams).await?;
        let cpu_us = paced(&server, &request(PACED)).await?;
        println!(
            "{name}: {kib:.1} KiB for each of {streams} open streams, {cpu_us:.1} µs of processor time for each event"
        );
        if is_tollgate {
            report.figure(
                format!("memory for each of {streams} open streams"),
                kib,
                "KiB",
                Target::AtMost(64.0),
            );
        }
    }
    Ok(())
}

/// KiB of resident memory that each open stream adds to a fresh process.
async fn held(server: &Server, request: &Arc<[u8]>, streams: usize) -> Result<f64> {
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = server.process.resident()?;
    let flowing = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        let mut connection = Connection::open(&server.address).await?;
        let (request, flowing) = (Arc::clone(request), Arc::clone(&flowing));
        tasks.spawn(async move {
            connection.begin(&request).await?;
            let mut seen = 0;
            while let Some(events) = connection.events().await? {
                // The third event says that this stream is past its beginning.
                if seen < 3 && seen + events >= 3 {
                    flowing.fetch_add(1, Ordering::Relaxed);
                }
                seen += events;
            }
            anyhow::Ok(())
        });
    }
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Some(ended) = tasks.try_join_next() {
            ended??;
            bail!("a stream ended before all {streams} were open");
        }
        if flowing.load(Ordering::Relaxed) == streams {
            return Ok((server.process.resident()? - before) / streams as f64 / 1024.0);
        }
    }
    bail!("only {} of {streams} streams were flowing after 30 s", flowing.load(Ordering::Relaxed))
}

/// Microseconds of processor time for each event, at many streams to the end.
async fn paced(server: &Server, request: &Arc<[u8]>) -> Result<f64> {
    let before = server.process.cpu_us()?;
    let mut tasks = JoinSet::new();
    for _ in 0..PACED_STREAMS {
        let mut connection = Connection::open(&server.address).await?;
        let request = Arc::clone(request);
        tasks.spawn(async move {
            connection.begin(&request).await?;
            let mut seen = 0;
            while let Some(events) = connection.events().await? {
                seen += events;
            }
            anyhow::Ok(seen)
        });
    }
    let mut events = 0;
    while let Some(joined) = tasks.join_next().await {
        events += joined??;
    }
    Ok((server.process.cpu_us()? - before) / events as f64)
}
