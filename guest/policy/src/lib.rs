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
mod calendar;
mod catalogue;
mod claim;
mod config;
mod endpoint;
mod estimate;
mod failure;
mod judge;
mod key;
pub mod message;
mod meter;
mod money;
mod refusal;
mod request;
mod settlement;
mod stream;
#[cfg(test)]
mod tests;
mod ticket;

use crate::config::Config;
use crate::endpoint::Endpoint;
pub use crate::message::*;
use crate::refusal::Refusal;
pub use crate::ticket::BadTicket;
use crate::ticket::Stage;

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
    pub request_headers: &'static [&'static str],
    /// Request headers that are sent upstream as they are.
    pub forward_headers: &'static [&'static str],
    /// Answer headers that [`Gateway::judge`] reads.
    pub answer_headers: &'static [&'static str],
    /// Answer headers that are sent to the client as they are.
    pub relay_headers: &'static [&'static str],
}

impl Gateway {
    /// Before all: reads a configuration, and reports everything that is wrong with it at once.
    pub fn load(settings: &Settings<'_>) -> Result<Loaded, Vec<Problem>> {
        Ok(Loaded {
            gateway: Self { config: Config::read(settings)? },
            request_headers: &key::HEADERS,
            forward_headers: &["openai-beta", "idempotency-key", "traceparent", "tracestate"],
            answer_headers: &judge::ANSWER_HEADERS,
            relay_headers: &judge::RELAY_HEADERS,
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
                let ticket = Stage::Identified { key, endpoint }.seal(&self.config);
                Identity::Caller(Identified { ticket, digest, configured: key.is_some() })
            }
        }
    }

    /// The body has come: what must be reserved, and where can the request go? Lists of models are answered here.
    pub fn admit(&self, ticket: &[u8], body: &[u8], now: u64) -> Result<Admission, BadTicket> {
        let Stage::Identified { key, endpoint } = Stage::open(ticket, &self.config)? else {
            return Err(BadTicket);
        };
        let Some(index) = key else {
            // A key that only the shell's store knows has no limits here, so it may do nothing.
            return Ok(Admission::Reply(Refusal::KeyUnknown.reply(Vec::new())));
        };
        let key = self.config.key(index).ok_or(BadTicket)?;
        Ok(match endpoint {
            Endpoint::Models => Admission::Reply(catalogue::list(&self.config, key)),
            Endpoint::Model(id) => Admission::Reply(catalogue::one(&self.config, key, &id)),
            Endpoint::Generate(kind) => match admission::admit(&self.config, (index, key), kind, body, now) {
                Ok(admitted) => Admission::Admitted(admitted),
                Err(refusal) => Admission::Reply(refusal.reply(Vec::new())),
            },
        })
    }

    /// An upstream has answered or failed: relay it, try the next target, or reply?
    pub fn judge(&self, ticket: &[u8], attempt: &Attempt) -> Result<Verdict, BadTicket> {
        match Stage::open(ticket, &self.config)? {
            Stage::Trying(exchange) => judge::judge(&self.config, &exchange, attempt),
            _ => Err(BadTicket),
        }
    }

    /// A piece of a relayed answer has come: what does the client get for it?
    pub fn feed(&self, ticket: &[u8], piece: Piece<'_>) -> Result<Fed, BadTicket> {
        let mut stage = Stage::open(ticket, &self.config)?;
        match &mut stage {
            Stage::Relaying { meter, .. } => {
                let output = stream::feed(meter, piece);
                Ok(Fed { ticket: Some(stage.seal(&self.config)), output })
            }
            // Nothing more is to be learnt from this answer: `inspect` was false.
            Stage::Relayed(..) | Stage::Failed(_) => Ok(Fed { ticket: None, output: Output::Pass }),
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
}
