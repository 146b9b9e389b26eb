//! Keys of the shell's store: what their limits mean here, and the configuration's own keys in the same words.
//!
//! A path's limits come from the configuration and from the store, and all of them apply; where both name one cell,
//! the configuration's limit is the cell's, so that everyone who counts in it has the same rule. A key that cannot
//! be read whole may do nothing: half of its limits are not its limits.

use std::collections::BTreeSet;

use crate::claim::Caller;
use crate::config::{Allowed, Config, Key, MOST_TAGS, clashes, is_tag, no_model};
use crate::limit::{Limit, MOST_BUDGETS};
use crate::message::{Limits, Principal, Problem, Scope, Unit};
use crate::path::{self, KEY_PARTS};

/// A key of the store, as this configuration understands it.
#[derive(Debug)]
pub struct Stored {
    pub caller: Caller,
    pub allowed: Allowed,
}

/// Reads a key of the store, or tells everything that is wrong with it. Models that are gone are left out, as long
/// as one is there.
pub fn read(config: &Config, principal: &Principal) -> Result<Stored, Vec<Problem>> {
    let mut problems = Vec::new();
    check_names(config, principal, &mut problems);
    check_tags(&principal.tags, &mut problems);
    let allowed = allowed(config, principal.models.as_deref(), &mut problems);

    let name = &principal.key;
    let mut limits = Vec::new();
    for scope in path::around(name).chain([name.as_str()]) {
        let at = principal.scopes.iter().position(|stored| stored.name == scope);
        let stored = match at.and_then(|index| Some((index, principal.scopes.get(index)?))) {
            Some((index, stored)) => {
                parsed(scope, &stored.limits, &format!("scopes[{index}].limits"), &mut problems)
            }
            None if scope == name => parsed(scope, &principal.limits, "limits", &mut problems),
            None => Vec::new(),
        };
        for (place, limit) in &stored {
            let messages =
                limit.currency().into_iter().flat_map(|found| clashes(found, config.models(), &allowed));
            problems.extend(messages.map(|message| problem(place, message)));
        }
        let mut all: Vec<Limit> = config.limits_of(scope).cloned().collect();
        for limit in &all {
            let messages =
                limit.currency().into_iter().flat_map(|found| clashes(found, config.models(), &allowed));
            problems
                .extend(messages.map(|message| problem("key", format!("{}: {message}", limit.told(name)))));
        }
        for (_, limit) in stored {
            if !all.iter().any(|known| known.shares_cell(&limit)) {
                all.push(limit);
            }
        }
        for unit in [Unit::Requests, Unit::Tokens, Unit::Concurrent, Unit::Money] {
            limits.extend(all.extract_if(.., |limit| limit.unit() == unit));
        }
    }
    if problems.is_empty() {
        Ok(Stored { caller: Caller { name: name.clone(), limits }, allowed })
    } else {
        Err(problems)
    }
}

/// The same for a key that is to be kept: every model it names must be there.
pub fn check(config: &Config, principal: &Principal) -> Result<Stored, Vec<Problem>> {
    let known: Vec<&str> = config.models().iter().map(|model| model.name.as_str()).collect();
    let named = principal.models.iter().flatten().enumerate();
    let missing = named.filter(|(_, name)| config.model_named(name).is_none());
    let missing = missing.map(|(index, name)| problem(&format!("models[{index}]"), no_model(name, &known)));
    let mut missing = missing.collect::<Vec<_>>();
    match read(config, principal) {
        Ok(stored) if missing.is_empty() => Ok(stored),
        Ok(_) => Err(missing),
        Err(problems) => {
            missing.extend(problems);
            Err(missing)
        }
    }
}

/// A key of the configuration, with the scopes around it that have limits.
pub fn of_key(config: &Config, key: &Key) -> Principal {
    let name = &key.caller.name;
    let limits = |scope: &str| written(key.caller.limits.iter().filter(|limit| limit.scope == scope));
    let scopes = path::around(name).map(|scope| Scope { name: scope.to_owned(), limits: limits(scope) });
    let models = config.models_in(&key.allowed).map(|model| model.name.clone());
    Principal {
        key: name.clone(),
        limits: limits(name),
        scopes: scopes.filter(|scope| scope.limits != Limits::default()).collect(),
        models: (key.allowed != Allowed::All).then(|| models.collect()),
        priority: key.priority,
        tags: key.tags.clone(),
        expires_ms: key.expires_ms,
    }
}

fn check_names(config: &Config, principal: &Principal, problems: &mut Vec<Problem>) {
    let name = principal.key.as_str();
    if !path::is_sound(name, KEY_PARTS) {
        problems.push(problem("key", path::form("key", KEY_PARTS)));
        return;
    }
    if config.has_scope(name) {
        problems.push(problem(
            "key",
            format!("`{name}` is a scope of the configuration, so no key can have this name"),
        ));
    }
    if let Some(around) = path::around(name).find(|around| config.has_key(around)) {
        problems.push(problem(
            "key",
            format!("`{around}` is a key of the configuration, so no key can lie below it"),
        ));
    }
    let mut outer = path::around(name);
    for (index, scope) in principal.scopes.iter().enumerate() {
        if !outer.any(|around| around == scope.name) {
            let message = "must be a scope around the key, each once and the outermost first";
            problems.push(problem(&format!("scopes[{index}].name"), message));
        }
    }
}

fn check_tags(tags: &[String], problems: &mut Vec<Problem>) {
    if tags.len() > MOST_TAGS {
        problems.push(problem("tags", format!("must be at most {MOST_TAGS} tags")));
    }
    for (index, tag) in tags.iter().enumerate() {
        if !is_tag(tag) {
            problems.push(problem(&format!("tags[{index}]"), "a tag has 1 to 64 of `A-Z a-z 0-9 . _ : -`"));
        }
    }
}

fn allowed(config: &Config, models: Option<&[String]>, problems: &mut Vec<Problem>) -> Allowed {
    let Some(names) = models else { return Allowed::All };
    let mut found = BTreeSet::new();
    found.extend(names.iter().filter_map(|name| config.model_named(name)).map(|(index, _)| index));
    if found.is_empty() {
        problems.push(problem("models", "none of these models is there"));
    }
    Allowed::Only(found)
}

/// The limits of a scope, each with its place.
fn parsed(scope: &str, limits: &Limits, at: &str, problems: &mut Vec<Problem>) -> Vec<(String, Limit)> {
    let windows = [("requests", &limits.requests, Limit::requests as fn(&str, &str) -> _)];
    let windows =
        windows.into_iter().chain([("tokens", &limits.tokens, Limit::tokens as fn(&str, &str) -> _)]);
    let windows = windows
        .filter_map(|(field, text, parse)| Some((format!("{at}.{field}"), parse(scope, text.as_ref()?))));
    let concurrent =
        limits.concurrent.map(|most| (format!("{at}.concurrent"), Limit::concurrent(scope, most)));
    if limits.budgets.len() > MOST_BUDGETS {
        let message = format!("must be at most {MOST_BUDGETS} budgets");
        problems.push(problem(&format!("{at}.budgets"), message));
    }
    let budgets = limits.budgets.iter().take(MOST_BUDGETS).enumerate();
    let budgets = budgets.map(|(index, text)| (format!("{at}.budgets[{index}]"), Limit::money(scope, text)));
    let mut sound: Vec<(String, Limit)> = Vec::new();
    for (place, limit) in windows.chain(concurrent).chain(budgets) {
        match limit {
            Ok(limit) if sound.iter().any(|(_, known)| known.shares_cell(&limit)) => {
                problems.push(problem(&place, "is a second budget of this currency and period"));
            }
            Ok(limit) => sound.push((place, limit)),
            Err(message) => problems.push(problem(&place, message)),
        }
    }
    sound
}

/// Limits as they are written.
fn written<'l>(limits: impl Iterator<Item = &'l Limit>) -> Limits {
    let mut written = Limits::default();
    for limit in limits {
        match limit.unit() {
            Unit::Requests => written.requests = Some(limit.text.clone()),
            Unit::Tokens => written.tokens = Some(limit.text.clone()),
            Unit::Concurrent => written.concurrent = Some(limit.most()),
            Unit::Money => written.budgets.push(limit.text.clone()),
        }
    }
    written
}

fn problem(at: &str, message: impl Into<String>) -> Problem {
    Problem { at: at.to_owned(), line: None, message: message.into() }
}
