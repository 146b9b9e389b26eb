//! Tollgate as a plain `wasi:http` component: it imports the policy, which is composed into it, and nothing else but
//! WASI. Its books and keys are a Tollgate server's, over `host/ledger/remote`.
#![allow(unsafe_code, reason = "the export that wit-bindgen writes reads the canonical ABI's raw memory")]

mod books;
mod setup;

use std::cell::RefCell;
use std::rc::Rc;

use tollgate_edge::wasi::{self, WasiClient, WasiClock};
use tollgate_edge::{Platform, Shell};
use tollgate_settings::LedgerSettings;
use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Request, Response};

/// What `wasi:http` gives an exchange.
struct Portable;

impl Platform for Portable {
    type Client = WasiClient;
    type Ledger = books::Books;
    type Clock = WasiClock;

    fn ledger(settings: &LedgerSettings, secret: Option<&str>) -> Result<books::Books, &'static str> {
        match (settings, secret) {
            (LedgerSettings::Remote { url, timeout, local_share_percent: None, .. }, Some(token)) => {
                books::Books::at(url, token, *timeout)
                    .ok_or("its `token` has characters that no HTTP header can hold")
            }
            (LedgerSettings::Remote { .. }, Some(_)) => Err(
                "must come without `local_share`: this shell keeps nothing between requests, and serves nobody while the \
                 server cannot be asked",
            ),
            _ => Err(
                "must be `remote`: this shell has no store of its own, and keeps its books with a server that has \
                      `[ledger_api]`",
            ),
        }
    }
}

thread_local! {
    /// The configuration in force in this instance. One that could not be loaded is tried again.
    static SHELL: RefCell<Option<Rc<Shell<Portable>>>> = const { RefCell::new(None) };
}

struct Component;

wasip3::http::service::export!(Component);

impl Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        wasi::handle(request, &SHELL, async || setup::shell()).await
    }
}
