//! What came of an exchange: what every driver must see alike, and how it is written in a vector.
//!
//! A run makes an [`Outcome`]; the file holds an [`Expected`], which resolves to one. They are compared whole:
//! there is no field that may differ. Nothing here runs anything.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use tollgate_policy::message::{Header, Price, Problem, Usage};

use crate::body::{self, Body};
use crate::instant::Instant;
use crate::vector::{Vector, headers};

/// What came of one vector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The configuration's problems, where it was refused.
    pub problems: Vec<String>,
    /// What an operator should know of it, where it was not.
    pub notes: Vec<String>,
    /// What the client received.
    pub client: Option<Received>,
    /// What the upstreams received, in order.
    pub upstream: Vec<Sent>,
    /// Every cell of the ledger: units settled and units held.
    pub ledger: BTreeMap<String, Cell>,
    /// The exchange's row in the books, where one was written.
    pub usage: Option<Usage>,
    /// How the exchange ended, where claims were granted.
    pub ending: Option<String>,
    /// The waits before another try, in milliseconds; those of none left out.
    pub waits: Vec<u64>,
    /// What was to be held in all, each time that more was asked for inside a stream: one amount for each claim.
    pub raises: Vec<Vec<u64>>,
}

/// An answer as the client received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The status.
    pub status: u16,
    /// All headers but those of the shell, in the order of their names.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the connection was cut before the body's end.
    pub cut: bool,
}

/// A request as an upstream received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The upstream's name.
    pub upstream: String,
    /// Behind the base URL.
    pub path: String,
    /// Those the policy lets through, in the order of their names.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Vec<u8>,
}

/// What one cell of the ledger holds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Units settled.
    #[serde(default)]
    pub settled: u64,
    /// Units held.
    #[serde(default)]
    pub held: u64,
}

/// An outcome as written in a vector.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    #[serde(default)]
    problems: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
    client: Option<ExpectedReceived>,
    #[serde(default)]
    upstream: Vec<ExpectedSent>,
    #[serde(default)]
    ledger: BTreeMap<String, Cell>,
    usage: Option<ExpectedUsage>,
    ending: Option<String>,
    #[serde(default)]
    waits: Vec<u64>,
    #[serde(default)]
    raises: Vec<Vec<u64>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedReceived {
    status: u16,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    body: Body,
    #[serde(default)]
    cut: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedSent {
    upstream: String,
    path: String,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    body: Body,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedUsage {
    key: String,
    model: String,
    upstream: Option<String>,
    upstream_model: Option<String>,
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    cached_input_tokens: u64,
    #[serde(default)]
    cache_write_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    #[serde(default)]
    reasoning_tokens: u64,
    #[serde(default)]
    estimated: bool,
    charge: u64,
    currency: String,
    #[serde(default)]
    price: ExpectedPrice,
}

/// A price. What is not written follows from input and output, as in a configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedPrice {
    input: u64,
    cached_input: Option<u64>,
    cache_write: Option<u64>,
    output: u64,
    reasoning: Option<u64>,
    since: Option<Instant>,
    source: Option<String>,
}

impl Expected {
    /// The outcome this stands for.
    pub fn resolve(self, vector: &Vector) -> Outcome {
        let client = self.client.map(|client| Received {
            status: client.status,
            headers: headers(&client.headers),
            body: client.body.resolve(&last_answer(vector)),
            cut: client.cut,
        });
        let sent = |sent: ExpectedSent| Sent {
            upstream: sent.upstream,
            path: sent.path,
            headers: headers(&sent.headers),
            body: sent.body.resolve(request_body(vector)),
        };
        Outcome {
            problems: self.problems,
            notes: self.notes,
            client,
            upstream: self.upstream.into_iter().map(sent).collect(),
            ledger: self.ledger,
            usage: self.usage.map(Usage::from),
            ending: self.ending,
            waits: self.waits,
            raises: self.raises,
        }
    }
}

impl From<ExpectedUsage> for Usage {
    fn from(usage: ExpectedUsage) -> Self {
        Self {
            key: usage.key,
            model: usage.model,
            upstream: usage.upstream,
            upstream_model: usage.upstream_model,
            input_tokens: usage.input_tokens,
            cached_input_tokens: usage.cached_input_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            output_tokens: usage.output_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            estimated: usage.estimated,
            charge: usage.charge,
            currency: usage.currency,
            price: usage.price.into(),
        }
    }
}

impl From<ExpectedPrice> for Price {
    fn from(price: ExpectedPrice) -> Self {
        let ExpectedPrice { input, output, since, source, .. } = price;
        Self {
            input,
            cached_input: price.cached_input.unwrap_or(input),
            cache_write: price.cache_write.unwrap_or(input),
            output,
            reasoning: price.reasoning.unwrap_or(output),
            since_ms: since.map(|since| since.ms),
            source,
        }
    }
}

fn request_body(vector: &Vector) -> &[u8] {
    vector.request.as_ref().map_or(&[], |request| request.body.bytes())
}

/// The body that a relayed answer comes from: the only one there is, or the one asked for last, which a vector
/// with several upstreams names by giving it no successor.
fn last_answer(vector: &Vector) -> Vec<u8> {
    let last = vector.provider.values().filter_map(|answers| answers.last());
    let whole = last.filter(|answer| answer.status == 200).map(|answer| answer.pieces().concat());
    whole.max_by_key(Vec::len).unwrap_or_default()
}

impl Outcome {
    /// The outcome as it is written in a vector, as the value of `expect`.
    pub fn write(&self, vector: &Vector) -> String {
        let mut fields = Vec::new();
        if !self.problems.is_empty() {
            fields.push(format!("\"problems\": {}", lines(&self.problems, "    ")));
        }
        if !self.notes.is_empty() {
            fields.push(format!("\"notes\": {}", lines(&self.notes, "    ")));
        }
        if let Some(client) = &self.client {
            fields.push(format!("\"client\": {}", client.write(&last_answer(vector))));
        }
        if !self.upstream.is_empty() {
            let sent: Vec<_> = self.upstream.iter().map(|sent| sent.write(request_body(vector))).collect();
            fields.push(format!("\"upstream\": [\n      {}\n    ]", sent.join(",\n      ")));
        }
        if !self.ledger.is_empty() {
            let cells: Vec<_> =
                self.ledger.iter().map(|(name, cell)| format!("{}: {}", text(name), cell.write())).collect();
            fields.push(format!("\"ledger\": {{\n      {}\n    }}", cells.join(",\n      ")));
        }
        if let Some(usage) = &self.usage {
            fields.push(format!("\"usage\": {}", write_usage(usage)));
        }
        if let Some(ending) = &self.ending {
            fields.push(format!("\"ending\": {}", text(ending)));
        }
        if !self.waits.is_empty() {
            fields.push(format!("\"waits\": {:?}", self.waits));
        }
        if !self.raises.is_empty() {
            fields.push(format!("\"raises\": {:?}", self.raises));
        }
        match fields.as_slice() {
            [] => "{}".into(),
            fields => format!("{{\n    {}\n  }}", fields.join(",\n    ")),
        }
    }
}

impl Received {
    /// Status and body, for people.
    pub fn lossy(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }

    fn write(&self, original: &[u8]) -> String {
        let mut out = format!("{{\n      \"status\": {}", self.status);
        let _ = write!(out, ",\n      \"headers\": {}", header_lines(&self.headers, "      "));
        if !self.body.is_empty() {
            let _ = write!(out, ",\n      \"body\": {}", body::write(&self.body, original, "      "));
        }
        if self.cut {
            out.push_str(",\n      \"cut\": true");
        }
        out + "\n    }"
    }
}

impl Sent {
    fn write(&self, original: &[u8]) -> String {
        let mut out = format!("{{ \"upstream\": {}, \"path\": {}", text(&self.upstream), text(&self.path));
        if !self.headers.is_empty() {
            let _ = write!(out, ",\n        \"headers\": {}", header_lines(&self.headers, "        "));
        }
        let _ = write!(out, ",\n        \"body\": {} }}", body::write(&self.body, original, "        "));
        out
    }
}

impl Cell {
    fn write(self) -> String {
        match self {
            Self { settled, held: 0 } => format!("{{ \"settled\": {settled} }}"),
            Self { settled: 0, held } => format!("{{ \"held\": {held} }}"),
            Self { settled, held } => format!("{{ \"settled\": {settled}, \"held\": {held} }}"),
        }
    }
}

fn write_usage(usage: &Usage) -> String {
    let mut out = format!("{{\n      \"key\": {}, \"model\": {}", text(&usage.key), text(&usage.model));
    for (name, value) in [("upstream", &usage.upstream), ("upstream_model", &usage.upstream_model)] {
        if let Some(value) = value {
            let _ = write!(out, ", \"{name}\": {}", text(value));
        }
    }
    out.push_str(",\n      ");
    for (name, count) in [
        ("input_tokens", usage.input_tokens),
        ("cached_input_tokens", usage.cached_input_tokens),
        ("cache_write_tokens", usage.cache_write_tokens),
        ("output_tokens", usage.output_tokens),
        ("reasoning_tokens", usage.reasoning_tokens),
    ] {
        if count != 0 {
            let _ = write!(out, "\"{name}\": {count}, ");
        }
    }
    if usage.estimated {
        out.push_str("\"estimated\": true, ");
    }
    let _ = write!(out, "\"charge\": {}, \"currency\": {}", usage.charge, text(&usage.currency));
    if usage.price != Price::default() {
        let _ = write!(out, ",\n      \"price\": {}", write_price(&usage.price));
    }
    out + "\n    }"
}

fn write_price(price: &Price) -> String {
    let Price { input, cached_input, cache_write, output, reasoning, since_ms, source } = price;
    let mut fields = vec![("input", input.to_string()), ("cached_input", cached_input.to_string())];
    if cache_write != input {
        fields.push(("cache_write", cache_write.to_string()));
    }
    fields.push(("output", output.to_string()));
    if reasoning != output {
        fields.push(("reasoning", reasoning.to_string()));
    }
    fields.extend(since_ms.map(|ms| ("since", text(&Instant { ms }.to_string()))));
    fields.extend(source.as_ref().map(|source| ("source", text(source))));
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{ {} }}", fields.join(", "))
}

fn header_lines(headers: &[Header], indent: &str) -> String {
    let list: Vec<String> = headers.iter().map(|h| format!("{}: {}", h.name, h.value)).collect();
    lines(&list, indent)
}

fn lines(list: &[String], indent: &str) -> String {
    match list {
        [] => "[]".into(),
        [one] => format!("[{}]", text(one)),
        _ => {
            let inner: Vec<String> = list.iter().map(|line| format!("{indent}  {}", text(line))).collect();
            format!("[\n{}\n{indent}]", inner.join(",\n"))
        }
    }
}

fn text(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// How a problem is written in a vector: `models[0].price (line 7): what is wrong`.
pub fn problem_line(problem: &Problem) -> String {
    let place = if problem.at.is_empty() { "the file" } else { &problem.at };
    match problem.line {
        Some(line) => format!("{place} (line {line}): {}", problem.message),
        None => format!("{place}: {}", problem.message),
    }
}
