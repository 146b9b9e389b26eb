//! From the environment to a loaded configuration: the text of the file is in `TOLLGATE_CONFIG`, that of a price list
//! which it names in `TOLLGATE_PRICES`, and `{ env = "NAME" }` is the variable of that name.

use std::rc::Rc;

use tollgate_edge::wasi::{WasiClient, WasiClock};
use tollgate_edge::{NotLoaded, Problem, Shell, price_list};
use tollgate_settings::{Config, LedgerSettings};

use crate::Portable;
use crate::books::Books;

/// Loads the configuration; what is wrong with it goes to the log, line by line.
pub(crate) fn shell() -> Option<Rc<Shell<Portable>>> {
    let Some(config) = variable("TOLLGATE_CONFIG") else {
        note("the variable TOLLGATE_CONFIG must hold the configuration");
        return None;
    };
    let books = match books(&config) {
        Ok(books) => books,
        Err(problem) => {
            told("error", &problem);
            return None;
        }
    };
    let catalogue = price_list(&config).and_then(|_| variable("TOLLGATE_PRICES"));
    let platform = (WasiClient, books, WasiClock);
    match Shell::load(&config, catalogue.as_deref(), &variable, platform) {
        Ok(shell) => {
            shell.notes().iter().for_each(|found| told("info", found));
            Some(shell)
        }
        Err(NotLoaded::Problems(problems)) => {
            problems.iter().for_each(|found| told("error", found));
            None
        }
        Err(NotLoaded::Policy(cause)) => {
            note(cause);
            None
        }
    }
}

/// The ledger that a configuration names. Where it names none, or cannot be read, loading it says so.
fn books(config: &str) -> Result<Books, Problem> {
    let ledger = Config::<()>::read(config, &|_| Ok(())).map(|config| config.ledger);
    let Ok(LedgerSettings::Remote { url, token_env, timeout }) = ledger else { return Ok(Books::nowhere()) };
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

fn told(level: &str, problem: &Problem) {
    let Problem { at, line, message } = problem;
    let text = serde_json::json!({
        "level": level, "message": "configuration", "at": at, "line": line, "problem": message,
    });
    println!("{text}");
}

fn note(message: &str) {
    println!("{}", serde_json::json!({ "level": "error", "message": message }));
}
