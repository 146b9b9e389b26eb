//! The load generator: N connections, each sending its next request as soon as the answer to the last is whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::task::JoinSet;

use crate::process::Process;
use crate::wire::Connection;

/// Milliseconds of load before anything is counted.
const WARM_UP_MS: u64 = 300;

const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const OVER: u8 = 2;

/// What one run saw.
#[derive(Debug)]
pub struct Load {
    /// Answers per second.
    pub rate: f64,
    /// Median latency in microseconds.
    pub median_us: f64,
    /// Latency that 99 in 100 stay under, in microseconds.
    pub p99_us: f64,
    /// Processor time of the process under load, per answer, in microseconds.
    pub cpu_us: f64,
}

/// Loads `address` with `connections` copies of `request` for `window_ms`, while `process` is watched.
pub async fn run(
    process: &Process,
    address: &str,
    request: &Arc<[u8]>,
    connections: usize,
    window_ms: u64,
) -> Result<Load> {
    let phase = Arc::new(AtomicU8::new(WARMING));
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let connection = Connection::open(address).await?;
        tasks.spawn(one_connection(connection, Arc::clone(request), Arc::clone(&phase)));
    }
    tokio::time::sleep(Duration::from_millis(WARM_UP_MS)).await;
    let cpu_before = process.cpu_us()?;
    let begin = Instant::now();
    phase.store(COUNTING, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(window_ms)).await;
    phase.store(OVER, Ordering::Relaxed);
    let elapsed = begin.elapsed();
    let cpu_us = process.cpu_us()? - cpu_before;

    let mut latencies = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        latencies.append(&mut joined??);
    }
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    Ok(Load {
        rate: count / elapsed.as_secs_f64(),
        median_us: quantile_us(&latencies, 0.5)?,
        p99_us: quantile_us(&latencies, 0.99)?,
        cpu_us: cpu_us / count,
    })
}

/// Awaits two loads, one right after the other, the second one first in every other round: a machine that slows down slows
/// both.
pub async fn in_turn(
    round: usize,
    first: impl Future<Output = Result<Load>>,
    second: impl Future<Output = Result<Load>>,
) -> Result<(Load, Load)> {
    if round.is_multiple_of(2) {
        return Ok((first.await?, second.await?));
    }
    let second = second.await?;
    Ok((first.await?, second))
}

/// Latencies in nanoseconds, of the answers that came while counting.
async fn one_connection(
    mut connection: Connection,
    request: Arc<[u8]>,
    phase: Arc<AtomicU8>,
) -> Result<Vec<u32>> {
    let mut latencies = Vec::new();
    let mut sent = Instant::now();
    loop {
        connection.exchange(&request).await?;
        let now = Instant::now();
        match phase.load(Ordering::Relaxed) {
            COUNTING => latencies.push(u32::try_from((now - sent).as_nanos()).unwrap_or(u32::MAX)),
            OVER => return Ok(latencies),
            _ => {}
        }
        sent = now;
    }
}

/// The value at a quantile of sorted nanoseconds, in microseconds.
fn quantile_us(sorted: &[u32], quantile: f64) -> Result<f64> {
    let index = ((sorted.len() as f64 * quantile) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).map(|&ns| f64::from(ns) / 1000.0).ok_or_else(|| anyhow!("no answer in the window"))
}
