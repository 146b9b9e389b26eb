//! The `keys` of a configuration: who may call, which models, and how much.

use std::collections::{BTreeMap, BTreeSet};

use super::models::{Declared, Model};
use super::value::{Budget, budget, window};
use crate::claim::Limit;
use tollgate_document::{Node, Problems, Section, listed, nearest, shown};

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What the books call it. Part of the ledger's cell names.
    pub name: String,
    /// SHA-256 of the key itself, which the configuration never has.
    pub digest: [u8; 32],
    /// The models it may use, by index; none: every model.
    pub models: Option<BTreeSet<u32>>,
    /// What it may use, in the order of its claims.
    pub limits: Vec<Limit>,
}

impl Key {
    /// Whether it may use the model with this index.
    pub fn may_use(&self, model: u32) -> bool {
        self.models.as_ref().is_none_or(|models| models.contains(&model))
    }
}

const LONGEST_NAME: usize = 64;

/// Reads every key and leaves out, with its problems, what is unsound.
pub fn read(
    root: &Section<'_>,
    models: &[Model],
    declared: &Declared<'_>,
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
    let mut keys = Vec::new();
    let mut seen = Seen::default();
    for node in nodes.unwrap_or_default() {
        if let Some(section) = node.section(problems) {
            keys.extend(key(&section, models, declared, &mut seen, problems));
        }
    }
    keys
}

#[derive(Default)]
struct Seen<'d> {
    names: BTreeSet<&'d str>,
    digests: BTreeMap<[u8; 32], &'d str>,
}

fn key<'d>(
    section: &Section<'d>,
    models: &[Model],
    declared: &Declared<'_>,
    seen: &mut Seen<'d>,
    problems: &mut Problems<'_>,
) -> Option<Key> {
    section.only(&["name", "digest", "models", "requests", "tokens", "budget"], problems);
    let name = name(section, seen, problems);
    let digest = digest(section, name, seen, problems);
    let allowed = match section.get("models") {
        Some(list) => allowed(&list, declared, problems).map(Some),
        None => Some(None),
    };
    let requests = section.get("requests").map(|node| window(&node, problems));
    let tokens = section.get("tokens").map(|node| window(&node, problems));
    let budget = section.get("budget").map(|node| {
        let budget = budget(&node, problems)?;
        same_currency(&node, &budget, allowed.as_ref()?.as_ref(), models, problems);
        Some(budget)
    });

    let (name, digest, models) = (name?, digest?, allowed?);
    let mut limits = Vec::new();
    if let Some(window) = requests {
        limits.push(Limit::requests(name, window?));
    }
    if let Some(window) = tokens {
        limits.push(Limit::tokens(name, window?));
    }
    if let Some(budget) = budget {
        limits.push(Limit::money(name, budget?));
    }
    Some(Key { name: name.to_owned(), digest, models, limits })
}

fn name<'d>(section: &Section<'d>, seen: &mut Seen<'d>, problems: &mut Problems<'_>) -> Option<&'d str> {
    let node = section.need("name", "what the books call the key", problems)?;
    let name = node.text(problems)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(fits) {
        // Not quoted: someone may have put the key itself here.
        node.wrong(
            problems,
            format!("a key's name has 1 to {LONGEST_NAME} of the characters A-Z a-z 0-9 . _ -"),
        );
        return None;
    }
    if !seen.names.insert(name) {
        node.wrong(problems, format!("there is another key named `{name}`"));
        return None;
    }
    Some(name)
}

fn digest<'d>(
    section: &Section<'d>,
    name: Option<&'d str>,
    seen: &mut Seen<'d>,
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
    if let Some(other) = seen.digests.insert(digest, name.unwrap_or("?")) {
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

fn allowed(list: &Node<'_>, declared: &Declared<'_>, problems: &mut Problems<'_>) -> Option<BTreeSet<u32>> {
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
                let message = match nearest(name, &known) {
                    Some(near) => {
                        format!("there is no model `{}`; did you mean `{}`?", shown(name), shown(near))
                    }
                    None => format!("there is no model `{}`; there are {}", shown(name), listed(&known)),
                };
                node.wrong(problems, message);
            }
        }
    }
    Some(models)
}

/// A budget counts one currency: every price it may meet must be in it.
fn same_currency(
    node: &Node<'_>,
    budget: &Budget,
    allowed: Option<&BTreeSet<u32>>,
    models: &[Model],
    problems: &mut Problems<'_>,
) {
    for (index, model) in (0_u32..).zip(models) {
        if allowed.is_some_and(|allowed| !allowed.contains(&index)) {
            continue;
        }
        let mut prices = model.targets.iter().map(|target| target.price);
        if let Some(price) = prices.find(|price| !price.is_free() && price.currency != budget.currency) {
            let (budget, priced) = (budget.currency, price.currency);
            let (budget, priced, name) = (budget.as_str(), priced.as_str(), shown(&model.name));
            let message = format!(
                "the budget is in {budget}, but model `{name}` is priced in {priced}, and there is no exchange rate"
            );
            node.wrong(problems, message);
        }
    }
}
