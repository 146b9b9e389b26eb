//! Guests built ahead, beside the first checks.
//!
//! The build scripts of `host` and `tests` build them one after the other, each at its end with a single thread and for
//! a minute; on a fresh machine everything else waits for them. Begun at once, they are there when the scripts ask.

use std::thread;

use anyhow::Result;

use crate::tools;

include!("../../guest/build_guest.rs");

/// What the build scripts ask for, in their order. What is missing here is only built later.
const GUESTS: [(&str, &str, &str); 8] = [
    ("wasm32-wasip2", "guest", "tollgate-component"),
    ("wasm32-wasip2", "guest", "tollgate-hostile"),
    ("wasm32-wasip2", "module", "tollgate-component"),
    ("wasm32-wasip2", "module", "tollgate-spin"),
    ("wasm32-wasip2", "module", "tollgate-portable"),
    ("wasm32-wasip2", "module", "tollgate-provider"),
    ("wasm32-wasip1", "module", "tollgate-envoy"),
    ("wasm32-wasip1", "module", "tollgate-desk"),
];

/// Begins to build them. What goes wrong is told by the script that asks for it.
pub fn build_guests() -> Result<()> {
    let target_dir = tools::target_dir()?;
    thread::spawn(move || {
        for (target, profile, package) in GUESTS {
            if build_guest(target, profile, tools::root(), package, &target_dir).is_err() {
                return;
            }
        }
    });
    Ok(())
}
