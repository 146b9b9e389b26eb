//! From the environment to a loaded configuration: the text of the file is in `TOLLGATE_CONFIG`, that of a price list
//! which it names in `TOLLGATE_PRICES`, and `{ env = "NAME" }` is the variable of that name.

use std::rc::Rc;

use tollgate_edge::wasi::{WasiClient, WasiClock, failed, loaded};
use tollgate_edge::{Draft, Shell};

use crate::Portable;

/// The variable with the text of the configuration.
const CONFIG: &str = "TOLLGATE_CONFIG";

/// Loads the configuration; what is wrong with it goes to the log, line by line.
pub(crate) fn shell() -> Option<Rc<Shell<Portable>>> {
    let Some(config) = variable(CONFIG) else {
        failed("there is no configuration", CONFIG, &"the variable must hold its text");
        return None;
    };
    let draft = Draft::read(config);
    let catalogue = draft.price_list().and_then(|_| variable("TOLLGATE_PRICES"));
    loaded(Shell::load(draft, catalogue.as_deref(), &variable, (WasiClient, WasiClock)))
}

/// The value of a variable, if it is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
