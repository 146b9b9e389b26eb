//! The vector format: one exchange and its exact outcome, as a file a person can read.
//!
//! `vectors/README.md` describes it for people; these types are what is accepted. Anything else (an unknown
//! field, an unreadable file, a file in a strange place) fails the run: a vector nobody reads proves nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tollgate_policy::message::{Header, Rule};

use crate::body::Body;
use crate::instant::Instant;
use crate::outcome::Expected;
use crate::stored::Stored;

/// One exchange and its outcome.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// `area/sentence`, from where the file lies.
    #[serde(skip)]
    pub name: String,
    /// What a reader should know, where the sentence is not enough. Says nothing to a driver.
    #[serde(default, rename = "why")]
    pub _why: Option<String>,
    /// The configuration file.
    pub config: Config,
    /// The price list that it names.
    #[serde(default)]
    pub catalogue: Option<serde_json::Value>,
    /// When the exchange happens.
    #[serde(default)]
    pub now: Instant,
    /// What the ledger has seen before.
    #[serde(default)]
    pub ledger: Vec<Prior>,
    /// The keys in the shell's store.
    #[serde(default)]
    pub stored: Vec<Stored>,
    /// When the ledger can not be asked.
    #[serde(default)]
    pub ledger_unavailable: Option<Unavailable>,
    /// The random bits of every call.
    #[serde(default)]
    pub random: u64,
    /// How long upstreams took lately, in milliseconds.
    #[serde(default)]
    pub latencies: BTreeMap<String, u32>,
    /// First tries and tries after the first in the last ten seconds.
    #[serde(default)]
    pub load: (u32, u32),
    /// Upstreams whose breaker is open, and for how many milliseconds more; the breaker is the usual one.
    #[serde(default)]
    pub tripped: BTreeMap<String, u64>,
    /// What the client sends; none: the vector is about loading the configuration.
    pub request: Option<Request>,
    /// What each upstream answers, request by request. All of it must be asked for.
    #[serde(default)]
    pub provider: BTreeMap<String, Vec<Answer>>,
    /// Who runs this vector.
    #[serde(default = "every_driver")]
    pub drivers: Vec<Runtime>,
    /// The outcome; missing only until it is blessed.
    pub expect: Option<Expected>,
}

/// When a ledger can not be asked.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Unavailable {
    /// At no time.
    Always,
    /// When it should hold more in the middle of a stream.
    InStreams,
}

/// A way to run a policy and a shell.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// The policy crate and the reference walk, in memory.
    Native,
    /// The policy component and the reference walk.
    Component,
    /// The server, over loopback.
    Host,
    /// The component for Spin, over loopback.
    Spin,
    /// The plugin in a real Envoy, over loopback.
    Envoy,
}

fn every_driver() -> Vec<Runtime> {
    vec![Runtime::Native, Runtime::Component, Runtime::Host, Runtime::Spin, Runtime::Envoy]
}

/// Where the configuration file comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Config {
    /// `configs/<name>.toml`.
    Shared(String),
    /// Its lines.
    Lines(Vec<String>),
    /// A shared file and lines after it.
    More(More),
}

/// A shared file and lines after it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct More {
    shared: String,
    and: Vec<String>,
}

impl Config {
    /// The shared file's name, if there is one.
    pub fn shared(&self) -> Option<&str> {
        match self {
            Self::Shared(name) => Some(name),
            Self::Lines(_) => None,
            Self::More(more) => Some(&more.shared),
        }
    }

    /// The text of the configuration file.
    pub fn text(&self) -> String {
        match self {
            Self::Shared(name) => read_shared(name),
            Self::Lines(lines) => lines.join("\n") + "\n",
            Self::More(more) => read_shared(&more.shared) + &more.and.join("\n") + "\n",
        }
    }
}

fn read_shared(name: &str) -> String {
    let path = folder().join("configs").join(format!("{name}.toml"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Something the ledger granted before.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prior {
    /// The cell.
    pub cell: String,
    /// `[limit, period in milliseconds]`.
    window: Option<(u64, u64)>,
    /// `[limit, start, end]`.
    budget: Option<(u64, Instant, Instant)>,
    /// The limit.
    slots: Option<u64>,
    /// Units reserved and settled.
    #[serde(default)]
    pub settled: u64,
    /// Units reserved and not settled yet.
    #[serde(default)]
    pub held: u64,
    /// How long before the exchange, in milliseconds.
    #[serde(default)]
    pub ago_ms: u64,
}

impl Prior {
    /// The cell's rule.
    pub fn rule(&self) -> Rule {
        match (self.window, self.budget, self.slots) {
            (Some((limit, period_ms)), None, None) => Rule::Window { limit, period_ms },
            (None, Some((limit, start, end)), None) => {
                Rule::Budget { limit, start_ms: start.ms, end_ms: end.ms }
            }
            (None, None, Some(limit)) => Rule::Slots { limit },
            _ => panic!("{}: one of `window`, `budget` and `slots`", self.cell),
        }
    }
}

/// What the client sends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method.
    #[serde(default = "post")]
    pub method: String,
    /// Path and query.
    #[serde(default = "chat")]
    pub path: String,
    /// `name: value`, in order. Neither `host` nor framing: those belong to the client.
    #[serde(default = "alice")]
    pub headers: Vec<String>,
    /// The body.
    #[serde(default)]
    pub body: Body,
    /// Whether the client leaves once it has all that the provider sent before it hung.
    #[serde(default)]
    pub leaves: bool,
}

fn post() -> String {
    "POST".into()
}

fn chat() -> String {
    "/v1/chat/completions".into()
}

fn alice() -> Vec<String> {
    vec!["authorization: Bearer tg_alice".into(), "content-type: application/json".into()]
}

/// What an upstream answers to one request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The status.
    #[serde(default = "ok")]
    pub status: u16,
    /// `name: value`, in order. Not framing.
    #[serde(default = "json")]
    pub headers: Vec<String>,
    /// The body, in one piece.
    #[serde(default)]
    body: Body,
    /// The body, in these pieces.
    chunks: Option<Vec<Body>>,
    /// The body, in pieces of so many bytes.
    split: Option<usize>,
    /// What comes after the last piece, or in place of everything.
    #[serde(default)]
    pub ending: Ending,
}

/// How the provider ends an answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// As its framing says.
    #[default]
    Complete,
    /// The connection closes before that.
    Close,
    /// Nothing more comes.
    Hang,
    /// The connection closes with nothing sent.
    CloseBeforeHead,
    /// Nothing is ever sent.
    HangBeforeHead,
    /// Something that is not HTTP is sent.
    Garbage,
    /// There is no connection: nobody listens. The only answer of its upstream.
    Refuse,
}

fn ok() -> u16 {
    200
}

fn json() -> Vec<String> {
    vec!["content-type: application/json".into()]
}

impl Answer {
    /// The body's pieces, none of them empty.
    pub fn pieces(&self) -> Vec<Vec<u8>> {
        let whole = self.body.bytes();
        match (&self.chunks, self.split) {
            (Some(chunks), None) if whole.is_empty() => chunks.iter().map(|c| c.bytes().to_vec()).collect(),
            (None, Some(size)) => whole.chunks(size).map(<[u8]>::to_vec).collect(),
            (None, None) if whole.is_empty() => Vec::new(),
            (None, None) => vec![whole.to_vec()],
            _ => panic!("an answer has `chunks`, or a `body` and perhaps `split`"),
        }
    }

    /// The same answer with its bytes in pieces of `size`.
    pub fn resplit(&self, size: usize) -> Self {
        let body = Body::Bytes(self.pieces().concat());
        Self { body, chunks: None, split: Some(size), ..self.clone() }
    }

    /// Whether the answer says that it is a stream of events.
    pub fn is_event_stream(&self) -> bool {
        headers(&self.headers)
            .iter()
            .any(|h| h.name == "content-type" && h.value.starts_with("text/event-stream"))
    }
}

/// Reads `name: value` lines.
pub fn headers(lines: &[String]) -> Vec<Header> {
    let field = |line: &String| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("`{line}` is not `name: value`"));
        Header { name: name.to_ascii_lowercase(), value: value.into() }
    };
    lines.iter().map(field).collect()
}

/// The folder of all vectors.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// Every vector, in the order of their names.
pub fn all() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for area in entries(&folder()) {
        let area_name = area.file_name().unwrap().to_str().unwrap().to_owned();
        match area_name.as_str() {
            "README.md" => continue,
            "configs" => entries(&area).iter().for_each(|file| assert_ending(file, "toml")),
            _ => vectors.extend(entries(&area).iter().map(|file| read(file, &area_name))),
        }
    }
    vectors
}

fn read(file: &Path, area: &str) -> Vector {
    assert_ending(file, "json");
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut vector: Vector =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    vector.name = format!("{area}/{}", file.file_stem().unwrap().to_str().unwrap());
    assert!(!vector.drivers.is_empty(), "{}: no driver runs this", vector.name);
    vector
}

fn assert_ending(file: &Path, extension: &str) {
    let found = file.extension().and_then(|e| e.to_str());
    assert_eq!(found, Some(extension), "{}: nothing reads this file", file.display());
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = listing.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_anywhere_is_refused() {
        for text in [
            r#"{"config": "basic", "expected": {}}"#,
            r#"{"config": {"shared": "basic", "and": [], "or": []}}"#,
            r#"{"config": "basic", "request": {"body": "", "verb": "GET"}}"#,
            r#"{"config": "basic", "provider": {"main": [{"code": 200}]}}"#,
            r#"{"config": "basic", "drivers": ["moon"]}"#,
            r#"{"config": "basic", "stored": [{"secret": "tg_x", "key": "x", "limits": {"budget": []}}]}"#,
        ] {
            assert!(serde_json::from_str::<Vector>(text).is_err(), "{text}");
        }
    }
}
