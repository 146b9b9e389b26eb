//! The shell's part of the configuration file, as this shell reads it: it decides itself whom to trust.

use tollgate_document::Problem;
use tollgate_settings::LedgerSettings;

use crate::tls::Trust;

/// What the host reads of a configuration file.
pub type Config = tollgate_settings::Config<Trust>;

/// One upstream, without its secret.
pub type UpstreamSettings = tollgate_settings::UpstreamSettings<Trust>;

/// Reads the shell's tables of a configuration file.
///
/// # Errors
/// Every problem in them, or every place where the file is not TOML.
pub fn read(text: &str) -> Result<Config, Vec<Problem>> {
    let config = Config::read(text, &|file| file.map_or_else(|| Ok(Trust::default()), Trust::with_file))?;
    if let LedgerSettings::Remote { .. } = config.ledger {
        let message = "a server keeps its books itself: choose `sqlite`, `redis` or `memory`".to_owned();
        return Err(vec![Problem { at: "ledger.store".into(), line: None, message }]);
    }
    Ok(config)
}
