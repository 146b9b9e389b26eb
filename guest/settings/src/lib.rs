//! The shell's part of the configuration file, into types that cannot be wrong: `[server]`, `[upstreams]`,
//! `[ledger]`, `[ledger_api]`, `[admin]` and the `file` of `[prices]`.
//!
//! The policy's tables are not read here. Secrets are references to the environment and are looked up last, so
//! that a file can be checked on a machine that has none.

#![forbid(unsafe_code)]

mod admin;
mod base_url;
mod ledger;
mod ledger_api;
mod prices;
mod server;
mod upstream;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tollgate_document::{Problem, Problems, Section, parse};

pub use self::admin::AdminSettings;
pub use self::base_url::BaseUrl;
pub use self::ledger::{LOCAL_SHARE, LedgerSettings};
pub use self::ledger_api::LedgerApiSettings;
pub use self::server::ServerSettings;
pub use self::upstream::{Credential, UpstreamSettings};
use self::value::look_up;

/// The top-level tables that are the shell's.
pub const SHELL_TABLES: [&str; 5] = ["server", "upstreams", "ledger", "ledger_api", "admin"];

/// The least characters of a credential for operators or shells.
const LEAST_TOKEN: usize = 16;

/// What a shell reads of a configuration file. `T` is what it makes of an upstream's `ca_file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config<T> {
    /// `[server]`.
    pub server: ServerSettings,
    /// `[upstreams]`, by name.
    pub upstreams: BTreeMap<String, UpstreamSettings<T>>,
    /// `[ledger]`.
    pub ledger: LedgerSettings,
    /// `lease` of `[ledger]`: how long a hold lives without a sign of life. A running stream renews it. Default: 10 m.
    pub lease: Duration,
    /// `[ledger_api]`; none: there is no listener for other shells.
    pub ledger_api: Option<LedgerApiSettings>,
    /// `[admin]`; none: there is no listener for operators.
    pub admin: Option<AdminSettings>,
    /// `file` of `[prices]`: a price list, whose text the policy gets.
    pub prices: Option<PathBuf>,
}

/// What the environment holds for a configuration. `Debug` shows none of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// The credential of each upstream that has one.
    pub upstreams: BTreeMap<String, Credential>,
    /// What it takes to reach the ledger; see [`Config::ledger_secret`].
    pub ledger: Option<String>,
    /// What other shells present.
    pub ledger_api_token: Option<String>,
    /// What operators present.
    pub admin_token: Option<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl<T> Config<T> {
    /// Reads the shell's tables of a configuration file. `trust` says whom to trust where a file with certificates is
    /// named and where none is, or what is wrong with it.
    ///
    /// # Errors
    /// Every problem in them, or every place where the file is not TOML.
    pub fn read(text: &str, trust: &dyn Fn(Option<&str>) -> Result<T, String>) -> Result<Self, Vec<Problem>> {
        let document = parse(text)?;
        let mut problems = Problems::new(text);
        let root = Section::root(document.get_ref());
        let server = server::read(&root, &mut problems);
        let upstreams = upstream::read(&root, trust, &mut problems);
        let ledger = ledger::read(&root, &mut problems);
        let lease = ledger::read_lease(&root, &mut problems);
        let ledger_api = ledger_api::read(&root, &mut problems);
        let admin = admin::read(&root, &mut problems);
        let prices = prices::read(&root, &mut problems);
        if problems.is_empty() {
            Ok(Self { server, upstreams, ledger, lease, ledger_api, admin, prices })
        } else {
            Err(problems.into_sorted())
        }
    }

    /// Looks up the credentials of upstreams.
    ///
    /// # Errors
    /// Every variable that is missing, empty or no header value.
    pub fn credentials(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<BTreeMap<String, Credential>, Vec<Problem>> {
        let (mut credentials, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, upstream) in &self.upstreams {
            let Some(variable) = &upstream.api_key_env else { continue };
            let at = format!("upstreams.{name}.api_key");
            let found = look_up(environment, variable, at.clone(), "the upstream's key")
                .and_then(|value| Credential::new(&value).ok_or_else(|| unprintable(at, variable)));
            match found {
                Ok(credential) => _ = credentials.insert(name.clone(), credential),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(credentials) } else { Err(problems) }
    }

    /// Looks up what it takes to reach the ledger, for a store that is somewhere else: the URL of Redis, or the credential
    /// that a server knows shells by.
    ///
    /// # Errors
    /// The variable is missing or empty, or no header value where it must be one.
    pub fn ledger_secret(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, Problem> {
        let (at, variable, what) = match &self.ledger {
            LedgerSettings::Memory | LedgerSettings::Sqlite { .. } => return Ok(None),
            LedgerSettings::Redis { url_env, .. } => ("ledger.url", url_env, "the URL of Redis"),
            LedgerSettings::Remote { token_env, .. } => {
                ("ledger.token", token_env, "the credential of shells")
            }
        };
        let secret = look_up(environment, variable, at.to_owned(), what)?;
        if matches!(self.ledger, LedgerSettings::Remote { .. }) && Credential::new(&secret).is_none() {
            return Err(unprintable(at.to_owned(), variable));
        }
        Ok(Some(secret))
    }

    /// Looks up every secret that the configuration refers to.
    ///
    /// # Errors
    /// Every variable that is missing, empty, too weak or no header value.
    pub fn secrets(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Secrets, Vec<Problem>> {
        let mut secrets = Secrets::default();
        let mut problems = Vec::new();
        match self.credentials(environment) {
            Ok(credentials) => secrets.upstreams = credentials,
            Err(missing) => problems.extend(missing),
        }
        match self.ledger_secret(environment) {
            Ok(secret) => secrets.ledger = secret,
            Err(problem) => problems.push(problem),
        }
        let mut token = |at: &str, variable: &str, what| {
            let found = look_up(environment, variable, at.to_owned(), what);
            let found = found.and_then(|token| {
                let message = format!(
                    "the environment variable {variable} must hold at least {LEAST_TOKEN} characters"
                );
                let weak = Problem { at: at.to_owned(), line: None, message };
                if token.len() < LEAST_TOKEN { Err(weak) } else { Ok(token) }
            });
            found.map_err(|problem| problems.push(problem)).ok()
        };
        if let Some(variable) = self.admin.as_ref().and_then(|admin| admin.token_env.as_ref()) {
            secrets.admin_token = token("admin.token", variable, "the credential of operators");
        }
        if let Some(LedgerApiSettings { token_env, .. }) = &self.ledger_api {
            secrets.ledger_api_token = token("ledger_api.token", token_env, "the credential of shells");
        }
        if problems.is_empty() { Ok(secrets) } else { Err(problems) }
    }
}

fn unprintable(at: String, variable: &str) -> Problem {
    let message = format!("the environment variable {variable} has characters that no HTTP header can hold");
    Problem { at, line: None, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Config = super::Config<()>;

    fn read(text: &str) -> Result<Config, Vec<Problem>> {
        Config::read(text, &|_| Ok(()))
    }

    #[test]
    fn every_problem_is_reported_at_once_with_its_place() {
        let text = "[server]\nlisten = \"nowhere\"\nbody_limit = \"9GiB\"\nhead_timout = \"1s\"\n\n\
                    [upstreams.a]\napi_key = \"sk-very-secret\"\n\n[upstreams.b]\nbase_url = \"ftp://x\"\ntimeout = \"soon\"\n\
                    [ledger]\nstore = \"paper\"\n[admin]\nlisten = \"0.0.0.0:1\"\n";
        let problems = read(text).unwrap_err();
        let places: Vec<_> = problems.iter().map(|p| (p.at.as_str(), p.line.unwrap())).collect();
        assert_eq!(
            places,
            [
                ("server.listen", 2),
                ("server.body_limit", 3),
                ("server.head_timout", 4),
                ("upstreams.a.base_url", 6),
                ("upstreams.a.api_key", 7),
                ("upstreams.b.base_url", 10),
                ("upstreams.b.timeout", 11),
                ("ledger.store", 13),
                ("admin", 14),
            ]
        );
        assert!(!format!("{problems:?}").contains("sk-very-secret"));
        assert!(problems[2].message.contains("did you mean `head_timeout`"), "{}", problems[2].message);
    }

    #[test]
    fn missing_empty_and_weak_secrets_are_refused_by_the_variables_name() {
        let text = "[upstreams.a]\nbase_url = \"http://x\"\napi_key = { env = \"A_KEY\" }\n\
                    [upstreams.b]\nbase_url = \"http://x\"\napi_key = { env = \"B_KEY\" }\n\
                    [ledger]\nstore = \"redis\"\nurl = { env = \"THE_URL\" }\n\
                    [admin]\nlisten = \"0.0.0.0:1\"\ntoken = { env = \"THE_TOKEN\" }\n";
        let config = read(text).unwrap();
        let environment = |name: &str| match name {
            "B_KEY" => Some(" ".to_owned()),
            "THE_TOKEN" => Some("short".to_owned()),
            _ => None,
        };
        let problems = config.secrets(&environment).unwrap_err();
        let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        for (message, start) in
            messages.iter().zip(["A_KEY is not set", "B_KEY is empty", "THE_URL is not", "THE_TOKEN must"])
        {
            assert!(message.contains(start), "{message}");
        }
        assert_eq!(messages.len(), 4);
        let secrets = config.secrets(&|_| Some("sk-1-and-more-of-it".into())).unwrap();
        assert_eq!(secrets.upstreams["a"].bearer(), "Bearer sk-1-and-more-of-it");
        assert!(!format!("{secrets:?}").contains("sk-1"));
    }

    #[test]
    fn the_ledger_is_a_file_unless_told_otherwise() {
        let ledger = |text: &str| read(text).map(|config| config.ledger);
        assert_eq!(ledger(""), Ok(LedgerSettings::Sqlite { file: "tollgate.db".into() }));
        assert_eq!(ledger("[ledger]\nfile = \"x.db\"\n"), Ok(LedgerSettings::Sqlite { file: "x.db".into() }));
        assert_eq!(ledger("[ledger]\nstore = \"memory\"\n"), Ok(LedgerSettings::Memory));
        let redis = ledger("[ledger]\nstore = \"redis\"\nurl = { env = \"U\" }\nlocal_share = 50\n");
        assert!(matches!(redis, Ok(LedgerSettings::Redis { local_share_percent: 50, .. })));
        assert!(
            ledger("[ledger]\nstore = \"memory\"\nfile = \"x.db\"\n").is_err(),
            "a field of another store"
        );
        assert!(ledger("[ledger]\nstore = \"redis\"\nurl = \"redis://:secret@x\"\n").is_err());
    }

    #[test]
    fn books_with_a_server_need_its_address_and_a_credential_from_the_environment() {
        let table =
            "[ledger]\nstore = \"remote\"\nurl = \"http://ledger.test:8082\"\ntoken = { env = \"SHELLS\" }\n";
        let config = read(table).unwrap();
        let LedgerSettings::Remote { url, timeout, local_share_percent, .. } = &config.ledger else {
            panic!("{:?}", config.ledger)
        };
        assert_eq!((url.authority().host(), timeout.as_millis()), ("ledger.test", 250));
        assert_eq!(*local_share_percent, None);
        let secret = config.ledger_secret(&|_| Some(" secret ".to_owned())).unwrap().unwrap();
        assert_eq!(Credential::new(&secret).unwrap().bearer(), "Bearer secret");
        for wrong in [None, Some(" "), Some("a\u{7}b")] {
            let problem = config.ledger_secret(&|_| wrong.map(str::to_owned)).unwrap_err();
            assert!(problem.at == "ledger.token" && problem.message.contains("SHELLS"), "{problem:?}");
        }
        assert_eq!(read("").unwrap().ledger_secret(&|_| None), Ok(None));
        for (more, most) in
            [("local_share = 100\n", true), ("local_share = 0\n", false), ("namespace = \"a\"\n", false)]
        {
            assert_eq!(read(&format!("{table}{more}")).is_ok(), most, "{more}");
        }
    }

    #[test]
    fn a_lease_is_ten_minutes_unless_told_otherwise_and_never_below_a_second() {
        let lease = |text: &str| read(text).map(|config| config.lease.as_millis()).ok();
        assert_eq!(lease(""), Some(600_000));
        for store in ["sqlite\"", "memory\"", "redis\"\nurl = { env = \"U\" }"] {
            assert_eq!(lease(&format!("[ledger]\nstore = \"{store}\nlease = \"1s\"\n")), Some(1_000));
        }
        for wrong in ["\"999ms\"", "\"soon\"", "5"] {
            assert_eq!(lease(&format!("[ledger]\nlease = {wrong}\n")), None, "{wrong}");
        }
    }
}
