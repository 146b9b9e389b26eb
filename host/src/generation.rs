//! One loaded configuration: checked as a whole, then in force until another takes its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderName;
use tollgate_document::Problem;
use tollgate_settings::{SHELL_TABLES, Secrets};

use crate::config::{self, Config};
use crate::policy::{Component, LoadError, Policy, Refused};
use crate::upstream::Upstream;

/// Where variables are looked up.
pub(crate) type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// How a file that a configuration names is read.
pub(crate) type Files = Arc<dyn Fn(&Path) -> std::io::Result<String> + Send + Sync>;

/// Why a configuration is not in force.
#[derive(Debug)]
pub enum NotLoaded {
    /// It has problems; all of them.
    Problems(Vec<Problem>),
    /// The policy component cannot be used.
    Policy(String),
}

impl fmt::Display for NotLoaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(cause) => write!(f, "the policy component cannot be used: {cause}"),
            Self::Problems(problems) => {
                f.write_str(&problems.iter().map(told).collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

/// A problem, or a note, in one line: `line 7: models[0].price: what is wrong`.
#[must_use]
pub fn told(problem: &Problem) -> String {
    let line = problem.line.map_or_else(String::new, |line| format!("line {line}: "));
    let place = if problem.at.is_empty() { String::new() } else { format!("{}: ", problem.at) };
    line + &place + &problem.message
}

impl std::error::Error for NotLoaded {}

impl From<LoadError> for NotLoaded {
    fn from(error: LoadError) -> Self {
        Self::Policy(error.to_string())
    }
}

/// One loaded configuration. An exchange keeps the one it began with.
pub(crate) struct Generation {
    pub config: Config,
    pub policy: Policy,
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    pub request_headers: Vec<HeaderName>,
    pub forward_headers: Vec<HeaderName>,
    pub answer_headers: Vec<HeaderName>,
    pub relay_headers: Vec<HeaderName>,
    pub own_headers: Vec<HeaderName>,
}

impl Generation {
    /// How long a hold lives without a sign of life.
    pub(crate) fn lease_ms(&self) -> u64 {
        u64::try_from(self.config.lease.as_millis()).unwrap_or(u64::MAX)
    }

    /// Checks all of a configuration, so that every problem is found at once, and loads it.
    pub(crate) fn load(
        text: &str,
        component: Component,
        environment: &Environment,
        files: &Files,
        before: Option<&Self>,
    ) -> Result<(Self, Secrets), NotLoaded> {
        let shell = config::read(text);
        let names = match &shell {
            Ok(config) => config.upstreams.keys().cloned().collect(),
            // The policy's problems are worth hearing although the shell has its own.
            Err(_) => declared_upstreams(text),
        };
        let tables = SHELL_TABLES.iter().map(|table| (*table).to_owned()).collect();
        let mut problems = Vec::new();
        let catalogue = declared_prices(text).and_then(|file| {
            let wrong = |cause| unread(&file, &cause);
            files(&file).map_err(|cause| problems.push(wrong(cause))).ok()
        });
        let policy = Policy::load(component, text.to_owned(), tables, names, catalogue);
        let secrets = match &shell {
            Ok(config) => config.secrets(&**environment).unwrap_or_else(|missing| {
                problems.extend(missing);
                Secrets::default()
            }),
            Err(found) => {
                problems.extend(found.iter().cloned());
                Secrets::default()
            }
        };
        let policy = match policy {
            Ok(policy) => Some(policy),
            Err(Refused::Problems(found)) => {
                problems.extend(found);
                None
            }
            Err(Refused::Broken(broken)) => return Err(NotLoaded::Policy(broken.to_string())),
        };
        let (Ok(config), Some(policy), true) = (shell, policy, problems.is_empty()) else {
            problems.sort_by(|one, other| (one.line, &one.at).cmp(&(other.line, &other.at)));
            // Where the file is no TOML, both readers say so.
            problems.dedup();
            return Err(NotLoaded::Problems(problems));
        };

        let mut upstreams = BTreeMap::new();
        for (name, settings) in &config.upstreams {
            let secret = secrets.upstreams.get(name);
            // An upstream that did not change keeps its connections.
            let kept =
                before.and_then(|before| before.upstreams.get(name)).filter(|u| u.is(settings, secret));
            let upstream = match kept {
                Some(upstream) => Arc::clone(upstream),
                None => Arc::new(
                    Upstream::new(settings.clone(), secret)
                        .map_err(|error| NotLoaded::Policy(error.to_string()))?,
                ),
            };
            upstreams.insert(name.clone(), upstream);
        }
        let headers = policy.headers().clone();
        let generation = Self {
            config,
            upstreams,
            request_headers: names_of(&headers.request)?,
            forward_headers: names_of(&headers.forward)?,
            answer_headers: names_of(&headers.answer)?,
            relay_headers: names_of(&headers.relay)?,
            own_headers: names_of(&headers.own)?,
            policy,
        };
        Ok((generation, secrets))
    }
}

impl Generation {
    /// How long each upstream took lately, in the order in which the policy knows them; empty if it does not ask.
    pub(crate) fn latencies(&self) -> Vec<Option<u32>> {
        if !self.policy.wants_latencies() {
            return Vec::new();
        }
        self.upstreams.values().map(|upstream| upstream.latency.average_ms()).collect()
    }
}

/// The names under `[upstreams]`, whatever is wrong with them.
fn declared_upstreams(text: &str) -> Vec<String> {
    let Ok(document) = tollgate_document::parse(text) else { return Vec::new() };
    let table = document.get_ref().get("upstreams").and_then(|value| value.get_ref().as_table());
    table.map_or_else(Vec::new, |table| table.keys().map(|name| name.get_ref().to_string()).collect())
}

/// The price list that a configuration names, whatever else is wrong with it.
pub(crate) fn declared_prices(text: &str) -> Option<PathBuf> {
    let document = tollgate_document::parse(text).ok()?;
    let table = document.get_ref().get("prices")?.get_ref().as_table()?;
    let file = table.get("file")?.get_ref().as_str()?;
    (!file.is_empty()).then(|| file.into())
}

fn unread(file: &Path, cause: &std::io::Error) -> Problem {
    let message = format!("{} cannot be read ({cause}): name a price list that is there", file.display());
    Problem { at: "prices.file".into(), line: None, message }
}

/// More names than any policy needs, of headers of one kind.
const MOST_NAMES: usize = 1_000;

fn names_of(names: &[String]) -> Result<Vec<HeaderName>, NotLoaded> {
    if names.len() > MOST_NAMES {
        return Err(NotLoaded::Policy(format!("it names more than {MOST_NAMES} headers of one kind")));
    }
    let read = names.iter().map(|name| HeaderName::from_bytes(name.as_bytes()).map(lasting));
    read.collect::<Result<_, _>>()
        .map_err(|_| NotLoaded::Policy("it names a header that cannot be one".into()))
}

/// So many bytes of names are kept for ever.
const MOST_KEPT: usize = 16 << 10;

/// The same name, as one that costs nothing to repeat: else all threads would count at one place how often it is used. It
/// is kept as long as the process; a policy that is loaded again mostly says the same. Where policies have said more names
/// than there is room for, the next ones are counted.
fn lasting(name: HeaderName) -> HeaderName {
    static KEPT: Mutex<(BTreeSet<&str>, usize)> = Mutex::new((BTreeSet::new(), 0));
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let (names, bytes) = &mut *kept;
    if let Some(known) = names.get(name.as_str()) {
        return HeaderName::from_static(known);
    }
    let longer = bytes.saturating_add(name.as_str().len());
    if longer > MOST_KEPT {
        return name;
    }
    *bytes = longer;
    let text = String::leak(name.as_str().to_owned());
    names.insert(text);
    HeaderName::from_static(text)
}
