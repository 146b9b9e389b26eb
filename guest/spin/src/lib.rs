//! Tollgate on Spin: a `wasi:http` component that imports its policy.
//!
//! The exchange is the one of `tollgate-edge`; here is what Spin gives it: requests in and out, variables, the clock,
//! and for the books an SQLite database, or a way to Redis. An instance serves several requests, at once too, and may end after any of
//! them: what it keeps is the loaded configuration, and nothing else.
#![allow(unsafe_code, reason = "the export that wit-bindgen writes reads the canonical ABI's raw memory")]

mod books;
mod database;
mod setup;
mod shared;

use std::cell::RefCell;
use std::rc::Rc;

use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use tollgate_edge::wasi::{self, WasiClient, WasiClock};
use tollgate_edge::{Platform, Shell};
use tollgate_settings::LedgerSettings;

use self::books::Books;

/// What Spin gives an exchange.
struct Spin;

impl Platform for Spin {
    type Client = WasiClient;
    type Ledger = Books;
    type Clock = WasiClock;

    fn ledger(settings: &LedgerSettings, secret: Option<&str>) -> Result<Books, &'static str> {
        match (settings, secret) {
            (LedgerSettings::Memory | LedgerSettings::Sqlite { .. }, _) => Ok(Books::own()),
            (LedgerSettings::Redis { namespace, timeout, rows_kept, .. }, Some(address)) => {
                Ok(Books::shared(address, namespace, *rows_kept, *timeout))
            }
            _ => Err(
                "this shell keeps its books in Spin's SQLite or in Redis; a server is asked by `tollgate-edge.wasm`",
            ),
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
