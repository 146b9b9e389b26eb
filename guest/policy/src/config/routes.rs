//! How a model's targets are put in order, and which of them a request can use at all.

use tollgate_document::{Node, Problems, Section, listed};

use super::limits;
use crate::estimate::MOST_OUTPUT;
use crate::message::Priority;
use crate::path;

/// What decides which target comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// The order of the file.
    #[default]
    Order,
    /// Chance, by weight.
    Weight,
    /// What this request costs at most.
    Price,
    /// How soon the upstream began its answers lately.
    Latency,
}

/// How a model's targets are put in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Within a region.
    pub by: By,
    /// Regions in order of preference, before all others.
    pub regions: Vec<String>,
}

/// What a request must be for a target; what is not there is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// One bit for each of the header conditions that must hold.
    pub headers: u64,
    /// A tag of the key.
    pub tag: Option<String>,
    /// Whether the client wants events.
    pub stream: Option<bool>,
    /// Whether there are tools.
    pub tools: Option<bool>,
    /// Estimated input tokens, at least.
    pub min_input_tokens: Option<u64>,
    /// Estimated input tokens, at most.
    pub max_input_tokens: Option<u64>,
    /// The key's priority.
    pub priority: Option<Priority>,
}

/// Every header condition of a configuration: a lower-case name and the value it must have. A condition is known by
/// its place, which is a bit of [`When::headers`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderConditions(Vec<(String, String)>);

/// So many bits there are.
const MOST_CONDITIONS: usize = 64;

impl HeaderConditions {
    /// The names, each once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let known = |index: usize, name: &str| self.0.iter().take(index).any(|(before, _)| before == name);
        self.0
            .iter()
            .enumerate()
            .filter(move |(index, (name, _))| !known(*index, name))
            .map(|(_, (name, _))| &**name)
    }

    /// Which of them hold for these headers.
    pub fn holding(&self, headers: &[crate::message::Header]) -> u64 {
        let holds = |(name, value): &(String, String)| {
            headers
                .iter()
                .any(|header| header.name == *name && header.value.trim_matches([' ', '\t']) == *value)
        };
        self.0
            .iter()
            .enumerate()
            .filter(|(_, condition)| holds(condition))
            .fold(0, |bits, (index, _)| bits | bit(index))
    }

    fn add(&mut self, name: &str, value: &str) -> Option<u64> {
        let known = self.0.iter().position(|known| (&*known.0, &*known.1) == (name, value));
        let index = match known {
            Some(index) => index,
            None if self.0.len() < MOST_CONDITIONS => {
                self.0.push((name.to_owned(), value.to_owned()));
                self.0.len().saturating_sub(1)
            }
            None => return None,
        };
        Some(bit(index))
    }
}

fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or(0)
}

/// Reads `route` and `regions` of a model.
pub fn route(section: &Section<'_>, problems: &mut Problems<'_>) -> Route {
    let by = section.get("route").and_then(|node| by(&node, problems)).unwrap_or_default();
    let list = section.get("regions").and_then(|list| list.list(problems));
    let regions = list.unwrap_or_default().into_iter().filter_map(|node| region(&node, problems)).collect();
    Route { by, regions }
}

fn by(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<By> {
    match node.text(problems)? {
        "order" => Some(By::Order),
        "weight" => Some(By::Weight),
        "price" => Some(By::Price),
        "latency" => Some(By::Latency),
        _ => {
            node.wrong(problems, "must be `order`, `weight`, `price` or `latency`");
            None
        }
    }
}

/// The name of a region: a word of the operator's.
pub fn region(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<String> {
    let name = node.text(problems)?;
    if !path::is_sound(name, 1) {
        node.wrong(problems, "a region has 1 to 64 of `A-Z a-z 0-9 . _ -`");
        return None;
    }
    Some(name.to_owned())
}

/// Reads `when` of a target. A condition that is wrong is a problem, never one less.
pub fn when(section: &Section<'_>, headers: &mut HeaderConditions, problems: &mut Problems<'_>) -> When {
    const KNOWN: [&str; 7] =
        ["header", "tag", "stream", "tools", "min_input_tokens", "max_input_tokens", "priority"];
    let Some(section) = section.get("when").and_then(|node| node.section(problems)) else {
        return When::default();
    };
    section.only(&KNOWN, problems);
    let mut count = |name| section.get(name).and_then(|node| node.whole(1, MOST_OUTPUT, problems));
    let (min_input_tokens, max_input_tokens) = (count("min_input_tokens"), count("max_input_tokens"));
    if let (Some(least), Some(most)) = (min_input_tokens, max_input_tokens)
        && least > most
        && let Some(node) = section.get("max_input_tokens")
    {
        node.wrong(problems, "is less than `min_input_tokens`: no request would match");
    }
    let mut flag = |name| section.get(name).and_then(|node| node.truth(problems));
    let (stream, tools) = (flag("stream"), flag("tools"));
    When {
        headers: section.get("header").map_or(0, |node| header_bits(&node, headers, problems)),
        tag: section.get("tag").and_then(|node| limits::tag(&node, problems)),
        stream,
        tools,
        min_input_tokens,
        max_input_tokens,
        priority: section.get("priority").and_then(|node| limits::priority(&node, problems)),
    }
}

fn header_bits(node: &Node<'_>, headers: &mut HeaderConditions, problems: &mut Problems<'_>) -> u64 {
    let Some(section) = node.section(problems) else { return 0 };
    let mut bits = 0;
    for (name, node) in section.entries() {
        let is_name = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_name {
            node.wrong(problems, "the name of a header has 1 to 64 of `a-z 0-9 -`, in lower case");
            continue;
        }
        if SECRET.contains(&name) {
            node.wrong(
                problems,
                format!("{} carry the caller's key: ask for a `tag` of it", listed(&SECRET)),
            );
            continue;
        }
        let Some(value) = node.text(problems) else { continue };
        if value.len() > 256 || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            node.wrong(
                problems,
                "the value of a header has at most 256 characters, all of them visible ASCII",
            );
            continue;
        }
        match headers.add(name, value) {
            Some(bit) => bits |= bit,
            None => node.wrong(problems, format!("there are more than {MOST_CONDITIONS} header conditions")),
        }
    }
    bits
}

/// Headers that hold keys.
const SECRET: [&str; 3] = crate::key::HEADERS;
