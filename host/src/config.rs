//! The shell's part of the configuration file: `[server]` and `[upstreams]`, into types that cannot be wrong.
//!
//! The policy's tables are not read here. Secrets are references to the environment and are looked up last, so
//! that a file can be checked on a machine that has none.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderValue;
use tollgate_document::{Node, Problem, Problems, Section, duration, parse};

use crate::tls;
use crate::upstream::BaseUrl;

/// The top-level tables that are the shell's.
pub(crate) const SHELL_TABLES: [&str; 2] = ["server", "upstreams"];

/// What the shell reads of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[server]`.
    pub server: ServerSettings,
    /// `[upstreams]`, by name.
    pub upstreams: BTreeMap<String, UpstreamSettings>,
}

/// How requests come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where to listen. Default: 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// The most bytes of a request's body. Default: 16 MiB.
    pub body_limit: u64,
    /// How long a request's body may take to arrive. Default: 60 s.
    pub body_timeout: Duration,
    /// The most bytes of a request's head. Default: 64 KiB.
    pub head_limit: u64,
    /// How long a request's head may take to arrive. Default: 10 s.
    pub head_timeout: Duration,
    /// How many connections at most are open at once; more wait to be accepted. Default: 10,000.
    pub connections: u64,
    /// How long exchanges under way may still run when the server is told to stop. Default: 30 s.
    pub drain_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            body_limit: 16 << 20,
            body_timeout: Duration::from_secs(60),
            head_limit: 64 << 10,
            head_timeout: Duration::from_secs(10),
            connections: 10_000,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// One upstream, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Everything before the endpoint's path.
    pub base_url: BaseUrl,
    /// The environment variable that holds the credential; none: requests are sent without one.
    pub api_key_env: Option<String>,
    /// How long the upstream may be silent, before its answer and within it. Default: 60 s.
    pub timeout: Duration,
    /// How long a connection may take. Default: 5 s.
    pub connect_timeout: Duration,
    /// Whom to trust.
    pub(crate) tls: tls::Trust,
}

/// A value that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(HeaderValue);

impl Secret {
    /// The value as an `authorization: Bearer` header.
    pub(crate) fn bearer(&self) -> HeaderValue {
        self.0.clone()
    }

    fn new(value: &str) -> Option<Self> {
        let mut header = HeaderValue::from_str(&format!("Bearer {value}")).ok()?;
        header.set_sensitive(true);
        Some(Self(header))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Config {
    /// Reads the shell's tables of a configuration file.
    ///
    /// # Errors
    /// Every problem in them, or every place where the file is not TOML.
    pub fn read(text: &str) -> Result<Self, Vec<Problem>> {
        let document = parse(text)?;
        let mut problems = Problems::new(text);
        let root = Section::root(document.get_ref());
        let server = server(&root, &mut problems);
        let upstreams = upstreams(&root, &mut problems);
        if problems.is_empty() { Ok(Self { server, upstreams }) } else { Err(problems.into_sorted()) }
    }

    /// Looks up the credential of each upstream.
    ///
    /// # Errors
    /// Every variable that is missing, empty or no header value.
    pub fn credentials(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<BTreeMap<String, Secret>, Vec<Problem>> {
        let mut secrets = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, upstream) in &self.upstreams {
            let Some(variable) = &upstream.api_key_env else { continue };
            let value = environment(variable).map(|value| value.trim().to_owned());
            let wrong = match value.as_deref() {
                None => {
                    format!("the environment variable {variable} is not set; it must hold the upstream's key")
                }
                Some("") => {
                    format!("the environment variable {variable} is empty; it must hold the upstream's key")
                }
                Some(value) => match Secret::new(value) {
                    Some(secret) => {
                        secrets.insert(name.clone(), secret);
                        continue;
                    }
                    None => format!(
                        "the environment variable {variable} has characters that no HTTP header can hold"
                    ),
                },
            };
            problems.push(Problem { at: format!("upstreams.{name}.api_key"), line: None, message: wrong });
        }
        if problems.is_empty() { Ok(secrets) } else { Err(problems) }
    }
}

fn server(root: &Section<'_>, problems: &mut Problems<'_>) -> ServerSettings {
    let mut settings = ServerSettings::default();
    let Some(section) = root.get("server").and_then(|node| node.section(problems)) else { return settings };
    section.only(
        &[
            "listen",
            "body_limit",
            "body_timeout",
            "head_limit",
            "head_timeout",
            "connections",
            "drain_timeout",
        ],
        problems,
    );
    if let Some(node) = section.get("listen") {
        match node.text(problems).map(str::parse) {
            Some(Ok(listen)) => settings.listen = listen,
            Some(Err(_)) => node.wrong(problems, "must be an IP address and a port such as `127.0.0.1:8080`"),
            None => {}
        }
    }
    set(&mut settings.body_limit, size(&section, "body_limit", 1 << 10, 64 << 20, problems));
    set(&mut settings.head_limit, size(&section, "head_limit", 1 << 10, 1 << 20, problems));
    set(&mut settings.body_timeout, time(&section, "body_timeout", problems));
    set(&mut settings.head_timeout, time(&section, "head_timeout", problems));
    set(&mut settings.drain_timeout, time(&section, "drain_timeout", problems));
    set(
        &mut settings.connections,
        section.get("connections").and_then(|node| node.whole(1, 1_000_000, problems)),
    );
    settings
}

fn upstreams(root: &Section<'_>, problems: &mut Problems<'_>) -> BTreeMap<String, UpstreamSettings> {
    let Some(section) = root.get("upstreams").and_then(|node| node.section(problems)) else {
        return BTreeMap::new();
    };
    let mut upstreams = BTreeMap::new();
    for (name, node) in section.entries() {
        if let Some(upstream) = node.section(problems).and_then(|section| upstream(&section, problems)) {
            upstreams.insert(name.to_owned(), upstream);
        }
    }
    upstreams
}

fn upstream(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<UpstreamSettings> {
    section.only(&["base_url", "api_key", "timeout", "connect_timeout", "ca_file"], problems);
    let url = section.need("base_url", "the part of the URL before `/chat/completions`", problems);
    let base_url = url.and_then(|node| {
        let read = node.text(problems).map(BaseUrl::parse)?;
        read.map_err(|wrong| node.wrong(problems, wrong)).ok()
    });
    let api_key_env = section.get("api_key").and_then(|node| variable(&node, problems));
    let trust = match section.get("ca_file") {
        None => Some(tls::Trust::default()),
        Some(node) => node
            .text(problems)
            .and_then(|path| tls::Trust::with_file(path).map_err(|wrong| node.wrong(problems, wrong)).ok()),
    };
    Some(UpstreamSettings {
        api_key_env,
        timeout: time(section, "timeout", problems).unwrap_or(Duration::from_secs(60)),
        connect_timeout: time(section, "connect_timeout", problems).unwrap_or(Duration::from_secs(5)),
        tls: trust?,
        base_url: base_url?,
    })
}

/// The name in `{ env = "NAME" }`. A secret written into the file is refused, and not repeated.
fn variable(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<String> {
    const FORM: &str = "must be a reference to the environment such as `{ env = \"PROVIDER_API_KEY\" }`; \
                        secrets do not belong into this file";
    let Some(table) = node.value().as_table() else {
        node.wrong(problems, FORM);
        return None;
    };
    let section = Section::at(&node.at, table);
    section.only(&["env"], problems);
    let name = section.need("env", "the name of the environment variable", problems)?;
    let text = name.text(problems)?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if text.is_empty() || !text.bytes().all(is_name) {
        name.wrong(problems, "must be the name of an environment variable: letters, digits and `_`");
        return None;
    }
    Some(text.to_owned())
}

fn time(section: &Section<'_>, name: &str, problems: &mut Problems<'_>) -> Option<Duration> {
    let node = section.get(name)?;
    let read = duration(node.text(problems)?).map(Duration::from_millis);
    if read.is_none() {
        node.wrong(
            problems,
            "must be a duration such as `30s` (units `ms`, `s`, `m`, `h`, `d`; at most 366d)",
        );
    }
    read
}

/// Bytes: `65536`, `"64KiB"` or `"16MiB"`.
fn size(
    section: &Section<'_>,
    name: &str,
    least: u64,
    most: u64,
    problems: &mut Problems<'_>,
) -> Option<u64> {
    let node = section.get(name)?;
    if node.value().is_integer() {
        return node.whole(least, most, problems);
    }
    let text = node.text(problems)?;
    let (number, unit) = match text.strip_suffix("KiB") {
        Some(number) => (number, 1 << 10),
        None => (text.strip_suffix("MiB").unwrap_or_default(), 1 << 20),
    };
    let read = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let read = read.filter(|bytes| (least..=most).contains(bytes));
    if read.is_none() {
        node.wrong(
            problems,
            format!("must be a size such as `64KiB` or `16MiB`, from {least} to {most} bytes"),
        );
    }
    read
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once_with_its_place() {
        let text = "[server]\nlisten = \"nowhere\"\nbody_limit = \"9GiB\"\nhead_timout = \"1s\"\n\n\
                    [upstreams.a]\napi_key = \"sk-very-secret\"\n\n[upstreams.b]\nbase_url = \"ftp://x\"\ntimeout = \"soon\"\n";
        let problems = Config::read(text).unwrap_err();
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
            ]
        );
        assert!(!format!("{problems:?}").contains("sk-very-secret"));
        assert!(problems[2].message.contains("did you mean `head_timeout`"), "{}", problems[2].message);
    }

    #[test]
    fn missing_and_empty_credentials_are_refused_by_the_variables_name() {
        let text = "[upstreams.a]\nbase_url = \"http://x\"\napi_key = { env = \"A_KEY\" }\n\
                    [upstreams.b]\nbase_url = \"http://x\"\napi_key = { env = \"B_KEY\" }\n";
        let config = Config::read(text).unwrap();
        let problems = config.credentials(|name| (name == "B_KEY").then(|| " ".to_owned())).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].message.contains("A_KEY is not set"));
        assert!(problems[1].message.contains("B_KEY is empty"));
        let secrets = config.credentials(|_| Some("sk-1".into())).unwrap();
        assert_eq!(secrets["a"].bearer(), "Bearer sk-1");
        assert!(!format!("{secrets:?}").contains("sk-1"));
    }
}
