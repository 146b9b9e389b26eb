//! The shell's part of the configuration, as far as it means something in Envoy: where upstreams are, how large a body
//! may be, how long a lease lasts.
//!
//! The file is that of every other shell. Clusters, timeouts, listeners and credentials are Envoy's own: what the file
//! says of them is read by the server only, and passed over here.

use std::collections::BTreeMap;

use tollgate_document::{Problem, Problems, Section, duration, parse};

/// The tables that shells read themselves.
pub const TABLES: [&str; 5] = ["server", "upstreams", "ledger", "ledger_api", "admin"];

/// What the shell reads.
#[derive(Debug)]
pub struct Settings {
    /// By their names, which are those of Envoy's clusters.
    pub upstreams: BTreeMap<String, BaseUrl>,
    /// The most bytes of a request's body.
    pub body_limit: u64,
    /// How long a hold stays open without a sign of life, in milliseconds.
    pub lease_ms: u64,
}

/// Where an upstream is: everything before the path that a target adds.
#[derive(Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Host, and port if there is one.
    pub authority: String,
    /// Without a slash at its end.
    pub prefix: String,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn read(text: &str) -> Result<Self, Vec<Problem>> {
        let document = parse(text)?;
        let root = Section::root(document.get_ref());
        let mut problems = Problems::new(text);
        let settings = Self {
            upstreams: upstreams(&root, &mut problems),
            body_limit: body_limit(&root, &mut problems),
            lease_ms: lease(&root, &mut problems),
        };
        if problems.is_empty() { Ok(settings) } else { Err(problems.into_sorted()) }
    }
}

fn upstreams(root: &Section<'_>, problems: &mut Problems<'_>) -> BTreeMap<String, BaseUrl> {
    let mut upstreams = BTreeMap::new();
    let Some(section) = root.get("upstreams").and_then(|node| node.section(problems)) else {
        return upstreams;
    };
    for (name, node) in section.entries() {
        let Some(section) = node.section(problems) else { continue };
        section.only(&["base_url", "api_key", "timeout", "connect_timeout", "ca_file"], problems);
        let hint = "the part of the URL before `/chat/completions`";
        let Some(url) = section.need("base_url", hint, problems) else { continue };
        match url.text(problems).map(base_url) {
            Some(Some(base)) => drop(upstreams.insert(name.to_owned(), base)),
            Some(None) => url.wrong(problems, "must be an absolute URL such as `https://api.openai.com/v1`"),
            None => {}
        }
    }
    upstreams
}

fn base_url(text: &str) -> Option<BaseUrl> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    let sound = |byte: u8| (b'!'..=b'~').contains(&byte) && !b"?#@\\".contains(&byte);
    if authority.is_empty() || !rest.bytes().all(sound) {
        return None;
    }
    Some(BaseUrl { authority: authority.to_owned(), prefix: path.trim_end_matches('/').to_owned() })
}

/// `server.body_limit`: bytes, `"64KiB"` or `"16MiB"`. The default is 16 MiB.
fn body_limit(root: &Section<'_>, problems: &mut Problems<'_>) -> u64 {
    const RANGE: std::ops::RangeInclusive<u64> = 1 << 10..=64 << 20;
    let section = root.get("server").and_then(|node| node.section(problems));
    let Some(node) = section.and_then(|section| section.get("body_limit")) else { return 16 << 20 };
    let limit = if node.value().is_integer() {
        node.whole(*RANGE.start(), *RANGE.end(), problems)
    } else {
        let text = node.text(problems).unwrap_or_default();
        let (number, unit) = match text.strip_suffix("KiB") {
            Some(number) => (number, 1 << 10),
            None => (text.strip_suffix("MiB").unwrap_or_default(), 1 << 20),
        };
        let read = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        let read = read.filter(|bytes| RANGE.contains(bytes));
        if read.is_none() {
            node.wrong(problems, "must be a size such as `64KiB` or `16MiB`");
        }
        read
    };
    limit.unwrap_or(0)
}

/// `ledger.lease`. The default is ten minutes.
fn lease(root: &Section<'_>, problems: &mut Problems<'_>) -> u64 {
    let section = root.get("ledger").and_then(|node| node.section(problems));
    let Some(node) = section.and_then(|section| section.get("lease")) else { return 600_000 };
    let lease = node.text(problems).and_then(duration).filter(|lease| *lease >= 1_000);
    if lease.is_none() {
        node.wrong(problems, "must be a duration of at least `1s`");
    }
    lease.unwrap_or(0)
}
