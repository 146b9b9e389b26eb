//! A loaded configuration and what belongs to it. Immutable but for what this worker counted lately.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value;
use tollgate_ledger::keyring::Keyring;
use tollgate_policy::{Gateway, Loaded, Problem, Settings as Loading};
use tollgate_settings::{Config, Credential, LOCAL_SHARE, LedgerSettings, SHELL_TABLES};

use crate::breakers::Breakers;
use crate::callers::Caller;
use crate::lately::Lately;
use crate::ledger::Ledger;
use crate::server::Server;
use crate::sheets::Sheets;

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
    /// Where the books are.
    pub ledger: Ledger,
    /// Which upstreams are left alone.
    pub breakers: Breakers,
    /// The callers that the ledger was asked about lately.
    pub callers: RefCell<Keyring<Caller>>,
    /// What this worker saw lately.
    pub lately: RefCell<Lately>,
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
        let (ledger, breakers) = books(&settings, &policy).map_err(|problem| vec![problem])?;
        let lately = RefCell::new(Lately::new(settings.upstreams.len()));
        Ok(Self { policy, settings, notes, ledger, breakers, callers: RefCell::default(), lately })
    }

    /// How long a hold stays open without a sign of life, in milliseconds.
    pub fn lease_ms(&self) -> u64 {
        u64::try_from(self.settings.lease.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The books and breakers that `[ledger]` names. What is no server is the memory of this Envoy.
fn books(settings: &Settings, policy: &Loaded) -> Result<(Ledger, Breakers), Problem> {
    let keys = || policy.gateway.callers().into_iter().map(|caller| caller.key);
    let wrong =
        |at: &str, message: &str| Problem { at: at.to_owned(), line: None, message: message.to_owned() };
    let (url, timeout, percent) = match &settings.ledger {
        LedgerSettings::Memory | LedgerSettings::Sqlite { .. } => {
            return Ok((Ledger::Here(Sheets::new("sheet", keys())), Breakers::here()));
        }
        LedgerSettings::Redis { .. } => {
            return Err(wrong(
                "ledger.store",
                "must be `memory` or `remote` inside Envoy: Redis is for `tollgate serve`",
            ));
        }
        LedgerSettings::Remote { url, timeout, local_share_percent, .. } => {
            (url, *timeout, local_share_percent.unwrap_or(LOCAL_SHARE))
        }
    };
    let secret = settings.ledger_secret(&|name| std::env::var(name).ok())?;
    let credential = secret.as_deref().and_then(Credential::new);
    let server = credential.and_then(|credential| Server::new(url.clone(), &credential, timeout));
    let server = server.ok_or_else(|| wrong("ledger.token", "must be printable"))?;
    let server = Rc::new(server);
    let breakers = Breakers::there(Rc::clone(&server));
    Ok((Ledger::There { server, share: Sheets::new("share", keys()), percent }, breakers))
}
