//! What keeping the books costs: in memory, in a file, in Redis.
//!
//! The books in memory are timed alone; the file by how many exchanges it sustains; and both stores by what they add
//! to an exchange whose provider takes 20 ms, against the same server with its books in memory, in alternating
//! rounds. Redis is counted: how many round trips an exchange takes.

mod file;
mod memory;
mod redis;

pub use self::memory::print_counters;

use anyhow::Result;

use crate::Effort;
use crate::load;
use crate::report::{Report, Target, median};
use crate::subjects::{Ledger, Server, Subjects, WAITING};

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

    let before = redis.scripts()?;
    let load = load::run(
        &shared.process,
        &shared.address,
        &subjects.request(Some(&shared), WAITING, false),
        CONNECTIONS,
        effort.window_ms,
    )
    .await?;
    // The load runs a little longer than it counts: more exchanges, never fewer, share these round trips.
    let trips = (redis.scripts()? - before) / load.answers;
    report.figure("Redis: round trips of an exchange", trips, "", Target::AtMost(2.0));
    Ok(())
}

async fn median_us(subjects: &Subjects, server: &Server, effort: Effort) -> Result<f64> {
    let request = subjects.request(Some(server), WAITING, false);
    let load =
        load::run(&server.process, &server.address, &request, CONNECTIONS, effort.window_ms / 2).await?;
    Ok(load.median_us)
}
