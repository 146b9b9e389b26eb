//! Tollgate on Spin: a `wasi:http` component that imports its policy.
//!
//! The exchange is the one of `tollgate-edge`; here is what Spin gives it: requests in and out, variables, the clock,
//! and an SQLite database for the books. An instance serves several requests, at once too, and may end after any of
//! them: what it keeps is the loaded configuration, and nothing else.
#![allow(unsafe_code, reason = "the export that wit-bindgen writes reads the canonical ABI's raw memory")]

mod books;
mod database;
mod setup;

use std::cell::RefCell;
use std::rc::Rc;

use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use tollgate_edge::wasi::{self, WasiClient, WasiClock};
use tollgate_edge::{Platform, Shell};
use tollgate_settings::LedgerSettings;

/// What Spin gives an exchange.
struct Spin;

impl Platform for Spin {
    type Client = WasiClient;
    type Ledger = books::Books;
    type Clock = WasiClock;

    fn keeps(ledger: &LedgerSettings) -> Result<(), &'static str> {
        match ledger {
            LedgerSettings::Memory | LedgerSettings::Sqlite { .. } => Ok(()),
            LedgerSettings::Redis { .. } => {
                Err("this shell keeps its books with its platform; Redis is for `tollgate serve`")
            }
            LedgerSettings::Remote { .. } => {
                Err("this shell keeps its books with its platform; a server is asked by `tollgate-edge.wasm`")
            }
        }
    }
}

thread_local! {
    /// The configuration in force in this instance. One that could not be loaded is tried again.
    static SHELL: RefCell<Option<Rc<Shell<Spin>>>> = const { RefCell::new(None) };
}

struct Component;

spin_sdk::wasip3::http::service::export!(Component);

impl Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        wasi::handle(request, &SHELL, setup::shell).await
    }
}
