//! The shared data of an Envoy, over HTTP: `GET /<name>` reads a value, `PUT /<name>` writes the body there. `DELETE /`
//! ends by a trap.
//!
//! Shared data belongs to a `vm_id`, so a module with that of the plugin sees what the plugin keeps, and the plugin
//! itself needs nothing that only tests use.
#![expect(missing_docs, reason = "proxy-wasm's macro writes the entry point")]

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Desk));
}}

struct Desk;

impl Context for Desk {}

impl RootContext for Desk {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::<Visit>::default())
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// One request; the name it is about, while it writes.
#[derive(Default)]
struct Visit(Option<String>);

impl Visit {
    fn answer(body: &[u8]) -> Action {
        let _ = hostcalls::send_http_response(200, vec![("x-request-id", "desk")], Some(body));
        Action::Pause
    }

    fn write(&self, body: &[u8]) -> Action {
        if let Some(name) = &self.0 {
            let _ = hostcalls::set_shared_data(name, Some(body), None);
        }
        Self::answer(b"")
    }
}

impl Context for Visit {}

impl HttpContext for Visit {
    fn on_http_request_headers(&mut self, _: usize, is_last: bool) -> Action {
        let path = self.get_http_request_header(":path").unwrap_or_default();
        let name = path.trim_start_matches('/').to_owned();
        if self.get_http_request_header(":method").is_some_and(|method| method == "GET") {
            let value = hostcalls::get_shared_data(&name).ok().and_then(|(value, _)| value);
            return Self::answer(&value.unwrap_or_default());
        }
        if self.get_http_request_header(":method").is_some_and(|method| method == "DELETE") {
            // What a module that fails looks like to Envoy.
            std::process::abort();
        }
        self.0 = Some(name);
        if is_last { self.write(b"") } else { Action::Pause }
    }

    fn on_http_request_body(&mut self, size: usize, is_last: bool) -> Action {
        if !is_last {
            return Action::Pause;
        }
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        self.write(&body)
    }
}
