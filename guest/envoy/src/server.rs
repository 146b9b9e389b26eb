//! The Tollgate server that keeps the books, asked over HTTP by Envoy's own means.
//!
//! Envoy knows where it is: the host of `url` in `[ledger]` is the name of a cluster. An answer comes later, to the
//! context that asked; who waits for it keeps the [`Pending`].

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, Status};
use serde::de::DeserializeOwned;
use tollgate_remote::Call;
use tollgate_settings::{BaseUrl, Credential};

/// The largest answer, in bytes: a key and the scopes around it are far smaller.
const MOST_BYTES: usize = 1 << 20;

/// Where the books are.
pub struct Server {
    url: BaseUrl,
    authorization: String,
    timeout: Duration,
}

/// A question that was asked.
pub struct Pending<T> {
    token: u32,
    call: Call<T>,
}

/// An answer that is there, or that is waited for.
pub enum Asked<T> {
    /// Here it is, or why there is none.
    Answered(Result<T, String>),
    /// It will come.
    Waits(Pending<T>),
}

impl Server {
    /// The server at this URL, which knows the credential and has so long to answer.
    pub fn new(url: BaseUrl, credential: &Credential, timeout: Duration) -> Option<Self> {
        let authorization = credential.bearer().to_str().ok()?.to_owned();
        Some(Self { url, authorization, timeout })
    }

    /// How long it may take to answer, in milliseconds.
    pub fn timeout_ms(&self) -> u64 {
        u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX)
    }

    /// Asks, and waits for as long as the configuration says.
    pub fn ask<T: DeserializeOwned>(&self, call: Call<T>) -> Asked<T> {
        match self.send(&call, self.timeout) {
            Ok(token) => Asked::Waits(Pending { token, call }),
            Err(cause) => Asked::Answered(Err(cause)),
        }
    }

    /// Asks, and says by which token Envoy will answer.
    ///
    /// # Errors
    /// Why Envoy did not even try.
    pub fn send<T>(&self, call: &Call<T>, timeout: Duration) -> Result<u32, String> {
        let cluster = self.url.authority().host();
        let path = self.url.join(call.path).ok_or("the url of the ledger has no such path")?;
        let headers = vec![
            (":method", "POST"),
            (":scheme", self.url.scheme().as_str()),
            (":authority", self.url.authority().as_str()),
            (":path", path.as_str()),
            ("authorization", self.authorization.as_str()),
            ("content-type", "application/json"),
        ];
        hostcalls::dispatch_http_call(cluster, headers, Some(&call.body), Vec::new(), timeout).map_err(
            |status| match status {
                Status::BadArgument => {
                    format!("Envoy has no cluster `{cluster}`, the host of the ledger's url")
                }
                _ => format!("the cluster `{cluster}` cannot be asked"),
            },
        )
    }
}

impl<T: DeserializeOwned> Pending<T> {
    /// Whether Envoy answers this one.
    pub fn is(&self, token: u32) -> bool {
        self.token == token
    }

    /// The answer that is being looked at.
    ///
    /// # Errors
    /// Why there is none.
    pub fn read(&self) -> Result<T, String> {
        read(&self.call)
    }
}

/// The answer to a call that is being looked at.
///
/// # Errors
/// Why there is none.
pub fn read<T: DeserializeOwned>(call: &Call<T>) -> Result<T, String> {
    let status = hostcalls::get_map_value(MapType::HttpCallResponseHeaders, ":status").ok().flatten();
    let status = status.and_then(|status| status.parse().ok()).ok_or("it did not answer")?;
    let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, MOST_BYTES).ok().flatten();
    call.read(status, &body.unwrap_or_default()).map_err(|unavailable| unavailable.reason.into_owned())
}
