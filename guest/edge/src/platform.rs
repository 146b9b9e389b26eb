//! What an exchange needs of the platform that carries it.
//!
//! Three small traits, so that the same exchange runs with a store beside it or with a ledger far away. Futures need
//! not be `Send`: a component has one thread.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found};
use tollgate_ledger::{Charged, Entry, Hold, Raise, Reservation, Unavailable};
use tollgate_settings::LedgerSettings;

use crate::Fault;

/// Everything a platform brings along.
pub trait Platform: Sized + 'static {
    /// How requests are sent.
    type Client: Client;
    /// Where the books and the keys are kept.
    type Ledger: Ledger;
    /// What time it is.
    type Clock: Clock;

    /// The books where `[ledger]` says. `secret` is what it takes to reach them, if they are somewhere else.
    ///
    /// # Errors
    /// Why this platform cannot keep them there, for whoever wrote the file.
    fn ledger(settings: &LedgerSettings, secret: Option<&str>) -> Result<Self::Ledger, &'static str>;
}

/// Sends requests to upstreams.
pub trait Client: 'static {
    /// The body of an answer, while it arrives. Its errors are what lies between us and the rest of it.
    type Body: http_body::Body<Data = Bytes, Error = Fault> + Unpin + 'static;

    /// Sends a request to the absolute URL it carries and waits for the head of the answer.
    ///
    /// # Errors
    /// What is between us and an answer. [`Fault::Connect`] promises that nothing was sent.
    fn send(
        &self,
        request: Request<Bytes>,
        timeouts: Timeouts,
    ) -> impl Future<Output = Result<Response<Self::Body>, Fault>>;
}

/// How long an upstream may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until there is a connection.
    pub connect: Duration,
    /// Before its answer, and within it.
    pub silence: Duration,
}

/// Where the books and the keys are kept. The rules are those of [`tollgate_ledger::Ledger`] and its neighbours; here
/// is only what an exchange asks.
pub trait Ledger: 'static {
    /// The key that has this digest among its secrets, and the scopes around it.
    fn find(&self, digest: &Digest) -> impl Future<Output = Result<Option<Found>, Unavailable>>;

    /// Holds every claim, or none. When it is granted, it survives a crash.
    fn reserve(&self, hold: Hold<'_>, now: u64) -> impl Future<Output = Result<Reservation, Unavailable>>;

    /// Raises what an open hold holds. When it is granted, it survives a crash.
    fn raise(&self, hold: Hold<'_>, now: u64) -> impl Future<Output = Result<Raise, Unavailable>>;

    /// Asks the breaker of an upstream.
    fn ask(
        &self,
        name: &str,
        rule: BreakerRule,
        now: u64,
    ) -> impl Future<Output = Result<Passage, Unavailable>>;

    /// Tells the breaker of an upstream. Like all that follow it is called where nobody can wait, even while the
    /// exchange is dropped: it is done at once, or goes on by itself.
    fn tell(&self, name: &str, rule: BreakerRule, generation: u64, health: Health, now: u64);

    /// Moves the lease of a hold whose exchange still runs.
    fn renew(&self, hold: &str, lease_ms: u64, now: u64);

    /// Closes a hold with what it really cost and writes its row, once.
    fn settle(&self, entry: &Arc<Entry>, charged: &Charged, now: u64);

    /// Closes holds whose lease has passed. Called after an answer, now and then.
    fn expire(&self, now: u64);
}

/// Time and chance.
pub trait Clock: 'static {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> u64;

    /// Time since some instant, which never goes back.
    fn elapsed(&self) -> Duration;

    /// Uniformly random bits, others in every call.
    fn random(&self) -> u64;

    /// Waits before another try.
    fn pause(&self, span: Duration) -> impl Future<Output = ()>;

    /// Writes a line for whoever runs this. It holds no secret and nothing of a body.
    fn note(&self, line: &str);
}

/// Why the walk of an exchange went wrong by the policy's fault, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause(pub &'static str);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}
