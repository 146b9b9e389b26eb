//! The connection to the server: up, or known to be down.
//!
//! Every operation is answered within a bound. After one that was not, or that failed in a way that tells of the
//! server, the connection is given up for good with all that wait on it, so that a late answer can never be taken for
//! another's; until a new one is found, operations fail at once. This module decides nothing about the books.

use std::borrow::Cow;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, ServerErrorKind};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tollgate_ledger::Unavailable;
use tollgate_scripts::Call;

use crate::evaluate::evaluate;
use crate::options::Server;

/// How long a new connection may take, names and TLS included.
const CONNECTS_WITHIN: Duration = Duration::from_secs(2);

/// Why an operation has no answer.
#[derive(Debug)]
pub enum Failure {
    /// The server cannot be reached, or is in no state to answer anybody.
    Down(Unavailable),
    /// The server has refused this operation, and would again.
    Refused(Unavailable),
}

impl From<Failure> for Unavailable {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Down(why) | Failure::Refused(why) => why,
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        // An error of the library names the server's words or the system's, never the address or the password.
        let why = Unavailable::new(format!("redis: {error}"));
        let of_this_operation = matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ResponseError) | ErrorKind::UnexpectedReturnType
        ) || error.code() == Some("WRONGTYPE");
        if of_this_operation { Self::Refused(why) } else { Self::Down(why) }
    }
}

/// The connection of one gateway.
pub struct Link {
    state: Mutex<State>,
    /// How long one operation may take.
    bound: Duration,
    /// Told when there is something to do: the link has gone down, or something waits in the journal.
    pub work: Notify,
}

enum State {
    Up {
        connection: MultiplexedConnection,
        /// Tells this connection from those before.
        number: u64,
        /// Dropped when the connection is given up: whoever waits for an answer on it hears of that.
        in_use: watch::Sender<()>,
    },
    Down {
        why: Cow<'static, str>,
        /// How many connections there have been.
        number: u64,
    },
}

impl Link {
    /// A link that was never up.
    pub fn new(bound: Duration) -> Self {
        let why = Cow::Borrowed("redis: not connected yet");
        Self { state: Mutex::new(State::Down { why, number: 0 }), bound, work: Notify::new() }
    }

    /// Why the link is down, if it is.
    pub fn down(&self) -> Option<Cow<'static, str>> {
        match &*self.state() {
            State::Up { .. } => None,
            State::Down { why, .. } => Some(why.clone()),
        }
    }

    /// Runs a script on the connection.
    pub async fn ask<T>(&self, call: Call<T>) -> Result<T, Failure> {
        self.run(|on| evaluate(on, call)).await
    }

    /// Runs an operation on the connection.
    pub async fn run<T, F>(&self, operation: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (connection, number, mut in_use) = match &*self.state() {
            State::Up { connection, number, in_use } => (connection.clone(), *number, in_use.subscribe()),
            State::Down { why, .. } => return Err(Failure::Down(Unavailable::new(why.clone()))),
        };
        let answer = tokio::select! {
            biased;
            answer = self.bounded(operation(connection)) => answer,
            _ = in_use.changed() => Err(Failure::Down(Unavailable::new("redis: the connection was lost"))),
        };
        if let Err(Failure::Down(why)) = &answer {
            self.lower(number, why.reason.clone());
        }
        answer
    }

    /// An operation's answer, or a failure as soon as it is late.
    pub async fn bounded<T>(&self, operation: impl Future<Output = RedisResult<T>>) -> Result<T, Failure> {
        match timeout(self.bound, operation).await {
            Ok(answer) => answer.map_err(Failure::from),
            Err(_) => {
                Err(Failure::Down(Unavailable::new(format!("redis: no answer within {:?}", self.bound))))
            }
        }
    }

    /// Takes a new connection into use.
    pub fn raise(&self, connection: MultiplexedConnection) {
        let mut state = self.state();
        let (State::Up { number, .. } | State::Down { number, .. }) = *state;
        let (in_use, _) = watch::channel(());
        *state = State::Up { connection, number: number.saturating_add(1), in_use };
        tracing::info!("the shared ledger is reached");
    }

    /// Says why there is still no connection.
    pub fn stays_down(&self, reason: &Unavailable) {
        if let State::Down { why, .. } = &mut *self.state()
            && *why != reason.reason
        {
            tracing::warn!(reason = &*reason.reason, "the shared ledger cannot be reached");
            *why = reason.reason.clone();
        }
    }

    /// Gives up a connection, if it is still the one in use.
    fn lower(&self, given_up: u64, why: Cow<'static, str>) {
        let mut state = self.state();
        if matches!(*state, State::Up { number, .. } if number == given_up) {
            tracing::warn!(reason = &*why, "the shared ledger is lost");
            *state = State::Down { why, number: given_up };
            self.work.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects, and lets `probe` show that the server takes what will be asked of it. A cluster may send it on to the
/// shard that has the namespace.
pub async fn connect<F>(
    server: &Server,
    probe: impl Fn(MultiplexedConnection) -> F,
) -> Result<MultiplexedConnection, Failure>
where
    F: Future<Output = RedisResult<()>>,
{
    let connecting = async {
        let error = match probed(server, &probe).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        match error.redirect_node().and_then(|(node, _)| server.moved_to(node)) {
            Some(shard) => probed(&shard, &probe).await,
            None => Err(error),
        }
    };
    match timeout(CONNECTS_WITHIN, connecting).await {
        Ok(connection) => connection.map_err(Failure::from),
        Err(_) => Err(Failure::Down(Unavailable::new("redis: no connection within 2 s"))),
    }
}

async fn probed<F>(
    server: &Server,
    probe: impl Fn(MultiplexedConnection) -> F,
) -> RedisResult<MultiplexedConnection>
where
    F: Future<Output = RedisResult<()>>,
{
    // What waits is bounded here, not in the library.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let connection = server.client()?.get_multiplexed_async_connection_with_config(&config).await?;
    probe(connection.clone()).await?;
    Ok(connection)
}
