//! The text of a configuration, read once: what a platform must look up before it can be loaded.

use std::collections::BTreeSet;

use tollgate_document::Problem;
use tollgate_settings::LedgerSettings;

/// What this shell reads of a configuration file. It cannot choose whom to trust: the platform does.
pub(crate) type Config = tollgate_settings::Config<()>;

/// A configuration that is not loaded yet. What is wrong with it, loading it will say.
pub struct Draft {
    pub(crate) text: String,
    pub(crate) config: Result<Config, Vec<Problem>>,
}

impl Draft {
    /// Reads the shell's tables.
    #[must_use]
    pub fn read(text: String) -> Self {
        let config = Config::read(&text, &|file| match file {
            None => Ok(()),
            Some(_) => Err("cannot be chosen here: the platform decides whom to trust".to_owned()),
        });
        Self { text, config }
    }

    /// The names of the variables that it refers to: those of the upstreams' credentials and of the ledger. Some
    /// platforms can only look them up one by one, and beforehand.
    #[must_use]
    pub fn variables(&self) -> BTreeSet<String> {
        let Ok(config) = &self.config else { return BTreeSet::new() };
        let ledger = match &config.ledger {
            LedgerSettings::Memory | LedgerSettings::Sqlite { .. } => None,
            LedgerSettings::Redis { url_env: name, .. } | LedgerSettings::Remote { token_env: name, .. } => {
                Some(name)
            }
        };
        let upstreams = config.upstreams.values().filter_map(|upstream| upstream.api_key_env.as_ref());
        let mut names = BTreeSet::new();
        names.extend(upstreams.chain(ledger).cloned());
        names
    }

    /// The price list that it names, whatever else is wrong with it.
    #[must_use]
    pub fn price_list(&self) -> Option<String> {
        if let Ok(config) = &self.config {
            return config.prices.as_ref().map(|file| file.to_string_lossy().into_owned());
        }
        let document = tollgate_document::parse(&self.text).ok()?;
        let table = document.get_ref().get("prices")?.get_ref().as_table()?;
        let file = table.get("file")?.get_ref().as_str()?;
        (!file.is_empty()).then(|| file.to_owned())
    }

    /// The names under `[upstreams]`, whatever is wrong with them.
    pub(crate) fn upstreams(&self) -> Vec<String> {
        if let Ok(config) = &self.config {
            return config.upstreams.keys().cloned().collect();
        }
        let Ok(document) = tollgate_document::parse(&self.text) else { return Vec::new() };
        let table = document.get_ref().get("upstreams").and_then(|value| value.get_ref().as_table());
        table.map_or_else(Vec::new, |table| table.keys().map(|name| name.get_ref().to_string()).collect())
    }
}
