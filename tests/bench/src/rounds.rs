//! The full path under load: Tollgate against the bare proxy, one right after the other and in rounds that alternate who
//! goes first, so that a machine that slows down slows both. Each figure is the median over rounds of the ratio within
//! one round. Rounds are many and short: a shared machine is fast and slow by turns of seconds.

use std::sync::Arc;

use anyhow::Result;

use crate::Effort;
use crate::load::{self, Load};
use crate::report::{Report, Target, median};
use crate::subjects::{Ledger, PLAIN, Server, Subjects};

/// Who is measured, and what it is asked.
struct Subject {
    server: Server,
    request: Arc<[u8]>,
}

/// The loads of both at one number of connections in one round.
struct Pair {
    bare: Load,
    tollgate: Load,
}

/// One round.
struct Round {
    /// The mock without anything before it, at one connection.
    direct: Load,
    at_1: Pair,
    at_32: Pair,
    at_64: Pair,
}

/// Measures throughput, processor time and added latency.
pub async fn measure(subjects: &Subjects, effort: Effort, report: &mut Report) -> Result<()> {
    let direct_request = subjects.request(None, PLAIN, false);
    let bare = Subject { server: subjects.proxy()?, request: Arc::clone(&direct_request) };
    let (server, _) = subjects.tollgate(&Ledger::Memory).await?;
    let request = subjects.request(Some(&server), PLAIN, false);
    let tollgate = Subject { server, request };

    let mut rounds = Vec::new();
    for number in 0..effort.rounds {
        let at = |connections| pair(&bare, &tollgate, number, connections, effort);
        let direct =
            load::run(&subjects.mock, &subjects.mock_address, &direct_request, 1, effort.window_ms).await?;
        rounds.push(Round { direct, at_1: at(1).await?, at_32: at(32).await?, at_64: at(64).await? });
    }

    println!(
        "direct at 1: median {:.0} µs (here and below: the median of rounds)",
        median(rounds.iter().map(|round| round.direct.median_us))
    );
    let pairs = |at: fn(&Round) -> &Pair| rounds.iter().map(at).collect::<Vec<&Pair>>();
    let [at_1, at_32, at_64] =
        [pairs(|round| &round.at_1), pairs(|round| &round.at_32), pairs(|round| &round.at_64)];
    for (connections, pairs) in [(1, &at_1), (32, &at_32), (64, &at_64)] {
        print("bare proxy", connections, pairs.iter().map(|pair| &pair.bare));
        print("tollgate", connections, pairs.iter().map(|pair| &pair.tollgate));
    }
    let of_bare = "of the bare proxy's";
    for (connections, pairs) in [(32, &at_32), (64, &at_64)] {
        report.figure(
            format!("requests per second at {connections} connections, {of_bare}"),
            median(pairs.iter().map(|pair| pair.tollgate.rate / pair.bare.rate)),
            "",
            Target::AtLeast(0.60),
        );
        report.figure(
            format!("processor time per request at {connections} connections, {of_bare}"),
            median(pairs.iter().map(|pair| pair.tollgate.cpu_us / pair.bare.cpu_us)),
            "x",
            Target::AtMost(2.2),
        );
    }
    report.figure(
        format!("median latency added at 1 connection, {of_bare}"),
        median(rounds.iter().map(|Round { direct, at_1: Pair { bare, tollgate }, .. }| {
            (tollgate.median_us - direct.median_us) / (bare.median_us - direct.median_us)
        })),
        "x",
        Target::AtMost(2.0),
    );
    Ok(())
}

/// Loads both in turn.
async fn pair(
    bare: &Subject,
    tollgate: &Subject,
    round: usize,
    connections: usize,
    effort: Effort,
) -> Result<Pair> {
    let load = async |subject: &Subject| {
        let Server { process, address, .. } = &subject.server;
        load::run(process, address, &subject.request, connections, effort.window_ms).await
    };
    let (bare, tollgate) = load::in_turn(round, load(bare), load(tollgate)).await?;
    Ok(Pair { bare, tollgate })
}

fn print<'l>(name: &str, connections: usize, loads: impl Iterator<Item = &'l Load> + Clone) {
    let over = |figure: fn(&Load) -> f64| median(loads.clone().map(figure));
    println!(
        "  {name:<10} at {connections:>2}: {:>6.0} requests/s, median {:>5.0} µs, 99% within {:>5.0} µs, \
         {:>4.0} µs of processor time each",
        over(|load| load.rate),
        over(|load| load.median_us),
        over(|load| load.p99_us),
        over(|load| load.cpu_us)
    );
}
