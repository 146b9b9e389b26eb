//! From the environment to a loaded configuration: the text of the file is in `TOLLGATE_CONFIG`, that of a price list
//! which it names in `TOLLGATE_PRICES`, and `{ env = "NAME" }` is the variable of that name.

use std::rc::Rc;

use tollgate_edge::wasi::{WasiClient, WasiClock, failed, loaded};
use tollgate_edge::{NotLoaded, Problem, Shell, price_list};
use tollgate_settings::{Config, LedgerSettings};

use crate::Portable;
use crate::books::Books;

/// The variable with the text of the configuration.
const CONFIG: &str = "TOLLGATE_CONFIG";

/// Loads the configuration; what is wrong with it goes to the log, line by line.
pub(crate) fn shell() -> Option<Rc<Shell<Portable>>> {
    let Some(config) = variable(CONFIG) else {
        failed("there is no configuration", CONFIG, &"the variable must hold its text");
        return None;
    };
    let catalogue = price_list(&config).and_then(|_| variable("TOLLGATE_PRICES"));
    let shell = books(&config).map_err(|problem| NotLoaded::Problems(vec![problem])).and_then(|books| {
        Shell::load(&config, catalogue.as_deref(), &variable, (WasiClient, books, WasiClock))
    });
    loaded(shell)
}

/// The ledger that a configuration names. Where it names none, or cannot be read, loading it says so.
fn books(config: &str) -> Result<Books, Problem> {
    let ledger = Config::<()>::read(config, &|_| Ok(())).map(|config| config.ledger);
    let Ok(LedgerSettings::Remote { url, token_env, timeout, .. }) = ledger else {
        return Ok(Books::nowhere());
    };
    let token = variable(&token_env).ok_or_else(|| Problem {
        at: "ledger.token".to_owned(),
        line: None,
        message: format!("the environment variable {token_env} is not set, or is empty"),
    })?;
    Ok(Books::at(&url, &token, timeout))
}

/// The value of a variable, if it is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
