//! A loaded configuration and what belongs to it. Immutable but for what this worker counted lately.

use std::cell::RefCell;
use std::collections::BTreeSet;

use proxy_wasm::types::LogLevel;
use serde_json::Value;
use tollgate_policy::{Gateway, Loaded, Problem, Settings as Loading};
use tollgate_settings::{Config, SHELL_TABLES};

use crate::lately::Lately;
use crate::plugin::log;
use crate::{ledger, record};

/// The shell's tables of the file. What they say of clusters, timeouts, listeners and credentials is Envoy's own to know,
/// and passed over.
pub type Settings = Config<()>;

/// A gateway and its shell's settings.
pub struct Gate {
    /// The policy and the headers it deals with.
    pub policy: Loaded,
    /// The shell's own.
    pub settings: Settings,
    /// What an operator should know.
    pub notes: Vec<Problem>,
    /// What this worker saw lately.
    pub lately: RefCell<Lately>,
    /// The organisations of the keys: each has its own sheet of the ledger.
    organisations: BTreeSet<String>,
}

impl Gate {
    /// Reads a plugin's configuration: the TOML of a configuration file, or a JSON object with that text as `config`
    /// and, where it names a price list, the text of that as `prices`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(configuration: &[u8]) -> Result<Self, Vec<Problem>> {
        let wrong =
            |message: &str| vec![Problem { at: String::new(), line: None, message: message.to_owned() }];
        let text = str::from_utf8(configuration).map_err(|_| wrong("must be UTF-8"))?;
        // TOML never begins with a brace.
        let (config, prices) = if text.trim_start().starts_with('{') {
            let object: Value = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
            let field = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
            let config = field("config");
            (config.ok_or_else(|| wrong("`config` is missing: the text of the file"))?, field("prices"))
        } else {
            (text.to_owned(), None)
        };
        let settings = Settings::read(&config, &|_| Ok(()));
        // The policy reads the file too, and all problems are told at once.
        let upstreams = settings.as_ref().map(|settings| settings.upstreams.keys().cloned().collect());
        let loading = Loading {
            config: &config,
            shell_tables: SHELL_TABLES.map(str::to_owned).to_vec(),
            upstreams: upstreams.unwrap_or_default(),
            catalogue: prices.as_deref(),
        };
        let (settings, mut policy) = match (settings, Gateway::load(&loading)) {
            (Ok(settings), Ok(policy)) => (settings, policy),
            // What is no TOML is told once.
            (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => return Err(problems),
            (Err(mut problems), Err(more)) => {
                problems.extend(
                    more.into_iter().filter(|problem| !problems.contains(problem)).collect::<Vec<_>>(),
                );
                return Err(problems);
            }
        };
        let notes = std::mem::take(&mut policy.notes);
        let callers = policy.gateway.callers();
        let organisations =
            callers.iter().map(|caller| ledger::organisation(&caller.key).to_owned()).collect();
        let lately = RefCell::new(Lately::new(settings.upstreams.len()));
        Ok(Self { policy, settings, notes, lately, organisations })
    }

    /// How long a hold stays open without a sign of life, in milliseconds.
    pub fn lease_ms(&self) -> u64 {
        u64::try_from(self.settings.lease.as_millis()).unwrap_or(u64::MAX)
    }

    /// Closes the holds whose lease has passed: those of a worker that is gone. They are charged as held.
    pub fn expire(&self, now: u64) {
        for organisation in &self.organisations {
            match ledger::expire(organisation, now) {
                Ok(lost) => lost.iter().for_each(|row| record::row(row)),
                Err(cause) => log(LogLevel::Error, &format!("leases were not looked at: {cause}")),
            }
        }
    }
}
