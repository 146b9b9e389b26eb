//! The configuration: TOML into types that cannot be wrong.
//!
//! Reads the policy's tables (`models`, `keys`), leaves those of the shell alone, and reports every problem of the
//! file at once with its path and line. What comes out is sound: every target has an upstream and a price, every
//! key a digest of its own, every budget the currency of all it may meet.

mod keys;
mod models;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tollgate_document::{Problems, Section, parse};

pub use self::keys::Key;
pub use self::models::{Model, Target};
pub use self::value::{Budget, Window};
use crate::message::{Problem, Settings};

/// A sound configuration. Models and keys are known by their index, so that a ticket need not copy a name.
#[derive(Debug)]
pub struct Config {
    models: Vec<Model>,
    keys: Vec<Key>,
    by_name: BTreeMap<String, u32>,
    by_digest: BTreeMap<[u8; 32], u32>,
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
        let known: Vec<&str> = ["models", "keys"].into_iter().chain(shell_tables).collect();
        root.only(&known, &mut problems);
        let (models, declared) = models::read(&root, &settings.upstreams, &mut problems);
        let keys = keys::read(&root, &models, &declared, &mut problems);
        if !problems.is_empty() {
            return Err(problems.into_sorted());
        }
        let by_name = (0..).zip(&models).map(|(index, model)| (model.name.clone(), index)).collect();
        let by_digest = (0..).zip(&keys).map(|(index, key)| (key.digest, index)).collect();
        Ok(Self { models, keys, by_name, by_digest, fingerprint: fingerprint(settings) })
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

    /// The models a key may use, in the order of the file.
    pub fn models_of<'c>(&'c self, key: &'c Key) -> impl Iterator<Item = &'c Model> {
        (0..).zip(&self.models).filter(|(index, _)| key.may_use(*index)).map(|(_, model)| model)
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
}

/// Two policies that were loaded with the same settings have the same.
fn fingerprint(settings: &Settings<'_>) -> u64 {
    let mut hash = Sha256::new();
    hash.update(settings.config);
    for names in [&settings.shell_tables, &settings.upstreams] {
        for name in names {
            hash.update([0]);
            hash.update(name);
        }
        hash.update([1]);
    }
    hash.finalize().first_chunk().map_or(0, |start| u64::from_le_bytes(*start))
}
