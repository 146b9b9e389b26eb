//! The configuration: TOML into types that cannot be wrong.
//!
//! Reads the policy's tables (`prices`, `exchange_rates`, `calendar`, `models`, `scopes`, `keys`, `retry`, `breaker`),
//! leaves those of the shell alone, and reports every problem of the file at once with its path and line. What comes out
//! is sound: every target has an upstream
//! and a price, every key a digest of its own, every path is a key or a scope, every budget has the currency of all
//! it may meet.

mod context;
mod failure;
mod keys;
mod limits;
mod models;
mod parameters;
mod price;
mod prices;
mod routes;
mod scopes;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tollgate_document::{Problems, Section, parse};

pub use self::context::Overflow;
pub use self::failure::Retry;
pub use self::keys::{Key, no_model};
pub use self::limits::{Allowed, MOST_TAGS, clashes, is_tag};
pub use self::models::{Model, Target};
pub use self::parameters::{Action, Parameters, Rule};
use self::routes::HeaderConditions;
pub use self::routes::{By, When};
use crate::calendar::Calendar;
use crate::limit::Limit;
use crate::message::{Breaker, Problem, Settings};
use crate::path;

/// A sound configuration. Models and keys are known by their index, so that a ticket need not copy a name.
#[derive(Debug)]
pub struct Config {
    models: Vec<Model>,
    keys: Vec<Key>,
    by_name: BTreeMap<String, u32>,
    by_digest: BTreeMap<[u8; 32], u32>,
    by_path: BTreeMap<String, u32>,
    /// Every scope by its path, with the limits of its table, if it has one.
    scopes: BTreeMap<String, Vec<Limit>>,
    /// Where the days of budgets begin.
    pub calendar: Calendar,
    /// How often is tried again.
    pub retry: Retry,
    /// When an upstream is left alone; none: never.
    pub breaker: Option<Breaker>,
    /// What routes ask of a request's headers.
    pub header_conditions: HeaderConditions,
    /// What an operator should know of although nothing is wrong with it.
    pub notes: Vec<Problem>,
    /// Tells tickets of this configuration from those of another.
    pub fingerprint: u64,
}

impl Config {
    /// Reads a configuration file.
    pub fn read(settings: &Settings<'_>) -> Result<Self, Vec<Problem>> {
        let document = parse(settings.config)?;
        let mut problems = Problems::new(settings.config);
        let root = Section::root(document.get_ref());
        let shell_tables = settings.shell_tables.iter().map(String::as_str);
        const OWN: [&str; 8] =
            ["prices", "exchange_rates", "calendar", "models", "scopes", "keys", "retry", "breaker"];
        let known: Vec<&str> = OWN.into_iter().chain(shell_tables).collect();
        root.only(&known, &mut problems);
        let terms = prices::Terms::read(&root, settings.catalogue, &mut problems);
        let mut notes = Problems::new(settings.config);
        let mut header_conditions = HeaderConditions::default();
        let upstreams = models::Upstreams { names: &settings.upstreams, headers: &mut header_conditions };
        let (models, declared) = models::read(&root, upstreams, &terms, &mut problems, &mut notes);
        let retry = failure::retry(&root, &mut problems);
        let breaker = failure::breaker(&root, &mut problems);
        let scopes = scopes::read(&root, &mut problems);
        let keys = keys::read(&root, &models, &declared, &scopes, &mut problems);
        let calendar = root.get("calendar").and_then(|node| node.section(&mut problems));
        let calendar =
            calendar.and_then(|section| value::calendar(&section, &mut problems)).unwrap_or_default();
        if !problems.is_empty() {
            return Err(problems.into_sorted());
        }
        // One by one: a map that is collected sorts first, and that code is many times as large.
        let (mut by_name, mut by_path, mut by_digest) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (index, model) in (0..).zip(&models) {
            by_name.insert(model.name.clone(), index);
        }
        for (index, key) in (0..).zip(&keys) {
            by_path.insert(key.caller.name.clone(), index);
            by_digest.insert(key.digest, index);
        }
        let implied = keys.iter().flat_map(|key| path::around(&key.caller.name));
        let mut all = BTreeMap::new();
        all.extend(implied.map(|scope| (scope.to_owned(), Vec::new())));
        all.extend(scopes.into_iter().map(|(name, drafted)| (name.to_owned(), drafted.limits)));
        let fingerprint = fingerprint(settings);
        let notes = notes.into_sorted();
        Ok(Self {
            models,
            keys,
            by_name,
            by_digest,
            by_path,
            scopes: all,
            calendar,
            retry,
            breaker,
            header_conditions,
            notes,
            fingerprint,
        })
    }

    /// A model by its index.
    pub fn model(&self, index: u32) -> Option<&Model> {
        self.models.get(usize::try_from(index).ok()?)
    }

    /// A model and its index by the name that clients use.
    pub fn model_named(&self, name: &str) -> Option<(u32, &Model)> {
        let index = *self.by_name.get(name)?;
        Some((index, self.model(index)?))
    }

    /// Every model, in the order of the file.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The models that may be used, in the order of the file.
    pub fn models_in<'c>(&'c self, allowed: &'c Allowed) -> impl Iterator<Item = &'c Model> {
        (0..).zip(&self.models).filter(|(index, _)| allowed.contains(*index)).map(|(_, model)| model)
    }

    /// Every key, in the order of the file.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// A key by its index.
    pub fn key(&self, index: u32) -> Option<&Key> {
        self.keys.get(usize::try_from(index).ok()?)
    }

    /// The index of the key with this digest. The whole digest is the search key: how long the search takes tells
    /// about the digest, from which nobody can find a key.
    pub fn key_with(&self, digest: &[u8; 32]) -> Option<u32> {
        self.by_digest.get(digest).copied()
    }

    /// Whether a key has this name.
    pub fn has_key(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    /// Whether it is a scope: it has a table, or a key lies below it.
    pub fn has_scope(&self, path: &str) -> bool {
        self.scopes.contains_key(path)
    }

    /// The limits that the file itself gives to a key or a scope.
    pub fn limits_of(&self, path: &str) -> impl Iterator<Item = &Limit> {
        let key = self.by_path.get(path).and_then(|index| self.key(*index));
        let around = key.map_or(&[][..], |key| &key.caller.limits);
        let own = around.iter().filter(move |limit| limit.scope == path);
        self.scopes.get(path).map_or(&[][..], Vec::as_slice).iter().chain(own)
    }
}

/// Two policies that were loaded with the same settings have the same.
fn fingerprint(settings: &Settings<'_>) -> u64 {
    let mut hash = Sha256::new();
    hash.update(settings.config);
    if let Some(catalogue) = settings.catalogue {
        hash.update([2]);
        hash.update(catalogue);
    }
    for names in [&settings.shell_tables, &settings.upstreams] {
        for name in names {
            hash.update([0]);
            hash.update(name);
        }
        hash.update([1]);
    }
    hash.finalize().first_chunk().map_or(0, |start| u64::from_le_bytes(*start))
}
