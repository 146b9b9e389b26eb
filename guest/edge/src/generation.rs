//! One loaded configuration: checked as a whole, by the shell and by the policy.

use std::collections::BTreeMap;
use std::fmt;

use http::HeaderName;
use tollgate_document::Problem;
use tollgate_settings::SHELL_TABLES;

use crate::draft::{Config, Draft};
use crate::platform::Platform;
use crate::upstream::Upstream;
use crate::wit;

/// Why a configuration is not in force.
#[derive(Debug)]
pub enum NotLoaded {
    /// It has problems; all of them.
    Problems(Vec<Problem>),
    /// The policy cannot be used.
    Policy(&'static str),
}

impl fmt::Display for NotLoaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(cause) => write!(f, "the policy component cannot be used: {cause}"),
            Self::Problems(problems) => f.write_str(&told(problems)),
        }
    }
}

impl std::error::Error for NotLoaded {}

/// Problems or notes, each in one line: `line 7: models[0].price: what is wrong`.
fn told(problems: &[Problem]) -> String {
    let line = |problem: &Problem| {
        let line = problem.line.map_or_else(String::new, |line| format!("line {line}: "));
        let place = if problem.at.is_empty() { String::new() } else { format!("{}: ", problem.at) };
        line + &place + &problem.message
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One loaded configuration.
pub(crate) struct Generation {
    pub config: Config,
    pub gateway: wit::Gateway,
    pub upstreams: BTreeMap<String, Upstream>,
    pub notes: Vec<Problem>,
    pub request_headers: Vec<HeaderName>,
    pub forward_headers: Vec<HeaderName>,
    pub answer_headers: Vec<HeaderName>,
    pub relay_headers: Vec<HeaderName>,
    pub own_headers: Vec<HeaderName>,
    wants_latencies: bool,
}

impl Generation {
    /// Loads a configuration, and opens its ledger.
    pub(crate) fn load<P: Platform>(
        draft: Draft,
        catalogue: Option<&str>,
        variables: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, P::Ledger), NotLoaded> {
        let mut problems = Vec::new();
        if catalogue.is_none() && draft.price_list().is_some() {
            problems.push(problem_at("prices.file", "cannot be read: name a price list that is there"));
        }
        let names = draft.upstreams();
        let Draft { text, config } = draft;
        let shell = match config {
            Ok(config) => {
                let credentials = config.credentials(variables).map_err(|missing| problems.extend(missing));
                let ledger = open::<P>(&config, variables).map_err(|problem| problems.push(problem));
                credentials.ok().zip(ledger.ok()).map(|(credentials, ledger)| (config, credentials, ledger))
            }
            // The policy's problems are worth hearing although the shell has its own.
            Err(found) => {
                problems.extend(found);
                None
            }
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let loaded = wit::Gateway::load(wit::SettingsParam {
            config: &text,
            shell_tables: &SHELL_TABLES,
            upstreams: &names,
            catalogue,
        });
        let loaded = loaded.map_err(|found| problems.extend(found.into_iter().map(problem))).ok();
        let (Some((config, credentials, ledger)), Some(loaded), true) = (shell, loaded, problems.is_empty())
        else {
            return Err(NotLoaded::Problems(in_order(problems)));
        };
        let upstream =
            |(name, settings): (&String, _)| (name.clone(), Upstream::new(settings, credentials.get(name)));
        // Not collected: that sorts, and code that sorts is ten kilobytes for each type.
        let mut upstreams = BTreeMap::new();
        upstreams.extend(config.upstreams.iter().map(upstream));
        let generation = Self {
            upstreams,
            gateway: loaded.gateway,
            notes: loaded.notes.into_iter().map(problem).collect(),
            request_headers: names_of(&loaded.request_headers)?,
            forward_headers: names_of(&loaded.forward_headers)?,
            answer_headers: names_of(&loaded.answer_headers)?,
            relay_headers: names_of(&loaded.relay_headers)?,
            own_headers: names_of(&loaded.own_headers)?,
            wants_latencies: loaded.wants_latencies,
            config,
        };
        Ok((generation, ledger))
    }

    /// How long a hold lives without a sign of life. An exchange gives one only when its upstream does, so a lease is
    /// at least twice as long as any upstream may be silent.
    pub(crate) fn lease_ms(&self) -> u64 {
        let silences = self.upstreams.values().map(Upstream::longest_silence);
        let lease = silences.fold(self.config.lease, |lease, silence| lease.max(silence.saturating_mul(2)));
        u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)
    }

    /// How long each upstream took lately, in the order in which the policy knows them; empty if it does not ask.
    pub(crate) fn latencies(&self) -> Vec<Option<u32>> {
        if !self.wants_latencies {
            return Vec::new();
        }
        self.upstreams.values().map(|upstream| upstream.latency.average_ms()).collect()
    }
}

/// Problems by their lines, each once: where the file is no TOML, both readers say so.
fn in_order(problems: Vec<Problem>) -> Vec<Problem> {
    let key = |problem: &Problem| (problem.line, problem.at.clone());
    let mut ordered: Vec<Problem> = Vec::with_capacity(problems.len());
    for problem in problems {
        if !ordered.contains(&problem) {
            let place = ordered.partition_point(|before| key(before) <= key(&problem));
            ordered.insert(place, problem);
        }
    }
    ordered
}

/// Opens the ledger that a configuration names. Budgets that are counted in two places are no budgets: where a platform
/// cannot keep the books as the file says, it keeps none.
fn open<P: Platform>(
    config: &Config,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<P::Ledger, Problem> {
    let secret = config.ledger_secret(variables)?;
    P::ledger(&config.ledger, secret.as_deref()).map_err(|message| problem_at("ledger.store", message))
}

fn problem_at(at: &str, message: &str) -> Problem {
    Problem { at: at.to_owned(), line: None, message: message.to_owned() }
}

fn problem(problem: wit::Problem) -> Problem {
    Problem { at: problem.at, line: problem.line, message: problem.message }
}

fn names_of(names: &[String]) -> Result<Vec<HeaderName>, NotLoaded> {
    let read = names.iter().map(|name| HeaderName::from_bytes(name.as_bytes()));
    read.collect::<Result<_, _>>().map_err(|_| NotLoaded::Policy("it names a header that cannot be one"))
}
