//! From the variables and files of the application to a loaded configuration.
//!
//! The configuration is the text of the variable `config` or, where that is empty, the file `tollgate.toml` beside the
//! component. A price list that it names comes from the variable `prices`, or from the file of that name. A credential
//! `{ env = "PROVIDER_API_KEY" }` is the variable `provider_api_key`: Spin's variables have lower-case names.

use std::collections::BTreeMap;
use std::rc::Rc;

use spin_sdk::variables;
use tollgate_edge::wasi::{WasiClient, WasiClock, failed, loaded};
use tollgate_edge::{Draft, Shell};

use crate::Spin;

/// The configuration's file, where it is no variable.
const FILE: &str = "/tollgate.toml";

/// Loads the configuration; what is wrong with it goes to the log, line by line.
pub(crate) async fn shell() -> Option<Rc<Shell<Spin>>> {
    let config = match variable("config").await {
        Some(text) => text,
        None => std::fs::read_to_string(FILE)
            .map_err(|cause| {
                failed("the variable config is empty, and the file cannot be read", FILE, &cause)
            })
            .ok()?,
    };
    let draft = Draft::read(config);
    let catalogue = match draft.price_list() {
        None => None,
        Some(file) => match variable("prices").await {
            Some(text) => Some(text),
            None => std::fs::read_to_string(format!("/{}", file.trim_start_matches('/'))).ok(),
        },
    };
    let mut values = BTreeMap::new();
    for name in draft.variables() {
        if let Some(value) = variable(&name.to_ascii_lowercase()).await {
            values.insert(name, value);
        }
    }
    let lookup = |name: &str| values.get(name).cloned();
    loaded(Shell::load(draft, catalogue.as_deref(), &lookup, (WasiClient, WasiClock)))
}

/// The value of a variable, if it is defined and not empty.
async fn variable(name: &str) -> Option<String> {
    variables::get(name).await.ok().filter(|value| !value.trim().is_empty())
}
