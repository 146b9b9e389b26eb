//! One exchange as an edge platform walks it: the walk of `wit/policy.wit`, in a component that imports its policy.
//!
//! It asks the imported policy, does what it says and reports back; it never decides anything itself. What a platform
//! must bring along are the traits of [`platform`]: a way to send requests, a ledger, a clock with some randomness.
//! Which platform that is, nothing here knows.
//!
//! Unlike a server it cannot outlive its policy: a policy that traps takes this component's instance with it, and
//! what was held is charged when its lease has passed.

mod attempts;
mod body;
mod caller;
mod closing;
mod draft;
mod exchange;
mod generation;
mod latency;
mod load;
pub mod platform;
mod reading;
mod relay;
mod reply;
mod shell;
mod translate;
mod upstream;
pub mod wasi;

pub use body::Body;
pub use draft::Draft;
pub use exchange::serve;
pub use generation::NotLoaded;
pub use platform::{Client, Clock, Ledger, Platform, Timeouts};
pub use relay::Cut;
pub use shell::Shell;
pub use tollgate_document::Problem;

/// The interface of `wit/policy.wit`, imported.
#[allow(
    missing_docs,
    unsafe_code,
    clippy::allow_attributes_without_reason,
    reason = "generated; the documentation is the WIT file"
)]
mod bindings {
    wit_bindgen::generate!({
        inline: "package tollgate:edge; world edge { import tollgate:policy/policy@0.1.0; }",
        path: "../../wit",
        generate_all,
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(crate) use bindings::tollgate::policy::policy as wit;

pub use bindings::tollgate::policy::policy::Fault;
