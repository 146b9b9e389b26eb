//! The books and the keys of an exchange, with a Tollgate server that is asked over HTTP.
//!
//! Settling, telling and renewing are tried again for a while; a hold that was never settled is charged by the server when
//! its lease has passed.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body::Body as _;
use serde::de::DeserializeOwned;
use tollgate_edge::wasi::{PATIENCE, WasiClient, insist, within};
use tollgate_edge::{Client as _, Ledger, Timeouts};
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found};
use tollgate_ledger::{Charged, Entry, Hold, Raise, Reservation, Unavailable};
use tollgate_remote::Call;
use tollgate_settings::{BaseUrl, Credential};

/// The largest answer, in bytes: a key and the scopes around it are far smaller.
const MOST_BYTES: usize = 1 << 20;

/// The ledger.
pub(crate) struct Books(Rc<Server>);

/// Where it is asked.
struct Server {
    url: BaseUrl,
    authorization: HeaderValue,
    timeout: Duration,
}

impl Books {
    /// With the server at this URL, which knows the credential and has so long to answer; none if no header can hold the
    /// credential.
    pub(crate) fn at(url: &BaseUrl, token: &str, timeout: Duration) -> Option<Self> {
        let authorization = Credential::new(token)?.bearer();
        Some(Self(Rc::new(Server { url: url.clone(), authorization, timeout })))
    }

    /// Asks, and waits for the answer.
    async fn ask<T: DeserializeOwned>(&self, call: Call<T>) -> Result<T, Unavailable> {
        within(self.0.timeout, self.0.ask(&call)).await
    }

    /// Asks where nobody can wait.
    fn send<T: DeserializeOwned + 'static>(&self, what: &'static str, of: &str, call: Call<T>) {
        let server = Rc::clone(&self.0);
        insist(what, of, async move || server.ask(&call).await);
    }
}

impl Server {
    async fn ask<T: DeserializeOwned>(&self, call: &Call<T>) -> Result<T, Unavailable> {
        let request = self.request(call).ok_or_else(|| Unavailable::new("its URL cannot be asked"))?;
        let timeouts = Timeouts { connect: PATIENCE, silence: PATIENCE };
        let sent = WasiClient.send(request, timeouts).await;
        let response = sent.map_err(|fault| Unavailable::new(format!("it did not answer: {fault:?}")))?;
        let status = response.status().as_u16();
        let (mut body, mut read) = (pin!(response.into_body()), Vec::new());
        while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let frame =
                frame.map_err(|fault| Unavailable::new(format!("its answer broke off: {fault:?}")))?;
            read.extend_from_slice(frame.data_ref().map(|data| &**data).unwrap_or_default());
            if read.len() > MOST_BYTES {
                return Err(Unavailable::new("its answer is too long"));
            }
        }
        call.read(status, &read)
    }

    fn request<T>(&self, call: &Call<T>) -> Option<Request<Bytes>> {
        let uri = Uri::builder()
            .scheme(self.url.scheme().clone())
            .authority(self.url.authority().clone())
            .path_and_query(self.url.join(call.path)?)
            .build()
            .ok()?;
        let mut request = Request::new(Bytes::from(call.body.clone()));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, self.authorization.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(call.body.len()));
        Some(request)
    }
}

impl Ledger for Books {
    async fn find(&self, digest: &Digest) -> Result<Option<Found>, Unavailable> {
        Self::ask(self, Call::find(digest)).await
    }

    async fn reserve(&self, hold: Hold<'_>, now: u64) -> Result<Reservation, Unavailable> {
        Self::ask(self, Call::reserve(hold, now)).await
    }

    async fn raise(&self, hold: Hold<'_>, now: u64) -> Result<Raise, Unavailable> {
        Self::ask(self, Call::raise(hold, now)).await
    }

    async fn ask(&self, name: &str, rule: BreakerRule, now: u64) -> Result<Passage, Unavailable> {
        Self::ask(self, Call::ask(name, rule, now)).await
    }

    fn tell(&self, name: &str, rule: BreakerRule, generation: u64, health: Health, now: u64) {
        self.send("a breaker could not be told", name, Call::tell(name, rule, generation, health, now));
    }

    fn renew(&self, hold: &str, lease_ms: u64, now: u64) {
        self.send("the ledger did not renew a lease", hold, Call::renew(hold, lease_ms, now));
    }

    fn settle(&self, entry: &Arc<Entry>, charged: &Charged, now: u64) {
        let call = Call::settle(entry, charged.lend(), now);
        self.send("the ledger did not settle; the hold ends by its lease", &entry.request_id, call);
    }

    /// The server does.
    fn expire(&self, _: u64) {}
}
