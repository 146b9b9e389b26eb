//! Tollgate inside Envoy: the policy crate, linked, and proxy-wasm's callbacks as its shell.
//!
//! Envoy cannot load components, so this shell is the one that links the policy instead of seeing its interface
//! only. It acts and never decides: the walk of `wit/policy.wit` is the same, and the vectors prove it.
//!
//! The plugin stands in two places of one Envoy, in one VM of each worker thread. At the *door*, where clients come
//! in, it identifies, admits, reserves and settles ([`door`]). Behind it an internal listener of the same Envoy passes
//! each try through the plugin once more ([`attempt`]): there a target is chosen and its edits made, its answer is
//! judged, and what the policy wants to try again is handed back to Envoy's own retries. What both know of an exchange
//! is in [`exchange`]; the books are in Envoy's shared data, or with a Tollgate server ([`ledger`]).
//!
//! Credentials never come here: Envoy adds them behind the plugin.
#![expect(missing_docs, reason = "proxy-wasm's macro writes the entry point")]

mod attempt;
mod breakers;
mod callers;
mod chance;
mod door;
mod exchange;
mod flow;
mod gate;
mod head;
mod lately;
mod ledger;
mod outbox;
mod plugin;
mod record;
mod server;
mod shared;
mod sheets;
mod translate;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(plugin::Plugin::default()));
}}
