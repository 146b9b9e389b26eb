//! Everything Tollgate decides, as pure functions over values.
//!
//! A [`Gateway`] is a loaded configuration and never changes. Each of its methods is one step of an exchange: it
//! reads what the shell saw, and answers what the shell must do. What one step must remember for the next travels
//! in a ticket, so that any step may be taken by another instance with the same configuration.
//!
//! No clock, no randomness, no network, no files, no environment: time and ids are arguments, lints ban the rest
//! (`clippy.toml`), and the component's import list proves it. Nothing here panics, whatever the bytes.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros)]
#![cfg_attr(not(test), deny(clippy::float_arithmetic, clippy::arithmetic_side_effects))]

mod admission;
mod amounts;
mod answer;
mod calendar;
mod claim;
mod config;
mod context;
mod decimal;
mod digits;
mod endpoint;
mod estimate;
mod failure;
mod http_date;
mod judge;
mod key;
mod limit;
mod listing;
pub mod message;
mod meter;
mod money;
mod path;
mod price;
mod principal;
mod rates;
mod refusal;
mod request;
mod route;
mod settlement;
mod slices;
mod stream;
#[cfg(test)]
mod tests;
mod ticket;
mod tries;
mod zone;

use crate::admission::Asker;
use crate::amounts::Amounts;
use crate::config::{By, Config};
use crate::endpoint::Endpoint;
pub use crate::message::*;
use crate::refusal::Refusal;
use crate::stream::Relaying;
pub use crate::ticket::BadTicket;
use crate::ticket::{Stage, Who, encoded};

/// A loaded configuration, and with it every decision.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
}

/// A gateway and the headers it deals with: record `loaded`.
#[derive(Debug)]
pub struct Loaded {
    /// The gateway.
    pub gateway: Gateway,
    /// Request headers that [`Gateway::identify`] reads.
    pub request_headers: Vec<String>,
    /// Request headers that are sent upstream as they are.
    pub forward_headers: &'static [&'static str],
    /// Answer headers that [`Gateway::judge`] reads.
    pub answer_headers: &'static [&'static str],
    /// Answer headers that are sent to the client as they are.
    pub relay_headers: &'static [&'static str],
    /// The names of the headers that its replies carry, and that it adds to answers: [`Own::NAMES`].
    pub own_headers: &'static [&'static str],
    /// Whether [`Gateway::admit`] reads how long upstreams took lately.
    pub wants_latencies: bool,
    /// What an operator should know of although nothing is wrong with it.
    pub notes: Vec<Problem>,
}

impl Gateway {
    /// Before all: reads a configuration, and reports everything that is wrong with it at once.
    pub fn load(settings: &Settings<'_>) -> Result<Loaded, Vec<Problem>> {
        let mut config = Config::read(settings)?;
        let notes = std::mem::take(&mut config.notes);
        let asked = config.header_conditions.names();
        Ok(Loaded {
            request_headers: key::HEADERS.into_iter().chain(asked).map(str::to_owned).collect(),
            wants_latencies: config.models().iter().any(|model| model.route.by == By::Latency),
            gateway: Self { config },
            forward_headers: &["openai-beta", "idempotency-key", "traceparent", "tracestate"],
            answer_headers: &answer::HEADERS,
            relay_headers: &judge::RELAY_HEADERS,
            own_headers: Own::NAMES,
            notes,
        })
    }

    /// A client's head has come: what does it ask for, and with which key?
    pub fn identify(&self, head: &Head) -> Identity {
        let read = endpoint::find(&head.method, &head.path).and_then(|endpoint| {
            let digest = key::digest(&head.headers)?;
            Ok((endpoint, digest))
        });
        match read {
            Err(refusal) => Identity::Reply(refusal.reply(Vec::new())),
            Ok((endpoint, digest)) => {
                let key = self.config.key_with(&digest);
                let headers = self.config.header_conditions.holding(&head.headers);
                let ticket = Stage::Identified { key, endpoint, headers }.seal(&self.config);
                Identity::Caller(Identified { ticket, digest, configured: key.is_some() })
            }
        }
    }

    /// The body has come: what must be reserved, and where can the request go? Lists of models are answered here.
    /// `stored` is what the shell's store knows of a key that the configuration does not have.
    pub fn admit(
        &self,
        ticket: &[u8],
        stored: Option<&Principal>,
        body: &[u8],
        around: &Surroundings,
    ) -> Result<Admission, BadTicket> {
        let Stage::Identified { key, endpoint, headers } = Stage::open(ticket, &self.config)? else {
            return Err(BadTicket);
        };
        let admitted = match (key, stored) {
            (Some(index), _) => {
                let key = self.config.key(index).ok_or(BadTicket)?;
                let asker = Asker {
                    who: Who::Key(index),
                    caller: &key.caller,
                    allowed: &key.allowed,
                    priority: key.priority,
                    tags: &key.tags,
                    headers,
                };
                self.admit_asker(&asker, key.expires_ms, endpoint, body, around)
            }
            (None, Some(principal)) => self.admit_stored(principal, headers, endpoint, body, around),
            (None, None) => Err(Refusal::KeyUnknown),
        };
        Ok(admitted.unwrap_or_else(|refusal| Admission::Reply(refusal.reply(Vec::new()))))
    }

    fn admit_stored(
        &self,
        principal: &Principal,
        headers: u64,
        endpoint: Endpoint<'_>,
        body: &[u8],
        around: &Surroundings,
    ) -> Result<Admission, Refusal> {
        let stored = principal::read(&self.config, principal).map_err(|problems| {
            let first = problems.first().map(|found| format!("{}: {}", found.at, found.message));
            Refusal::KeyUnusable(first.unwrap_or_default())
        })?;
        let who = encoded(&stored.caller);
        let asker = Asker {
            who: Who::Stored(&who),
            caller: &stored.caller,
            allowed: &stored.allowed,
            priority: principal.priority,
            tags: &principal.tags,
            headers,
        };
        self.admit_asker(&asker, principal.expires_ms, endpoint, body, around)
    }

    fn admit_asker(
        &self,
        asker: &Asker<'_>,
        expires_ms: Option<u64>,
        endpoint: Endpoint<'_>,
        body: &[u8],
        around: &Surroundings,
    ) -> Result<Admission, Refusal> {
        if expires_ms.is_some_and(|end| end <= around.now_ms) {
            return Err(Refusal::KeyExpired);
        }
        Ok(match endpoint {
            Endpoint::Models => Admission::Reply(listing::list(&self.config, asker.allowed)),
            Endpoint::Model(id) => Admission::Reply(listing::one(&self.config, asker.allowed, &id)),
            Endpoint::Generate(kind) => {
                Admission::Admitted(admission::admit(&self.config, asker, kind, body, around)?)
            }
        })
    }

    /// An upstream has answered or failed: relay it, try the next target, or reply?
    pub fn judge(&self, ticket: &[u8], attempt: &Attempt) -> Result<Judgement, BadTicket> {
        match Stage::open(ticket, &self.config)? {
            Stage::Trying(exchange) => judge::judge(&self.config, &exchange, attempt),
            _ => Err(BadTicket),
        }
    }

    /// A piece of a relayed answer has come: what does the client get for it?
    pub fn feed(&self, ticket: &[u8], piece: Piece<'_>) -> Result<Fed, BadTicket> {
        let mut stage = Stage::open(ticket, &self.config)?;
        match &mut stage {
            Stage::Relaying { meter, exchange, asks_at } => {
                let relaying = Relaying { config: &self.config, meter, exchange, asks_at };
                let (output, holding) = relaying.feed(piece)?;
                Ok(Fed { ticket: Some(stage.seal(&self.config)), output, holding })
            }
            // Nothing more is to be learnt from this answer: `inspect` was false.
            Stage::Relayed(..) | Stage::Failed(_) => {
                Ok(Fed { ticket: None, output: Output::Pass, holding: None })
            }
            _ => Err(BadTicket),
        }
    }

    /// All is over: what did it cost?
    pub fn settle(&self, ticket: &[u8], ending: Ending) -> Result<Settlement, BadTicket> {
        settlement::settle(&self.config, &Stage::open(ticket, &self.config)?, ending)
    }

    /// Something failed that only the shell can see: what is the client told?
    pub fn refuse(&self, ticket: Option<&[u8]>, failure: &Failure) -> Result<Reply, BadTicket> {
        let stage = ticket.map(|ticket| Stage::open(ticket, &self.config)).transpose()?;
        failure::reply(&self.config, stage.as_ref(), failure)
    }

    /// Aside from any exchange: the keys of the configuration.
    pub fn callers(&self) -> Vec<Principal> {
        self.config.keys().iter().map(|key| principal::of_key(&self.config, key)).collect()
    }

    /// Aside from any exchange: what limits a key, and where that is counted; or what is wrong with it.
    pub fn limits(&self, principal: &Principal, now: u64) -> Result<Vec<LimitOf>, Vec<Problem>> {
        let stored = principal::check(&self.config, principal)?;
        let limit = |limit: limit::Limit| LimitOf {
            claim: Claim { amount: 0, ..limit.claim(&self.config.calendar, &Amounts::default(), now) },
            unit: limit.unit(),
            scope: limit.scope,
            text: limit.text,
        };
        Ok(stored.caller.limits.into_iter().map(limit).collect())
    }
}
