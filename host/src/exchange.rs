//! One request and its answer: the walk of `wit/policy.wit`, with the sockets, the clock and the ledger added.
//!
//! It asks the policy, does what it says, and reports back. It never decides: every status, body, target and
//! amount comes from the policy. Whatever happens on the way, [`Exchange::finish`] runs exactly once, at the
//! latest when the exchange is dropped, and closes what was held.

mod answer;
mod attempts;
mod closing;
mod raising;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use tollgate_ledger::{Charged, Claim, Entry, Hold, Position, Reservation, Standing};

use self::attempts::Asked;
pub(crate) use self::raising::Raising;
use crate::body::Body;
use crate::caller::Caller;
use crate::generation::Generation;
use crate::policy::{Broken, wit};
use crate::reading::{self, Unread};
use crate::record::Record;
use crate::shell::Shell;
use crate::stage::{self, UnderWay};
use crate::translate;
use crate::upstream::Received;

/// How long a hold may take to survive a crash, after the upstream has answered. A disk that takes longer is broken.
const DURABLE_WITHIN: Duration = Duration::from_secs(2);

/// Serves one request from its head to its answer. The answer's body may go on for long after.
pub async fn serve<B>(shell: Arc<Shell>, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let _under_way = UnderWay::begin();
    let mut exchange = Exchange::begin(shell);
    let outcome = exchange.walk(request).await;
    stage::next().await;
    let response = match exchange.when_durable(outcome).await {
        Ok(Decided { relay, received }) => exchange.relay(relay, received),
        Err(Stop::Reply(reply)) => exchange.reply(reply),
        Err(Stop::Failure(failure)) => exchange.refuse(&failure),
        Err(Stop::Broken(broken)) => exchange.broken(&broken),
    };
    stage::next().await;
    response
}

/// Why the walk ends before an answer is relayed.
pub(crate) enum Stop {
    /// The policy answers itself.
    Reply(wit::Reply),
    /// Something only the shell can see; the policy words it.
    Failure(Failure),
    /// The policy gave no answer.
    Broken(Broken),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// The failures of `variant failure`, owned.
#[derive(Debug)]
pub(crate) enum Failure {
    Malformed(String),
    HeadTooLarge(String),
    BodyTooLarge(u64),
    RequestTimeout,
    UnknownKey,
    Limited { claim: u32, retry_after_ms: Option<u64>, standings: Vec<Standing> },
    LedgerUnavailable,
}

/// What an admitted request claims, and where it may go.
struct Admitted {
    /// The row of the exchange as it stands if nobody settles it.
    opening: Arc<Entry>,
    claims: Vec<wit::Claim>,
    targets: Vec<wit::Target>,
}

/// An answer that the policy lets through.
struct Decided {
    relay: wit::Relay,
    received: Received,
}

/// What the shell knows of one exchange.
pub(crate) struct Exchange {
    shell: Arc<Shell>,
    generation: Arc<Generation>,
    id: String,
    started: Instant,
    /// The policy's memory; empty before `identify`.
    ticket: Vec<u8>,
    hold: Option<Held>,
    record: Record,
    finished: bool,
}

/// Claims that were granted and not yet settled.
struct Held {
    /// The row of the exchange as it stands if nobody settles it.
    opening: Arc<Entry>,
    /// As they were granted.
    claims: Vec<Claim>,
    position: Position,
    dispatched: bool,
}

impl Exchange {
    pub(crate) fn begin(shell: Arc<Shell>) -> Self {
        let id = (shell.request_ids)();
        let generation = shell.generation();
        Self {
            shell,
            generation,
            id,
            started: Instant::now(),
            ticket: Vec::new(),
            hold: None,
            record: Record::default(),
            finished: false,
        }
    }

    async fn walk<B>(&mut self, request: Request<B>) -> Result<Decided, Stop>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (head, body) = request.into_parts();
        stage::next().await;
        let caller = self.identify(&head).await?;
        let server = &self.generation.config.server;
        let body = reading::read(body, server.body_limit, server.body_timeout)
            .await
            .map_err(|unread| Stop::Failure(unread.into()))?;
        stage::next().await;
        // One instant for both, whoever comes between: a budget's period is the one it is claimed in.
        let now = (self.shell.clock)();
        let Admitted { opening, claims, targets } = self.admit(caller.as_deref(), &body, now)?;
        stage::next().await;
        let standings = self.reserve(opening, claims, now).await?;

        let asked = Asked { headers: &head.headers, body: &body };
        self.attempts(&targets, asked, &standings).await
    }

    /// Who calls; the caller is there if its key is one of the store's.
    async fn identify(&mut self, head: &http::request::Parts) -> Result<Option<Arc<Caller>>, Stop> {
        let headers = translate::headers_for_guest(&head.headers, &self.generation.request_headers)
            .map_err(|what| Stop::Failure(Failure::Malformed(what)))?;
        let identity = self.generation.policy.call(|policy| {
            policy.identify(wit::Head {
                method: head.method.as_str(),
                path: head.uri.path_and_query().map_or("/", |path| path.as_str()),
                headers: &headers,
            })
        })?;
        match identity {
            wit::Identity::Reply(reply) => Err(Stop::Reply(reply)),
            wit::Identity::Caller(caller) => {
                self.ticket = caller.ticket;
                if caller.configured { Ok(None) } else { self.look_up(&caller.digest).await.map(Some) }
            }
        }
    }

    async fn look_up(&self, digest: &[u8]) -> Result<Arc<Caller>, Stop> {
        let digest =
            digest.try_into().map_err(|_| Broken::new("the policy's digest is not one of SHA-256"))?;
        match self.shell.keyring.find(digest, (self.shell.clock)()).await {
            Ok(Some(caller)) => Ok(caller),
            Ok(None) => Err(Stop::Failure(Failure::UnknownKey)),
            Err(unavailable) => {
                tracing::error!(request_id = %self.id, cause = %unavailable, "the key store did not answer");
                Err(Stop::Failure(Failure::LedgerUnavailable))
            }
        }
    }

    fn admit(&mut self, caller: Option<&Caller>, body: &Bytes, now: u64) -> Result<Admitted, Stop> {
        let policy = &self.generation.policy;
        let random = (self.shell.random)();
        let latencies = self.generation.latencies();
        let admit = |caller: Option<wit::PrincipalParam<'_>>| {
            let around = wit::Surroundings { now_ms: now, random, latencies: &latencies };
            policy.call(|policy| policy.admit(&self.ticket, caller, body, around))
        };
        let admission = match caller {
            None => admit(None),
            Some(caller) => caller.lend(|principal| admit(Some(principal))),
        };
        match admission? {
            wit::Admission::Reply(reply) => Err(Stop::Reply(reply)),
            wit::Admission::Admitted(wit::Admitted { ticket, claims, targets, usage }) => {
                self.ticket = ticket;
                let opening = Arc::new(translate::entry(&self.id, now, usage));
                self.record.opening = Some(Arc::clone(&opening));
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
        let held = self.hold.insert(Held {
            opening: Arc::clone(&opening),
            claims,
            position: Position::default(),
            dispatched: false,
        });
        let hold = Hold { entry: &opening, claims: &held.claims, lease_ms: self.generation.lease_ms() };
        match self.shell.store.reserve(hold, now).await {
            Ok(Reservation::Granted { standings, position }) => {
                if let Some(held) = &mut self.hold {
                    held.position = position;
                    self.shell.books.opened(&self.id);
                }
                Ok(standings)
            }
            Ok(Reservation::Limited { claim, retry_after_ms, standings }) => {
                self.hold = None;
                let claim = u32::try_from(claim).unwrap_or(u32::MAX);
                Err(Stop::Failure(Failure::Limited { claim, retry_after_ms, standings }))
            }
            Err(unavailable) => {
                tracing::error!(request_id = %self.id, cause = %unavailable, "the ledger did not answer");
                // It may have granted them all the same, and only its answer was lost.
                self.hold = None;
                self.shell.books.settle(
                    opening.undispatched().into(),
                    Charged::Nothing,
                    (self.shell.clock)(),
                );
                Err(Stop::Failure(Failure::LedgerUnavailable))
            }
        }
    }

    /// Waits until the hold survives a crash: before that the client gets no byte of an answer. It was written while
    /// the upstream worked, so there is rarely anything to wait for.
    async fn when_durable(&self, outcome: Result<Decided, Stop>) -> Result<Decided, Stop> {
        let Some(held) = &self.hold else { return outcome };
        match raising::within(DURABLE_WITHIN, self.shell.store.durable(held.position)).await {
            Ok(()) => outcome,
            Err(unavailable) => {
                tracing::error!(request_id = %self.id, cause = %unavailable, "the ledger did not keep a hold");
                Err(Stop::Failure(Failure::LedgerUnavailable))
            }
        }
    }

    fn mark_dispatched(&mut self, dispatched: bool) {
        if let Some(hold) = &mut self.hold {
            hold.dispatched = dispatched;
        }
    }

    fn dispatched(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.dispatched)
    }
}

/// What a flowing answer needs of its exchange.
impl Exchange {
    /// What the client gets for a piece, and what must be held before the next one.
    pub(crate) fn feed(
        &mut self,
        piece: wit::Piece<'_>,
    ) -> Result<(wit::Output, Option<wit::Holding>), Broken> {
        let fed = self.generation.policy.call(|policy| policy.feed(&self.ticket, piece))?;
        if let Some(ticket) = fed.ticket {
            self.ticket = ticket;
        }
        Ok((fed.output, fed.holding))
    }

    pub(crate) fn first_byte(&mut self) {
        self.record.first_byte.get_or_insert_with(|| self.started.elapsed());
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl From<Unread> for Failure {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge(limit) => Self::BodyTooLarge(limit),
            Unread::TooSlow => Self::RequestTimeout,
            Unread::Malformed(what) => Self::Malformed(what),
        }
    }
}
