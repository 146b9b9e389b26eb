//! The `scopes` of a configuration: limits that all keys below a path share.

use std::collections::BTreeMap;

use super::limits::{self, Drafted, FIELDS};
use crate::path::{self, SCOPE_PARTS};
use tollgate_document::{Problems, Section};

/// Scopes by their paths.
pub type Scopes<'d> = BTreeMap<&'d str, Drafted<'d>>;

/// Reads every scope and leaves out, with its problems, what has no name.
pub fn read<'d>(root: &Section<'d>, problems: &mut Problems<'_>) -> Scopes<'d> {
    let mut scopes = Scopes::new();
    for node in root.get("scopes").and_then(|list| list.list(problems)).unwrap_or_default() {
        let Some(section) = node.section(problems) else { continue };
        let known: Vec<&str> = ["name"].into_iter().chain(FIELDS).collect();
        section.only(&known, problems);
        let name = name(&section, &scopes, problems);
        let drafted = limits::read(&section, name.unwrap_or_default(), problems);
        if let Some(name) = name {
            scopes.insert(name, drafted);
        }
    }
    scopes
}

fn name<'d>(section: &Section<'d>, scopes: &Scopes<'_>, problems: &mut Problems<'_>) -> Option<&'d str> {
    let node = section.need("name", "the path of the scope", problems)?;
    let name = node.text(problems)?;
    if !path::is_sound(name, SCOPE_PARTS) {
        node.wrong(problems, path::form("scope", SCOPE_PARTS));
        return None;
    }
    if scopes.contains_key(name) {
        node.wrong(problems, format!("there is another scope named `{name}`"));
        return None;
    }
    Some(name)
}
