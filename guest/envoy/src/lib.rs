//! Tollgate inside Envoy: the policy crate, linked, and proxy-wasm's callbacks as its shell.
//!
//! Envoy cannot load components, so this shell is the one that links the policy instead of seeing its interface
//! only. It acts and never decides: the walk of `wit/policy.wit` is the same, and the vectors prove it.
//!
//! The plugin stands in three places of one Envoy, in one VM of each worker thread. At the *door*, where clients come in, it
//! identifies, admits, reserves and settles, and sends the first try straight to its upstream ([`door`]). Among the filters of
//! that upstream's cluster its answer is judged ([`straight`]). What the policy wants to try again is handed back to Envoy's own
//! retries, which lead to an internal listener of the same Envoy: there each further try passes the plugin on its own, so that
//! another target can be chosen for it and its edits made ([`tries`]). How an answer is judged and relayed is the same in both
//! places ([`answer`]). What all know of an exchange is in [`exchange`]; the books are in Envoy's shared data, or with a
//! Tollgate server ([`ledger`]).
//!
//! Credentials never come here: Envoy adds them behind the plugin, and takes them off what is tried again.
#![expect(missing_docs, reason = "proxy-wasm's macro writes the entry point")]

mod address;
mod answer;
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
mod straight;
mod translate;
mod tries;
mod under_way;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(plugin::Plugin::default()));
}}
