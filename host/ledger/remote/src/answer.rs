//! What a host answers.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use tollgate_ledger::breaker::{BreakerRule, Health};
use tollgate_ledger::keys::digest_of;
use tollgate_ledger::{Charged, Claim, Entry, Hold, Position, Raise, Reservation, Store, Unavailable};

use crate::path;

/// An answer: `content-type: application/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200; 400 for what cannot be read, 404 for a path that there is not, 503 where the store cannot be asked.
    pub status: u16,
    /// What was asked for, or `{"error": {"message", "code"}}`.
    pub body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, body: &impl Serialize) -> Self {
        // Writing to memory does not fail; an empty answer is read as none.
        Self { status, body: serde_json::to_vec(body).unwrap_or_default() }
    }

    /// A failure with its reason.
    #[must_use]
    pub fn failed(status: u16, code: &'static str, message: &str) -> Self {
        Self::new(status, &Failed { error: Reason { message, code } })
    }
}

#[derive(Serialize)]
struct Failed<'a> {
    error: Reason<'a>,
}

#[derive(Serialize)]
struct Reason<'a> {
    message: &'a str,
    code: &'static str,
}

impl From<Unavailable> for Answer {
    fn from(unavailable: Unavailable) -> Self {
        Self::failed(503, "ledger_unavailable", &unavailable.reason)
    }
}

#[derive(Deserialize)]
struct Find {
    digest: String,
}

#[derive(Deserialize)]
struct Held {
    #[serde(deserialize_with = "shared")]
    entry: Arc<Entry>,
    claims: Vec<Claim>,
    lease_ms: u64,
    now_ms: u64,
}

impl Held {
    fn hold(&self) -> Hold<'_> {
        Hold { entry: &self.entry, claims: &self.claims, lease_ms: self.lease_ms }
    }
}

fn shared<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Entry>, D::Error> {
    Entry::deserialize(from).map(Arc::new)
}

#[derive(Deserialize)]
struct Renew {
    hold: String,
    lease_ms: u64,
    now_ms: u64,
}

#[derive(Deserialize)]
struct Settle {
    #[serde(deserialize_with = "shared")]
    entry: Arc<Entry>,
    charge: Charged,
    now_ms: u64,
}

#[derive(Deserialize)]
struct Ask {
    breaker: String,
    rule: BreakerRule,
    now_ms: u64,
}

#[derive(Deserialize)]
struct Tell {
    #[serde(flatten)]
    ask: Ask,
    generation: u64,
    health: Health,
}

/// Does what was posted to a path. A grant is answered when it is durable: who asks from far away has no log of ours
/// to look at later.
pub async fn answer(store: &dyn Store, path: &str, body: &[u8]) -> Answer {
    match act(store, path, body).await {
        Ok(answer) | Err(answer) => answer,
    }
}

async fn act(store: &dyn Store, path: &str, body: &[u8]) -> Result<Answer, Answer> {
    match path {
        path::FIND => {
            let Find { digest } = read(body)?;
            let digest = digest_of(&digest).ok_or_else(|| malformed("`digest` is none of SHA-256"))?;
            Ok(Answer::new(200, &store.find(&digest).await?))
        }
        path::RESERVE => {
            let held: Held = read(body)?;
            let reserved = store.reserve(held.hold(), held.now_ms).await?;
            if let Reservation::Granted { position, .. } = reserved {
                durable(store, position).await?;
            }
            Ok(Answer::new(200, &reserved))
        }
        path::RAISE => {
            let held: Held = read(body)?;
            let raised = store.raise(held.hold(), held.now_ms).await?;
            if let Raise::Granted { position, .. } = raised {
                durable(store, position).await?;
            }
            Ok(Answer::new(200, &raised))
        }
        path::RENEW => {
            let Renew { hold, lease_ms, now_ms } = read(body)?;
            Ok(Answer::new(200, &store.renew(&hold, lease_ms, now_ms).await?))
        }
        path::SETTLE => {
            let Settle { entry, charge, now_ms } = read(body)?;
            let settled = store.settle(&entry, charge.lend(), now_ms).await?;
            // The shell forgets the exchange when it is told.
            store.flush().await?;
            Ok(Answer::new(200, &settled))
        }
        path::ASK => {
            let Ask { breaker, rule, now_ms } = read(body)?;
            Ok(Answer::new(200, &store.ask(&breaker, rule, now_ms).await?))
        }
        path::TELL => {
            let Tell { ask: Ask { breaker, rule, now_ms }, generation, health } = read(body)?;
            store.tell(&breaker, rule, generation, health, now_ms).await?;
            Ok(Answer::new(200, &()))
        }
        _ => Err(Answer::failed(404, "unknown_url", "there is nothing here; this ledger speaks version 1")),
    }
}

async fn durable(store: &dyn Store, position: Position) -> Result<(), Unavailable> {
    store.durable(position).await
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|cause| malformed(&format!("the body cannot be read: {cause}")))
}

fn malformed(message: &str) -> Answer {
    Answer::failed(400, "bad_request", message)
}
