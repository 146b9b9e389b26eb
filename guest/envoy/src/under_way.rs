//! The exchanges of one worker that were admitted and are not over: all places of the plugin find them here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{Action, LogLevel};

use crate::exchange::Shared;
use crate::plugin::log;

thread_local! {
    /// Those that were admitted and are not over, by their ids. A try finds its exchange here: it runs in the same
    /// worker, because an internal listener serves the worker that asks it.
    static UNDER_WAY: RefCell<BTreeMap<String, Shared>> = const { RefCell::new(BTreeMap::new()) };
}

/// Lets tries find an exchange.
pub fn begin(exchange: &Shared) {
    let id = exchange.borrow().id.clone();
    UNDER_WAY.with_borrow_mut(|all| drop(all.insert(id, Rc::clone(exchange))));
}

/// It is over.
pub fn end(id: &str) {
    UNDER_WAY.with_borrow_mut(|all| drop(all.remove(id)));
}

/// What is done with a try whose exchange is not known.
pub fn is_unknown() -> Action {
    // Its client may have left. If it is so for all, the places of the plugin are not in one VM.
    log(LogLevel::Warn, "a try without an exchange: do all places of the plugin share one VM?");
    let _ = hostcalls::send_http_response(500, Vec::new(), None);
    Action::Pause
}

/// The exchange of this id.
pub fn find(id: &str) -> Option<Shared> {
    UNDER_WAY.with_borrow(|all| all.get(id).cloned())
}

/// Moves the leases of the exchanges under way, long before they end.
pub fn renew(now: u64) {
    let all: Vec<Shared> = UNDER_WAY.with_borrow(|all| all.values().cloned().collect());
    for exchange in all {
        if let Ok(mut exchange) = exchange.try_borrow_mut() {
            exchange.renew(now);
        }
    }
}
