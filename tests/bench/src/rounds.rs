//! The full path under load: Tollgate against the bare proxy, in rounds that alternate who goes first, so that a
//! machine that slows down slows both. Each figure is the median over rounds of the ratio within one round.

use anyhow::Result;

use crate::Effort;
use crate::load::{self, Load};
use crate::report::{Report, Target, median};
use crate::subjects::{Ledger, PLAIN, Server, Subjects};

/// One round's loads of one server.
struct Loads {
    at_1: Load,
    at_32: Load,
    at_64: Load,
}

/// Measures throughput, processor time and added latency.
pub async fn measure(subjects: &Subjects, effort: Effort, report: &mut Report) -> Result<()> {
    let bare = subjects.proxy()?;
    let (tollgate, _) = subjects.tollgate(&Ledger::Memory).await?;
    let direct_request = subjects.request(None, PLAIN, false);
    let tollgate_request = subjects.request(Some(&tollgate), PLAIN, false);

    let mut rounds = Vec::new();
    for round in 0..effort.rounds {
        let direct =
            load::run(&subjects.mock, &subjects.mock_address, &direct_request, 1, effort.window_ms).await?;
        let (b, t);
        if round % 2 == 0 {
            b = loads(&bare, &direct_request, effort).await?;
            t = loads(&tollgate, &tollgate_request, effort).await?;
        } else {
            t = loads(&tollgate, &tollgate_request, effort).await?;
            b = loads(&bare, &direct_request, effort).await?;
        }
        println!("round {}: direct at 1: median {:.0} µs", round + 1, direct.median_us);
        print("bare proxy", &b);
        print("tollgate", &t);
        rounds.push((direct, b, t));
    }

    let over = |ratio: &dyn Fn(&(Load, Loads, Loads)) -> f64| median(rounds.iter().map(ratio));
    let of_bare = "of the bare proxy's";
    report.figure(
        format!("requests per second at 32 connections, {of_bare}"),
        over(&|(_, b, t)| t.at_32.rate / b.at_32.rate),
        "",
        Target::AtLeast(0.60),
    );
    report.figure(
        format!("requests per second at 64 connections, {of_bare}"),
        over(&|(_, b, t)| t.at_64.rate / b.at_64.rate),
        "",
        Target::AtLeast(0.60),
    );
    report.figure(
        format!("processor time per request at 32 connections, {of_bare}"),
        over(&|(_, b, t)| t.at_32.cpu_us / b.at_32.cpu_us),
        "x",
        Target::AtMost(2.2),
    );
    report.figure(
        format!("median latency added at 1 connection, {of_bare}"),
        over(&|(d, b, t)| (t.at_1.median_us - d.median_us) / (b.at_1.median_us - d.median_us)),
        "x",
        Target::AtMost(2.0),
    );
    Ok(())
}

async fn loads(server: &Server, request: &std::sync::Arc<[u8]>, effort: Effort) -> Result<Loads> {
    let at = async |connections| {
        load::run(&server.process, &server.address, request, connections, effort.window_ms).await
    };
    Ok(Loads { at_1: at(1).await?, at_32: at(32).await?, at_64: at(64).await? })
}

fn print(name: &str, loads: &Loads) {
    for (connections, load) in [(1, &loads.at_1), (32, &loads.at_32), (64, &loads.at_64)] {
        println!(
            "  {name:<10} at {connections:>2}: {:>6.0} requests/s, median {:>5.0} µs, 99% within {:>5.0} µs, \
             {:>4.0} µs of processor time each",
            load.rate, load.median_us, load.p99_us, load.cpu_us
        );
    }
}
