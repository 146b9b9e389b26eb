//! What keeping the books costs: in memory, in a file, in Redis.
//!
//! The books in memory are timed alone; the file by how many exchanges it sustains; and both stores by what they add
//! to an exchange whose provider takes 20 ms, against the same server with its books in memory, in alternating
//! rounds. Redis is counted: how many round trips an exchange takes.

mod file;
mod memory;
mod redis;

pub use self::memory::print_counters;

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::Effort;
use crate::load;
use crate::report::{Report, Target, median};
use crate::subjects::{Ledger, Server, Subjects, WAITING};
use crate::wire::Connection;

/// Connections when a provider takes its time.
const CONNECTIONS: usize = 32;

/// What needs no server.
pub fn measure_alone(report: &mut Report) -> Result<()> {
    memory::measure(report)?;
    file::measure(report)
}

/// What a store adds to an exchange.
pub async fn measure(subjects: &Subjects, effort: Effort, report: &mut Report) -> Result<()> {
    let redis = redis::Server::start()?;
    let (memory, _) = subjects.tollgate(&Ledger::Memory).await?;
    let (file, _) = subjects.tollgate(&Ledger::Sqlite).await?;
    let (shared, _) = subjects.tollgate(&Ledger::Redis(redis.url())).await?;

    let (mut of_file, mut of_redis) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let in_memory = median_us(subjects, &memory, effort).await?;
        of_file.push(median_us(subjects, &file, effort).await? / in_memory);
        of_redis.push(median_us(subjects, &shared, effort).await? / in_memory);
    }
    let added = "median latency at a provider of 20 ms, of that with books in memory";
    report.figure(format!("SQLite: {added}"), median(of_file), "x", Target::AtMost(1.05));
    println!("Redis: {added}: {:.3} x", median(of_redis));

    let trips = round_trips(subjects, &shared, &redis).await?;
    report.figure("Redis: round trips of an exchange", trips, "", Target::AtMost(2.0));
    Ok(())
}

/// Scripts that Redis ran for each exchange, less those that it runs while there is none.
async fn round_trips(subjects: &Subjects, server: &Server, redis: &redis::Server) -> Result<f64> {
    const EACH: usize = 50;
    let request = subjects.request(Some(server), WAITING, false);
    let (before, begin) = (redis.scripts()?, Instant::now());
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (mut connection, request) = (Connection::open(&server.address).await?, Arc::clone(&request));
        tasks.spawn(async move {
            for _ in 0..EACH {
                connection.exchange(&request).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined??;
    }
    let (after, span) = (redis.scripts()?, begin.elapsed());
    tokio::time::sleep(span).await;
    let idle = redis.scripts()? - after;
    Ok((after - before - idle) / (CONNECTIONS * EACH) as f64)
}

async fn median_us(subjects: &Subjects, server: &Server, effort: Effort) -> Result<f64> {
    let request = subjects.request(Some(server), WAITING, false);
    let load =
        load::run(&server.process, &server.address, &request, CONNECTIONS, effort.window_ms / 2).await?;
    Ok(load.median_us)
}
