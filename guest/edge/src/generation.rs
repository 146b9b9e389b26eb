//! One loaded configuration: checked as a whole, by the shell and by the policy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use http::HeaderName;
use tollgate_document::Problem;
use tollgate_settings::SHELL_TABLES;

use crate::platform::Platform;
use crate::upstream::Upstream;
use crate::wit;

/// What this shell reads of a configuration file. It cannot choose whom to trust: the platform does.
type Config = tollgate_settings::Config<()>;

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

/// The names of the variables that a configuration refers to, which some platforms can only look up one by one and
/// beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VariableNames(pub BTreeSet<String>);

impl VariableNames {
    /// Those of the upstreams' credentials; none where the configuration cannot be read, which loading it will say.
    #[must_use]
    pub fn of(config: &str) -> Self {
        let upstreams = read(config).map(|config| config.upstreams).unwrap_or_default();
        Self(upstreams.into_values().filter_map(|upstream| upstream.api_key_env).collect())
    }
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
    wants_latencies: bool,
}

impl Generation {
    pub(crate) fn load<P: Platform>(
        text: &str,
        catalogue: Option<&str>,
        variables: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, NotLoaded> {
        let shell = read_for::<P>(text);
        let names = match &shell {
            Ok(config) => config.upstreams.keys().cloned().collect(),
            // The policy's problems are worth hearing although the shell has its own.
            Err(_) => declared_upstreams(text),
        };
        let mut problems = Vec::new();
        if catalogue.is_none() && price_list(text).is_some() {
            let message = "cannot be read: name a price list that is there".to_owned();
            problems.push(Problem { at: "prices.file".into(), line: None, message });
        }
        let credentials = match &shell {
            Ok(config) => config.credentials(variables).unwrap_or_else(|missing| {
                problems.extend(missing);
                BTreeMap::new()
            }),
            Err(found) => {
                problems.extend(found.iter().cloned());
                BTreeMap::new()
            }
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let loaded = wit::Gateway::load(wit::SettingsParam {
            config: text,
            shell_tables: &SHELL_TABLES,
            upstreams: &names,
            catalogue,
        });
        let loaded = loaded.map_err(|found| problems.extend(found.into_iter().map(problem))).ok();
        let (Ok(config), Some(loaded), true) = (shell, loaded, problems.is_empty()) else {
            problems.sort_by(|one, other| (one.line, &one.at).cmp(&(other.line, &other.at)));
            // Where the file is no TOML, both readers say so.
            problems.dedup();
            return Err(NotLoaded::Problems(problems));
        };
        let upstream =
            |(name, settings): (&String, _)| (name.clone(), Upstream::new(settings, credentials.get(name)));
        Ok(Self {
            upstreams: config.upstreams.iter().map(upstream).collect(),
            gateway: loaded.gateway,
            notes: loaded.notes.into_iter().map(problem).collect(),
            request_headers: names_of(&loaded.request_headers)?,
            forward_headers: names_of(&loaded.forward_headers)?,
            answer_headers: names_of(&loaded.answer_headers)?,
            relay_headers: names_of(&loaded.relay_headers)?,
            wants_latencies: loaded.wants_latencies,
            config,
        })
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

fn read(text: &str) -> Result<Config, Vec<Problem>> {
    Config::read(text, &|file| match file {
        None => Ok(()),
        Some(_) => Err("cannot be chosen here: the platform decides whom to trust".to_owned()),
    })
}

/// Reads a configuration for a platform. Budgets that are counted in two places are no budgets: where it cannot keep
/// the books as the file says, it keeps none.
fn read_for<P: Platform>(text: &str) -> Result<Config, Vec<Problem>> {
    let config = read(text)?;
    P::keeps(&config.ledger).map_err(|message| {
        vec![Problem { at: "ledger.store".into(), line: None, message: message.to_owned() }]
    })?;
    Ok(config)
}

/// The names under `[upstreams]`, whatever is wrong with them.
fn declared_upstreams(text: &str) -> Vec<String> {
    let Ok(document) = tollgate_document::parse(text) else { return Vec::new() };
    let table = document.get_ref().get("upstreams").and_then(|value| value.get_ref().as_table());
    table.map_or_else(Vec::new, |table| table.keys().map(|name| name.get_ref().to_string()).collect())
}

/// The price list that a configuration names, whatever else is wrong with it.
#[must_use]
pub fn price_list(text: &str) -> Option<String> {
    let document = tollgate_document::parse(text).ok()?;
    let table = document.get_ref().get("prices")?.get_ref().as_table()?;
    let file = table.get("file")?.get_ref().as_str()?;
    (!file.is_empty()).then(|| file.to_owned())
}

fn problem(problem: wit::Problem) -> Problem {
    Problem { at: problem.at, line: problem.line, message: problem.message }
}

fn names_of(names: &[String]) -> Result<Vec<HeaderName>, NotLoaded> {
    let read = names.iter().map(|name| HeaderName::from_bytes(name.as_bytes()));
    read.collect::<Result<_, _>>()
        .map_err(|_| NotLoaded::Policy("it asks for a header whose name is not a name"))
}
