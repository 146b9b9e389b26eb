//! Guests built ahead, beside the first checks.
//!
//! The build scripts of `host` and `tests` build them one after the other, each at its end with a single thread and for
//! a minute; on a fresh machine everything else waits for them. Begun at once, they are there when the scripts ask.

use std::process::Stdio;
use std::thread;

use anyhow::Result;

use crate::tools;

include!("../../guest/build_guest.rs");

/// What the build scripts ask for, in their order. What is missing here is only built later.
const GUESTS: [(&str, &str, &str); 8] = [
    ("wasm32-wasip2", "guest", "tollgate-component"),
    ("wasm32-wasip2", "guest", "tollgate-hostile"),
    ("wasm32-wasip2", "module", "tollgate-provider"),
    ("wasm32-wasip1", "module", "tollgate-desk"),
    ("wasm32-wasip2", "module", "tollgate-component"),
    ("wasm32-wasip2", "module", "tollgate-spin"),
    ("wasm32-wasip2", "module", "tollgate-portable"),
    ("wasm32-wasip1", "module", "tollgate-envoy"),
];

/// Begins to build them, and says nothing: what goes wrong is told by the script that asks for it, and whoever reads our
/// output does not wait for what is still being built when a check has failed.
pub fn build_guests() -> Result<()> {
    let target_dir = tools::target_dir()?;
    thread::spawn(move || {
        for (target, profile, package) in GUESTS {
            if build_guest(target, profile, tools::root(), package, &target_dir, Stdio::null).is_err() {
                return;
            }
        }
    });
    Ok(())
}
