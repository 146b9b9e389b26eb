//! The Tollgate gateway as a library: a [`Gateway`] is a `tower` service over `http` types, and [`Server`] is the
//! HTTP/1.1 server that the `tollgate` binary puts around it.
//!
//! Everything that decides is the policy component (see `wit/policy.wit`); this crate is a shell around it. It
//! owns sockets, secrets, the clock and the ledger, and does what the policy says. Start reading at
//! `exchange.rs`.
//!
//! ```
//! use http::Request;
//! use http_body_util::{BodyExt as _, Empty};
//! use tollgate::{Gateway, key::Secret, tower_service::Service as _};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = Secret::generate()?;
//! let config = format!(r#"
//!     [upstreams.local]
//!     base_url = "http://127.0.0.1:9000/v1"
//!
//!     [[models]]
//!     name = "small"
//!     targets = [{{ upstream = "local" }}]
//!     price = "free"
//!
//!     [[keys]]
//!     name = "alice"
//!     digest = "{}"
//! "#, key.digest());
//! let mut gateway = Gateway::builder(config).build()?;
//!
//! let request = Request::get("/v1/models")
//!     .header("authorization", format!("Bearer {}", key.reveal()))
//!     .body(Empty::<bytes::Bytes>::new())?;
//! let response = gateway.call(request).await?;
//! assert_eq!(response.status(), 200);
//! let body = response.into_body().collect().await?.to_bytes();
//! assert!(String::from_utf8_lossy(&body).contains(r#""id":"small""#));
//! # Ok(())
//! # }
//! ```

mod admin;
mod again;
mod body;
mod books;
mod breakers;
#[path = "../../guest/edge/src/caller.rs"]
mod caller;
mod config;
pub mod demo;
mod exchange;
mod framing;
mod gateway;
mod generation;
pub mod key;
mod keyring;
mod lane;
#[path = "../../guest/edge/src/latency.rs"]
mod latency;
mod ledger_api;
mod listener;
pub mod litellm;
#[path = "../../guest/edge/src/load.rs"]
mod load;
pub mod log;
mod object;
pub mod operator;
pub mod policy;
mod principal;
pub mod provider;
mod reading;
mod record;
mod relay;
mod reload;
mod server;
mod shell;
mod stage;
pub mod store;
mod tls;
#[path = "../../guest/edge/src/translate.rs"]
mod translate;
mod upstream;

pub(crate) use policy::wit;

pub use admin::Admin;
pub use body::Body;
pub use config::{Config, UpstreamSettings, read as read_config};
pub use gateway::{Builder, Gateway, Loaded};
pub use generation::{NotLoaded, told};
pub use ledger_api::LedgerApi;
pub use relay::Cut;
pub use reload::{Watch, tell};
pub use server::Server;
pub use shell::PolicySource;
pub use tollgate_document::{Problem, duration};
pub use tollgate_settings::{AdminSettings, LedgerSettings, Secrets, ServerSettings};
pub use tower_service;
