//! What an instance keeps between two requests: the loaded configuration, and nothing else.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;
use std::thread::LocalKey;

use tollgate_document::Problem;
use wasip3::http::types::{ErrorCode, Request, Response};

use super::{incoming, outgoing};
use crate::{NotLoaded, Platform, Shell};

/// Where an instance keeps it.
pub type Kept<P> = LocalKey<RefCell<Option<Rc<Shell<P>>>>>;

/// Serves a request with the configuration in force, or with what `load` makes now. One that could not be loaded is tried
/// again by the next request.
///
/// # Errors
/// When the platform cannot read the request or take the answer.
pub async fn handle<P: Platform>(
    request: Request,
    kept: &'static Kept<P>,
    load: impl AsyncFnOnce() -> Option<Rc<Shell<P>>>,
) -> Result<Response, ErrorCode> {
    let shell = match kept.with_borrow(Clone::clone) {
        Some(shell) => shell,
        None => match load().await {
            Some(shell) => kept.with_borrow_mut(|kept| Rc::clone(kept.insert(shell))),
            None => return outgoing::unconfigured::<P>(),
        },
    };
    let response = crate::serve(Rc::clone(&shell), incoming::request(request)?).await;
    outgoing::response(response, move || shell.tend())
}

/// The shell, if it was loaded. What an operator should know of its configuration, or all that is wrong with it, goes to
/// the log, line by line.
pub fn loaded<P: Platform>(shell: Result<Rc<Shell<P>>, NotLoaded>) -> Option<Rc<Shell<P>>> {
    match &shell {
        Ok(shell) => shell.notes().iter().for_each(|found| told("info", found)),
        Err(NotLoaded::Problems(problems)) => problems.iter().for_each(|found| told("error", found)),
        Err(NotLoaded::Policy(cause)) => failed("the policy component cannot be used", "policy", cause),
    }
    shell.ok()
}

/// A line in the log that says what went wrong, and of what.
pub fn failed(what: &str, of: &str, cause: &dyn Display) {
    let line = serde_json::json!({ "level": "error", "message": what, "of": of, "cause": cause.to_string() });
    println!("{line}");
}

fn told(level: &str, problem: &Problem) {
    let Problem { at, line, message } = problem;
    let text = serde_json::json!({
        "level": level, "message": "configuration", "at": at, "line": line, "problem": message,
    });
    println!("{text}");
}
