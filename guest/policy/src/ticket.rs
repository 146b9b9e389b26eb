//! The policy's memory of one exchange, as bytes that the shell keeps between two calls.
//!
//! Nothing of the configuration is copied into a ticket: keys, models and targets are indices, and the fingerprint
//! in front tells whether they are those of this configuration. Decoding borrows, so that a chunk of a stream
//! costs one small allocation, its next ticket. A ticket is trusted no further than its fingerprint: every index
//! in it is looked up, and a wrong one is a [`BadTicket`].

use std::fmt;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use crate::claim::Amounts;
use crate::config::{Config, Key, Model, Target};
use crate::endpoint::{Endpoint, Kind};
use crate::meter::{Meter, Tally};

/// A ticket that this policy, with this configuration, did not make for this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTicket;

impl fmt::Display for BadTicket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the ticket is not one that this policy made for this call")
    }
}

impl std::error::Error for BadTicket {}

/// How far an exchange has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage<'a> {
    /// The head was read.
    Identified {
        /// The caller's key, if the configuration has it.
        key: Option<u32>,
        #[serde(borrow)]
        endpoint: Endpoint<'a>,
    },
    /// Targets are being tried.
    Trying(Exchange),
    /// No target gave an answer; the client gets a reply of ours or a provider's error.
    Failed(Exchange),
    /// An answer is relayed, and all about it is known.
    Relayed(Exchange, Tally),
    /// An answer is relayed piece by piece.
    Relaying {
        #[serde(borrow)]
        meter: Meter<'a>,
        /// The [`Exchange`], encoded: pieces do not need it.
        #[serde(borrow, serialize_with = "bytes")]
        exchange: &'a [u8],
    },
}

/// What is known of an exchange once it was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    pub key: u32,
    pub model: u32,
    pub kind: Kind,
    /// Whether the client wants events.
    pub streams: bool,
    /// Whether usage was asked for on our own account and must be hidden.
    pub hides_usage: bool,
    /// About how many input tokens were sent.
    pub input_estimate: u64,
    /// What was held.
    pub held_tokens: u64,
    pub held_money: u64,
    /// The target that is tried now, or was tried last.
    pub target: u32,
    /// How many tries have been judged.
    pub judged: u32,
}

/// What an exchange's indices stand for.
#[derive(Clone, Copy)]
pub struct Parties<'c> {
    pub key: &'c Key,
    pub model: &'c Model,
    pub target: &'c Target,
}

impl Exchange {
    /// Looks the indices up.
    pub fn parties<'c>(&self, config: &'c Config) -> Result<Parties<'c>, BadTicket> {
        let key = config.key(self.key).ok_or(BadTicket)?;
        let model = config.model(self.model).ok_or(BadTicket)?;
        let target = usize::try_from(self.target).ok().and_then(|index| model.targets.get(index));
        Ok(Parties { key, model, target: target.ok_or(BadTicket)? })
    }

    /// What was held.
    pub fn held(&self) -> Amounts {
        Amounts { requests: 1, tokens: self.held_tokens, money: self.held_money }
    }
}

/// Changes with the layout of what follows it.
const VERSION: u8 = 1;

/// Version and fingerprint.
const PREFIX: usize = 1 + size_of::<u64>();

impl<'a> Stage<'a> {
    /// Writes a ticket.
    pub fn seal(&self, config: &Config) -> Vec<u8> {
        let space = match self {
            Self::Relaying { exchange, .. } => exchange.len().saturating_add(64),
            _ => 64,
        };
        let mut ticket = Vec::with_capacity(space.saturating_add(PREFIX));
        ticket.push(VERSION);
        ticket.extend_from_slice(&config.fingerprint.to_le_bytes());
        write(self, ticket)
    }

    /// Reads a ticket.
    pub fn open(ticket: &'a [u8], config: &Config) -> Result<Self, BadTicket> {
        let (prefix, body) = ticket.split_first_chunk::<PREFIX>().ok_or(BadTicket)?;
        let [version, fingerprint @ ..] = prefix;
        if *version != VERSION || u64::from_le_bytes(*fingerprint) != config.fingerprint {
            return Err(BadTicket);
        }
        read(body)
    }

    /// The exchange, if there is one yet.
    pub fn exchange(&self) -> Result<Option<Exchange>, BadTicket> {
        match self {
            Self::Identified { .. } => Ok(None),
            Self::Trying(exchange) | Self::Failed(exchange) | Self::Relayed(exchange, _) => {
                Ok(Some(*exchange))
            }
            Self::Relaying { exchange, .. } => read(exchange).map(Some),
        }
    }
}

/// The encoded form of an exchange that [`Stage::Relaying`] carries.
pub fn encoded(exchange: &Exchange) -> Vec<u8> {
    write(exchange, Vec::with_capacity(32))
}

fn write<T: Serialize>(value: &T, to: Vec<u8>) -> Vec<u8> {
    // Writing to memory does not fail; an empty ticket would be refused by the next call.
    postcard::serialize_with_flavor(value, Paper(to)).unwrap_or_default()
}

/// Where a ticket is written: a vector with its space reserved. Postcard's own grows from nothing.
struct Paper(Vec<u8>);

impl Flavor for Paper {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, BadTicket> {
    let mut from = postcard::Deserializer::from_bytes(bytes);
    let value = T::deserialize(&mut from).map_err(|_| BadTicket)?;
    match from.finalize() {
        Ok([]) => Ok(value),
        _ => Err(BadTicket),
    }
}

fn bytes<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}
