//! One request and its answer: the walk of `wit/policy.wit`, with a client, a clock and a ledger added.
//!
//! It asks the policy, does what it says, and reports back. It never decides: every status, body, target and amount
//! comes from the policy. Whatever happens on the way, [`Exchange::finish`] runs exactly once, at the latest when the
//! exchange is dropped, and closes what was held.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response};
use tollgate_ledger::{Charged, Claim, Entry, Hold, Reservation, Standing};

use crate::attempts::Asked;
use crate::body::Body;
use crate::caller::Caller;
use crate::platform::{Cause, Clock as _, Ledger as _, Platform};
use crate::reading::{self, Unread};
use crate::shell::Shell;
use crate::upstream::Received;
use crate::{translate, wit};

/// Serves one request from its head to its answer. The answer's body may go on for long after.
pub async fn serve<P, B>(shell: Rc<Shell<P>>, request: Request<B>) -> Response<Body<P>>
where
    P: Platform,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let path = request.uri().path();
    if matches!(path, "/healthz" | "/readyz") && matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = Response::new(Body::whole(Bytes::from_static(b"ok\n")));
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/plain"));
        return response;
    }
    let mut exchange = Exchange::begin(shell);
    match exchange.walk(request).await {
        Ok(Decided { relay, received }) => exchange.relay(relay, received),
        Err(Stop::Reply(reply)) => exchange.reply(reply),
        Err(Stop::Failure(failure)) => exchange.refuse(&failure),
        Err(Stop::Broken(cause)) => exchange.broken(cause),
    }
}

/// Why the walk ends before an answer is relayed.
pub(crate) enum Stop {
    /// The policy answers itself.
    Reply(wit::Reply),
    /// Something only the shell can see; the policy words it.
    Failure(Failure),
    /// The policy said what cannot be.
    Broken(Cause),
}

impl From<Cause> for Stop {
    fn from(cause: Cause) -> Self {
        Self::Broken(cause)
    }
}

/// The failures of `variant failure`, owned.
#[derive(Debug)]
pub(crate) enum Failure {
    Malformed(String),
    BodyTooLarge(u64),
    UnknownKey,
    Limited { claim: u32, retry_after_ms: Option<u64>, standings: Vec<Standing> },
    LedgerUnavailable,
}

impl From<Unread> for Failure {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge(limit) => Self::BodyTooLarge(limit),
            Unread::Malformed(what) => Self::Malformed(what),
        }
    }
}

/// What an admitted request claims, and where it may go.
struct Admitted {
    /// The row of the exchange as it stands if nobody settles it.
    opening: Arc<Entry>,
    claims: Vec<wit::Claim>,
    targets: Vec<wit::Target>,
}

/// An answer that the policy lets through.
pub(crate) struct Decided<B> {
    pub relay: wit::Relay,
    pub received: Received<B>,
}

/// What the shell knows of one exchange.
pub(crate) struct Exchange<P: Platform> {
    pub shell: Rc<Shell<P>>,
    pub id: String,
    pub started: Duration,
    /// The policy's memory; empty before `identify`.
    pub ticket: Vec<u8>,
    pub hold: Option<Held>,
    pub status: u16,
    pub first_byte: Option<Duration>,
    pub finished: bool,
}

/// Claims that were granted and not yet settled.
pub(crate) struct Held {
    /// The row of the exchange as it stands if nobody settles it.
    pub opening: Arc<Entry>,
    /// As they were granted.
    pub claims: Vec<Claim>,
    pub dispatched: bool,
    /// When its lease was last moved: milliseconds since the epoch.
    pub renewed_ms: u64,
}

impl<P: Platform> Exchange<P> {
    fn begin(shell: Rc<Shell<P>>) -> Self {
        Self {
            id: shell.request_id(),
            started: shell.clock.elapsed(),
            ticket: Vec::new(),
            hold: None,
            status: 0,
            first_byte: None,
            finished: false,
            shell,
        }
    }

    async fn walk<B>(
        &mut self,
        request: Request<B>,
    ) -> Result<Decided<<P::Client as crate::Client>::Body>, Stop>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let (head, body) = request.into_parts();
        reading::unambiguous(&head.headers).map_err(|what| Stop::Failure(Failure::Malformed(what)))?;
        let caller = self.identify(&head).await?;
        let limit = self.shell.generation.config.server.body_limit;
        let body = reading::read(body, limit).await.map_err(|unread| Stop::Failure(unread.into()))?;
        // One instant for both: a budget's period is the one it is claimed in.
        let now = self.shell.clock.now_ms();
        let Admitted { opening, claims, targets } = self.admit(caller.as_ref(), &body, now)?;
        let standings = self.reserve(opening, claims, now).await?;
        self.attempts(&targets, Asked { headers: &head.headers, body: &body }, &standings).await
    }

    /// Who calls; the caller is there if its key is one of the store's.
    async fn identify(&mut self, head: &Parts) -> Result<Option<Caller>, Stop> {
        let generation = &self.shell.generation;
        let headers = translate::headers_for_guest(&head.headers, &generation.request_headers)
            .map_err(|what| Stop::Failure(Failure::Malformed(what)))?;
        let identity = generation.gateway.identify(wit::HeadParam {
            method: head.method.as_str(),
            path: head.uri.path_and_query().map_or("/", |path| path.as_str()),
            headers: &headers,
        });
        match identity {
            wit::Identity::Reply(reply) => Err(Stop::Reply(reply)),
            wit::Identity::Caller(caller) => {
                self.ticket = caller.ticket;
                if caller.configured { Ok(None) } else { self.look_up(&caller.digest).await.map(Some) }
            }
        }
    }

    async fn look_up(&self, digest: &[u8]) -> Result<Caller, Stop> {
        let digest = digest.try_into().map_err(|_| Cause("the policy's digest is not one of SHA-256"))?;
        let now = self.shell.clock.now_ms();
        match self.shell.ledger.find(&digest).await {
            Ok(Some(found)) if found.key.admits(&digest, now) => Ok(Caller::from(&found)),
            Ok(_) => Err(Stop::Failure(Failure::UnknownKey)),
            Err(cause) => {
                self.note("the key store did not answer", &cause);
                Err(Stop::Failure(Failure::LedgerUnavailable))
            }
        }
    }

    fn admit(&mut self, caller: Option<&Caller>, body: &Bytes, now: u64) -> Result<Admitted, Stop> {
        let Shell { generation, clock, .. } = &*self.shell;
        let latencies = generation.latencies();
        let around = wit::SurroundingsParam { now_ms: now, random: clock.random(), latencies: &latencies };
        let admit = |caller: Option<wit::PrincipalParam<'_>>| {
            generation.gateway.admit(&self.ticket, caller, body, around)
        };
        let admission = match caller {
            None => admit(None),
            Some(caller) => caller.lend(|principal| admit(Some(principal))),
        };
        match admission {
            wit::Admission::Reply(reply) => Err(Stop::Reply(reply)),
            wit::Admission::Admitted(wit::Admitted { ticket, claims, targets, usage }) => {
                self.ticket = ticket;
                let opening = Arc::new(translate::entry(&self.id, now, usage));
                Ok(Admitted { opening, claims, targets })
            }
        }
    }

    /// Holds every claim, or none and ends the walk. INVARIANT (never over-admit): nothing is sent before.
    async fn reserve(
        &mut self,
        opening: Arc<Entry>,
        claims: Vec<wit::Claim>,
        now: u64,
    ) -> Result<Vec<Standing>, Stop> {
        let claims: Vec<Claim> = claims.into_iter().map(translate::claim).collect();
        // Noted first: if this future is dropped while the ledger works, what it granted is still settled.
        let opening = Arc::clone(
            &self.hold.insert(Held { opening, claims, dispatched: false, renewed_ms: now }).opening,
        );
        let claims = self.hold.as_ref().map_or(&[][..], |held| &held.claims);
        let hold = Hold { entry: &opening, claims, lease_ms: self.shell.generation.lease_ms() };
        match self.shell.ledger.reserve(hold, now).await {
            Ok(Reservation::Granted { standings, .. }) => Ok(standings),
            Ok(Reservation::Limited { claim, retry_after_ms, standings }) => {
                self.hold = None;
                let claim = u32::try_from(claim).unwrap_or(u32::MAX);
                Err(Stop::Failure(Failure::Limited { claim, retry_after_ms, standings }))
            }
            Err(cause) => {
                self.note("the ledger did not answer", &cause);
                self.hold = None;
                // It may have granted them all the same, and only its answer was lost.
                let row = Arc::new(opening.undispatched());
                self.shell.ledger.settle(&row, &Charged::Nothing, self.shell.clock.now_ms());
                Err(Stop::Failure(Failure::LedgerUnavailable))
            }
        }
    }

    pub(crate) fn mark_dispatched(&mut self, dispatched: bool) {
        if let Some(hold) = &mut self.hold {
            hold.dispatched = dispatched;
        }
    }

    pub(crate) fn dispatched(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.dispatched)
    }

    /// Moves the lease of what is held, once half of it has passed.
    pub(crate) fn keep_alive(&mut self) {
        let (lease_ms, now) = (self.shell.generation.lease_ms(), self.shell.clock.now_ms());
        if let Some(held) = &mut self.hold
            && now.saturating_sub(held.renewed_ms) >= lease_ms / 2
        {
            held.renewed_ms = now;
            self.shell.ledger.renew(&self.id, lease_ms, now);
        }
    }

    /// A line in the log that says what went wrong in this exchange.
    pub(crate) fn note(&self, what: &str, cause: &dyn std::fmt::Display) {
        let line = serde_json::json!({
            "level": "error", "message": what, "request_id": self.id, "cause": cause.to_string(),
        });
        self.shell.clock.note(&line.to_string());
    }
}
