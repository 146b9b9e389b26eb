//! The `keys` of a configuration: who may call, which models, how much and how long.

use std::collections::{BTreeMap, BTreeSet};

use super::limits::{self, Allowed, FIELDS, MOST_TAGS};
use super::models::{Declared, Model};
use super::scopes::Scopes;
use super::value::instant;
use crate::claim::Caller;
use crate::message::Priority;
use crate::path::{self, KEY_PARTS};
use tollgate_document::{Node, Problems, Section, listed, nearest, shown};

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name, and all that limits it.
    pub caller: Caller,
    /// SHA-256 of the key itself, which the configuration never has.
    pub digest: [u8; 32],
    /// The models it may use.
    pub allowed: Allowed,
    /// How urgent its requests are.
    pub priority: Priority,
    /// Words that routes can ask for.
    pub tags: Vec<String>,
    /// From when on it is no longer valid: milliseconds since the epoch.
    pub expires_ms: Option<u64>,
}

/// Reads every key and leaves out, with its problems, what is unsound.
pub fn read(
    root: &Section<'_>,
    models: &[Model],
    declared: &Declared<'_>,
    scopes: &Scopes<'_>,
    problems: &mut Problems<'_>,
) -> Vec<Key> {
    const NONE: &str =
        "there is no key, so nobody could call: add a `[[keys]]` table (`tollgate keys new` makes one)";
    let Some(list) = root.get("keys") else {
        problems.add("keys", None, NONE);
        return Vec::new();
    };
    let nodes = list.list(problems);
    if nodes.as_ref().is_some_and(Vec::is_empty) {
        list.wrong(problems, NONE);
    }
    let mut reading = Reading { models, declared, scopes, names: BTreeMap::new(), digests: BTreeMap::new() };
    let mut keys = Vec::new();
    for node in nodes.unwrap_or_default() {
        if let Some(section) = node.section(problems) {
            keys.extend(reading.key(&section, problems));
        }
    }
    reading.check_names(problems);
    check_scopes(scopes, &keys, models, problems);
    keys
}

/// What keys are checked against: the tables before them, and one another.
struct Reading<'r, 'd> {
    models: &'r [Model],
    declared: &'r Declared<'r>,
    scopes: &'r Scopes<'r>,
    names: BTreeMap<&'d str, Node<'d>>,
    digests: BTreeMap<[u8; 32], &'d str>,
}

impl<'d> Reading<'_, 'd> {
    fn key(&mut self, section: &Section<'d>, problems: &mut Problems<'_>) -> Option<Key> {
        let known: Vec<&str> =
            ["name", "digest", "models", "priority", "tags", "expires"].into_iter().chain(FIELDS).collect();
        section.only(&known, problems);
        let name = self.name(section, problems);
        let digest = digest(section, name, &mut self.digests, problems);
        let allowed = match section.get("models") {
            Some(list) => allowed(&list, self.declared, problems),
            None => Some(Allowed::All),
        };
        let priority =
            section.get("priority").and_then(|node| limits::priority(&node, problems)).unwrap_or_default();
        let tags = section.get("tags").map(|list| tags(&list, problems)).unwrap_or_default();
        let expires_ms = section.get("expires").and_then(|node| instant(&node, problems));
        let own = limits::read(section, name.unwrap_or_default(), problems);
        if let Some(allowed) = &allowed {
            own.meet(self.models, allowed, problems);
        }

        let (name, digest, allowed) = (name?, digest?, allowed?);
        let around = path::around(name).filter_map(|scope| self.scopes.get(scope));
        let limits = around.flat_map(|scope| scope.limits.clone()).chain(own.limits).collect();
        let caller = Caller { name: name.to_owned(), limits };
        Some(Key { caller, digest, allowed, priority, tags, expires_ms })
    }

    fn name(&mut self, section: &Section<'d>, problems: &mut Problems<'_>) -> Option<&'d str> {
        let node = section.need("name", "what the books call the key", problems)?;
        let name = node.text(problems)?;
        if !path::is_sound(name, KEY_PARTS) {
            node.wrong(problems, path::form("key", KEY_PARTS));
            return None;
        }
        if self.names.contains_key(name) {
            node.wrong(problems, format!("there is another key named `{name}`"));
            return None;
        }
        self.names.insert(name, node);
        Some(name)
    }

    /// A path is a key or a scope, never both.
    fn check_names(&self, problems: &mut Problems<'_>) {
        let mut scopes = BTreeSet::new();
        scopes.extend(self.scopes.keys().copied());
        scopes.extend(self.names.keys().flat_map(|name| path::around(name)));
        for (name, node) in &self.names {
            if scopes.contains(name) {
                let message = format!("`{name}` is a scope, so no key can have this name: add a part to it");
                node.wrong(problems, message);
            }
        }
    }
}

/// The budgets of a scope meet every model that a key below it may use.
fn check_scopes(scopes: &Scopes<'_>, keys: &[Key], models: &[Model], problems: &mut Problems<'_>) {
    for (name, scope) in scopes {
        let mut met = Allowed::Only(BTreeSet::new());
        let below = keys.iter().filter(|key| path::around(&key.caller.name).any(|around| around == *name));
        below.for_each(|key| met.join(&key.allowed));
        scope.meet(models, &met, problems);
    }
}

fn tags(list: &Node<'_>, problems: &mut Problems<'_>) -> Vec<String> {
    let nodes = list.list(problems).unwrap_or_default();
    if nodes.len() > MOST_TAGS {
        list.wrong(problems, format!("must be at most {MOST_TAGS} tags"));
    }
    let mut tags = Vec::new();
    for node in nodes {
        match limits::tag(&node, problems) {
            Some(tag) if tags.contains(&tag) => node.wrong(problems, "is listed twice"),
            tag => tags.extend(tag),
        }
    }
    tags
}

fn digest<'d>(
    section: &Section<'d>,
    name: Option<&'d str>,
    digests: &mut BTreeMap<[u8; 32], &'d str>,
    problems: &mut Problems<'_>,
) -> Option<[u8; 32]> {
    let hint = "`sha256:` and the SHA-256 of the key in hexadecimal (`tollgate keys new` prints it)";
    let node = section.need("digest", hint, problems)?;
    let digest = node.text(problems)?.strip_prefix("sha256:").and_then(hexadecimal);
    let Some(digest) = digest else {
        // Not quoted: someone may have put the key itself here.
        node.wrong(
            problems,
            "must be `sha256:` and 64 lower-case hexadecimal digits; never put the key itself here",
        );
        return None;
    };
    if let Some(other) = digests.insert(digest, name.unwrap_or("?")) {
        node.wrong(problems, format!("is the digest of key `{other}` too: two keys must differ"));
        return None;
    }
    Some(digest)
}

fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    let is_lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 64 || !text.bytes().all(is_lower) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

fn allowed(list: &Node<'_>, declared: &Declared<'_>, problems: &mut Problems<'_>) -> Option<Allowed> {
    let nodes = list.list(problems)?;
    if nodes.is_empty() {
        list.wrong(problems, "a key needs at least one model; leave `models` out to allow every model");
        return None;
    }
    let mut models = BTreeSet::new();
    for node in nodes {
        let Some(name) = node.text(problems) else { continue };
        match declared.get(name) {
            Some(Some(index)) if !models.insert(*index) => node.wrong(problems, "is listed twice"),
            Some(_) => {}
            None => {
                let known: Vec<&str> = declared.keys().copied().collect();
                node.wrong(problems, no_model(name, &known));
            }
        }
    }
    Some(Allowed::Only(models))
}

/// What to say of a model that is not there; `known` are.
pub fn no_model(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("there is no model `{}`; did you mean `{}`?", shown(name), shown(near)),
        None => format!("there is no model `{}`; there are {}", shown(name), listed(known)),
    }
}
