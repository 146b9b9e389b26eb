//! The policy as the host holds it: a component, the configuration it was loaded with, and a few warm instances.
//!
//! A call takes an idle instance or makes one, runs to its end on the calling thread, and puts the instance
//! back. An instance that trapped, ran past its deadline or grew too large is dropped and never used again.
//! Nothing here decides anything about an exchange.

mod engine;
mod pool;

pub use engine::{Component, Engine, LoadError, WASM};
pub use pool::{Broken, Headers, Instance, Policy, Refused};

/// The interface of `wit/policy.wit`, as Rust types.
#[allow(missing_docs, reason = "generated; the documentation is the WIT file")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "gate",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub use bindings::exports::tollgate::policy::policy as wit;
