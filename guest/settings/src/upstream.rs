//! `[upstreams]`: where requests go. The credential is a reference to the environment.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderValue;
use tollgate_document::{Problems, Section};

use crate::BaseUrl;
use crate::value::{time, variable};

/// One upstream, without its secret. `T` is what the shell makes of `ca_file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings<T> {
    /// Everything before the endpoint's path.
    pub base_url: BaseUrl,
    /// The environment variable that holds the credential; none: requests are sent without one.
    pub api_key_env: Option<String>,
    /// How long the upstream may be silent, before its answer and within it. Default: 60 s.
    pub timeout: Duration,
    /// How long a connection may take. Default: 5 s.
    pub connect_timeout: Duration,
    /// Whom to trust.
    pub trust: T,
}

/// A value that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(HeaderValue);

impl Credential {
    /// The value as an `authorization: Bearer` header.
    #[must_use]
    pub fn bearer(&self) -> HeaderValue {
        self.0.clone()
    }

    /// A credential that is presented as this text; none if no HTTP header can hold it.
    #[must_use]
    pub fn new(value: &str) -> Option<Self> {
        let mut header = HeaderValue::from_str(&format!("Bearer {value}")).ok()?;
        header.set_sensitive(true);
        Some(Self(header))
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(..)")
    }
}

pub(crate) fn read<T>(
    root: &Section<'_>,
    trust: &dyn Fn(Option<&str>) -> Result<T, String>,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, UpstreamSettings<T>> {
    let Some(section) = root.get("upstreams").and_then(|node| node.section(problems)) else {
        return BTreeMap::new();
    };
    let mut upstreams = BTreeMap::new();
    for (name, node) in section.entries() {
        if let Some(upstream) = node.section(problems).and_then(|section| upstream(&section, trust, problems))
        {
            upstreams.insert(name.to_owned(), upstream);
        }
    }
    upstreams
}

fn upstream<T>(
    section: &Section<'_>,
    trust: &dyn Fn(Option<&str>) -> Result<T, String>,
    problems: &mut Problems<'_>,
) -> Option<UpstreamSettings<T>> {
    section.only(&["base_url", "api_key", "timeout", "connect_timeout", "ca_file"], problems);
    let url = section.need("base_url", "the part of the URL before `/chat/completions`", problems);
    let base_url = url.and_then(|node| BaseUrl::read(&node, problems));
    let api_key_env = section.get("api_key").and_then(|node| variable(&node, problems));
    let trust = match section.get("ca_file") {
        None => trust(None).ok(),
        Some(node) => node
            .text(problems)
            .and_then(|path| trust(Some(path)).map_err(|wrong| node.wrong(problems, wrong)).ok()),
    };
    Some(UpstreamSettings {
        api_key_env,
        timeout: time(section, "timeout", problems).unwrap_or(Duration::from_secs(60)),
        connect_timeout: time(section, "connect_timeout", problems).unwrap_or(Duration::from_secs(5)),
        trust: trust?,
        base_url: base_url?,
    })
}
