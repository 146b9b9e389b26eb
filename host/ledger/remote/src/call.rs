//! What a shell asks, and how it reads the answer.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found, digest_text};
use tollgate_ledger::{Charge, Claim, Entry, Hold, Raise, Reservation, Settled, Unavailable};

use crate::path;

/// A request whose answer is a `T`: `POST` this JSON to this path, below the ledger's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<T> {
    /// From `/` on.
    pub path: &'static str,
    /// `content-type: application/json`.
    pub body: Vec<u8>,
    answer: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Call<T> {
    fn new(path: &'static str, body: &impl Serialize) -> Self {
        // Writing to memory does not fail; an empty body would be refused by the ledger.
        Self { path, body: serde_json::to_vec(body).unwrap_or_default(), answer: PhantomData }
    }

    /// Reads what came back.
    ///
    /// # Errors
    /// [`Unavailable`] for every status but 200, with the ledger's own reason if it gives one, and for a body that is
    /// no answer to this.
    pub fn read(&self, status: u16, body: &[u8]) -> Result<T, Unavailable> {
        if status != 200 {
            let reason = serde_json::from_slice::<Failed>(body).map_or_else(
                |_| format!("it answered with status {status}"),
                |failed| format!("it answered with status {status}: {}", failed.error.message),
            );
            return Err(Unavailable::new(reason));
        }
        serde_json::from_slice(body)
            .map_err(|cause| Unavailable::new(format!("its answer to {} cannot be read: {cause}", self.path)))
    }
}

#[derive(serde::Deserialize)]
struct Failed {
    error: Reason,
}

#[derive(serde::Deserialize)]
struct Reason {
    message: String,
}

#[derive(Serialize)]
struct Held<'a> {
    entry: &'a Entry,
    claims: &'a [Claim],
    lease_ms: u64,
    now_ms: u64,
}

impl Call<Option<Found>> {
    /// The key that has this digest among its secrets, valid or not, and the scopes around it.
    #[must_use]
    pub fn find(digest: &Digest) -> Self {
        #[derive(Serialize)]
        struct Find {
            digest: String,
        }
        Self::new(path::FIND, &Find { digest: digest_text(digest) })
    }
}

impl Call<Reservation> {
    /// Holds every claim, or none. What is granted is durable.
    #[must_use]
    pub fn reserve(hold: Hold<'_>, now_ms: u64) -> Self {
        let Hold { entry, claims, lease_ms } = hold;
        Self::new(path::RESERVE, &Held { entry, claims, lease_ms, now_ms })
    }
}

impl Call<Raise> {
    /// Raises what an open hold holds. What is granted is durable.
    #[must_use]
    pub fn raise(hold: Hold<'_>, now_ms: u64) -> Self {
        let Hold { entry, claims, lease_ms } = hold;
        Self::new(path::RAISE, &Held { entry, claims, lease_ms, now_ms })
    }
}

impl Call<bool> {
    /// Moves the lease of an open hold.
    #[must_use]
    pub fn renew(hold: &str, lease_ms: u64, now_ms: u64) -> Self {
        #[derive(Serialize)]
        struct Renew<'a> {
            hold: &'a str,
            lease_ms: u64,
            now_ms: u64,
        }
        Self::new(path::RENEW, &Renew { hold, lease_ms, now_ms })
    }
}

impl Call<Settled> {
    /// Closes a hold with what it really cost, and writes the entry.
    #[must_use]
    pub fn settle(entry: &Entry, charge: Charge<'_>, now_ms: u64) -> Self {
        #[derive(Serialize)]
        struct Settle<'a> {
            entry: &'a Entry,
            charge: Charge<'a>,
            now_ms: u64,
        }
        Self::new(path::SETTLE, &Settle { entry, charge, now_ms })
    }
}

#[derive(Serialize)]
struct Breaker<'a> {
    breaker: &'a str,
    rule: BreakerRule,
    now_ms: u64,
    #[serde(flatten)]
    told: Option<Told>,
}

#[derive(Serialize)]
struct Told {
    generation: u64,
    health: Health,
}

impl Call<Passage> {
    /// Whether an exchange may pass the named breaker.
    #[must_use]
    pub fn ask(breaker: &str, rule: BreakerRule, now_ms: u64) -> Self {
        Self::new(path::ASK, &Breaker { breaker, rule, now_ms, told: None })
    }
}

impl Call<()> {
    /// Tells the named breaker what became of an exchange that passed.
    #[must_use]
    pub fn tell(breaker: &str, rule: BreakerRule, generation: u64, health: Health, now_ms: u64) -> Self {
        Self::new(path::TELL, &Breaker { breaker, rule, now_ms, told: Some(Told { generation, health }) })
    }
}
