//! From the variables and files of the application to a loaded configuration.
//!
//! The configuration is the text of the variable `config` or, where that is empty, the file `tollgate.toml` beside the
//! component. A price list that it names comes from the variable `prices`, or from the file of that name. A credential
//! `{ env = "PROVIDER_API_KEY" }` is the variable `provider_api_key`: Spin's variables have lower-case names.

use std::collections::BTreeMap;
use std::rc::Rc;

use spin_sdk::variables;
use tollgate_edge::wasi::{WasiClient, WasiClock};
use tollgate_edge::{NotLoaded, Problem, Shell, VariableNames, price_list};

use crate::Spin;
use crate::books::Books;

/// The configuration's file, where it is no variable.
const FILE: &str = "/tollgate.toml";

/// Loads the configuration; what is wrong with it goes to the log, line by line.
pub(crate) async fn shell() -> Result<Rc<Shell<Spin>>, ()> {
    let config = match variable("config").await {
        Some(text) => text,
        None => std::fs::read_to_string(FILE).map_err(|cause| {
            note("error", "the variable config is empty, and there is no file tollgate.toml", &cause);
        })?,
    };
    let catalogue = match price_list(&config) {
        None => None,
        Some(file) => match variable("prices").await {
            Some(text) => Some(text),
            None => std::fs::read_to_string(format!("/{}", file.trim_start_matches('/'))).ok(),
        },
    };
    let mut values = BTreeMap::new();
    for name in VariableNames::of(&config).0 {
        if let Some(value) = variable(&name.to_ascii_lowercase()).await {
            values.insert(name, value);
        }
    }
    let lookup = |name: &str| values.get(name).cloned();
    let platform = (WasiClient, Books::new(), WasiClock);
    match Shell::load(&config, catalogue.as_deref(), &lookup, platform) {
        Ok(shell) => {
            shell.notes().iter().for_each(|found| told("info", found));
            Ok(shell)
        }
        Err(NotLoaded::Problems(problems)) => {
            problems.iter().for_each(|found| told("error", found));
            Err(())
        }
        Err(NotLoaded::Policy(cause)) => {
            note("error", "the policy component cannot be used", &cause);
            Err(())
        }
    }
}

/// The value of a variable, if it is defined and not empty.
async fn variable(name: &str) -> Option<String> {
    variables::get(name).await.ok().filter(|value| !value.trim().is_empty())
}

fn told(level: &str, problem: &Problem) {
    let Problem { at, line, message } = problem;
    let text = serde_json::json!({
        "level": level, "message": "configuration", "at": at, "line": line, "problem": message,
    });
    println!("{text}");
}

fn note(level: &str, message: &str, cause: &dyn std::fmt::Display) {
    let text = serde_json::json!({ "level": level, "message": message, "cause": cause.to_string() });
    println!("{text}");
}
