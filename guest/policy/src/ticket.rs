//! The policy's memory of one exchange, as bytes that the shell keeps between two calls.
//!
//! Nothing of the configuration is copied into a ticket: keys, models and targets are indices, and the fingerprint
//! in front tells whether they are those of this configuration. A caller from the shell's store travels along, for
//! no later call is told of it again. Decoding borrows, so that a chunk of a stream costs one small allocation, its
//! next ticket. A ticket is trusted no further than its fingerprint: every index in it is looked up, and a wrong one
//! is a [`BadTicket`].

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use crate::amounts::Amounts;
use crate::claim::Caller;
use crate::config::{Config, Model, Target};
use crate::endpoint::{Endpoint, Kind};
use crate::meter::{Meter, Tally};
use crate::price::Price;
use crate::slices::Slices;
use crate::tries::Tries;

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
        /// Which header conditions hold.
        headers: u64,
    },
    /// Targets are being tried.
    Trying(#[serde(borrow)] Exchange<'a>),
    /// No target gave an answer; the client gets a reply of ours or a provider's error.
    Failed(#[serde(borrow)] Exchange<'a>),
    /// An answer is relayed, and all about it is known.
    Relayed(#[serde(borrow)] Exchange<'a>, Tally),
    /// An answer is relayed piece by piece.
    Relaying {
        #[serde(borrow)]
        meter: Meter<'a>,
        /// The [`Exchange`], encoded: pieces do not need it.
        #[serde(borrow, serialize_with = "bytes")]
        exchange: &'a [u8],
        /// How many output tokens there must be for more to be held, if that is ever asked for.
        asks_at: Option<u64>,
    },
}

/// What is known of an exchange once it was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange<'a> {
    #[serde(borrow)]
    pub who: Who<'a>,
    pub model: u32,
    pub kind: Kind,
    /// Whether the client wants events.
    pub streams: bool,
    /// Whether usage was asked for on our own account and must be hidden.
    pub hides_usage: bool,
    /// About how many input tokens were sent.
    pub input_estimate: u64,
    /// No tokenizer makes more input tokens of it.
    pub input_bound: u64,
    /// When it was admitted, and so at which prices: milliseconds since the epoch.
    pub now_ms: u64,
    /// Output tokens that are held for when it is admitted.
    pub held_output: u64,
    /// How more is held for, if that is not all there can be.
    pub slices: Option<Slices>,
    /// The position whose price is held.
    pub held_for: u32,
    /// The targets in the order in which they are tried: [`Step`]s, encoded. What follows calls a place in it a position.
    #[serde(borrow, serialize_with = "bytes")]
    pub plan: &'a [u8],
    /// What came of them so far: [`Tries`], encoded; empty before the first.
    #[serde(borrow, serialize_with = "bytes")]
    pub tries: &'a [u8],
    /// The position that is tried now, or was tried last.
    pub target: u32,
    /// How many tries have been judged that sent something.
    pub judged: u32,
}

/// One place to send the request to: a target of a model, by their indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub model: u32,
    pub target: u32,
    /// How the conversation is made shorter for it, if it is.
    pub change: Option<Change>,
    /// Whether it is only for a conversation that an upstream did not take as it was. Such steps follow all others.
    pub spare: bool,
}

/// What is remembered of a conversation that was made shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Messages that were left out.
    pub dropped: u32,
    /// Texts that lost their ends.
    pub cut: u32,
    /// About how many input tokens were left.
    pub input: u64,
}

impl Step {
    /// What it stands for.
    pub fn target(self, config: &Config) -> Result<&Target, BadTicket> {
        config.model(self.model).and_then(|model| model.target(self.target)).ok_or(BadTicket)
    }
}

/// Where the caller is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who<'a> {
    /// In the configuration: the index of the key.
    Key(u32),
    /// Here: the [`Caller`], encoded.
    Stored(#[serde(borrow, serialize_with = "bytes")] &'a [u8]),
}

/// What an exchange's indices stand for.
pub struct Parties<'c> {
    pub caller: Cow<'c, Caller>,
    pub model: &'c Model,
    pub target: &'c Target,
    /// The step that was tried last.
    pub step: Step,
}

impl<'a> Exchange<'a> {
    /// Reads the encoded form.
    pub fn read(encoded: &'a [u8]) -> Result<Self, BadTicket> {
        read(encoded)
    }

    /// Looks the indices up.
    pub fn parties<'c>(&self, config: &'c Config) -> Result<Parties<'c>, BadTicket> {
        let model = config.model(self.model).ok_or(BadTicket)?;
        let step = self.step(self.target)?;
        Ok(Parties { caller: self.caller(config)?, model, target: step.target(config)?, step })
    }

    fn steps(&self) -> Result<Vec<Step>, BadTicket> {
        read(self.plan)
    }

    /// The step at a position.
    pub fn step(&self, position: u32) -> Result<Step, BadTicket> {
        step_of(&self.steps()?, position)
    }

    /// The positions among which the one that was tried last has its place: all spare ones, or all others.
    pub fn positions(&self) -> Result<Range<u32>, BadTicket> {
        let steps = self.steps()?;
        let count = u32::try_from(steps.len()).map_err(|_| BadTicket)?;
        let first_spare =
            steps.iter().position(|step| step.spare).and_then(|index| u32::try_from(index).ok());
        let first_spare = first_spare.unwrap_or(count);
        Ok(if self.target < first_spare { 0..first_spare } else { first_spare..count })
    }

    /// The spare position that takes the place of this one, if there is any: the same target where it can be.
    pub fn spare_for(&self, position: u32) -> Result<Option<u32>, BadTicket> {
        let steps = self.steps()?;
        let own = step_of(&steps, position)?;
        let mut spares = (0..).zip(&steps).filter(|(_, step)| step.spare && !own.spare);
        let first = spares.clone().next();
        let same = spares.find(|(_, step)| (step.model, step.target) == (own.model, own.target));
        Ok(same.or(first).map(|(position, _)| position))
    }

    /// What came of the targets so far.
    pub fn tries(&self) -> Result<Tries, BadTicket> {
        if self.tries.is_empty() { Ok(Tries::default()) } else { read(self.tries) }
    }

    /// Who calls.
    pub fn caller<'c>(&self, config: &'c Config) -> Result<Cow<'c, Caller>, BadTicket> {
        match self.who {
            Who::Key(index) => Ok(Cow::Borrowed(&config.key(index).ok_or(BadTicket)?.caller)),
            Who::Stored(encoded) => read(encoded).map(Cow::Owned),
        }
    }

    /// What is held, with so much money.
    pub fn amounts(&self, money: u64) -> Amounts {
        let tokens = self.input_estimate.saturating_add(self.held_output);
        Amounts { requests: 1, tokens, money }
    }

    /// The price that is held for.
    pub fn held_price<'c>(&self, config: &'c Config) -> Result<&'c Price, BadTicket> {
        Ok(self.step(self.held_for)?.target(config)?.prices.at(self.now_ms))
    }
}

fn step_of(steps: &[Step], position: u32) -> Result<Step, BadTicket> {
    usize::try_from(position).ok().and_then(|position| steps.get(position)).copied().ok_or(BadTicket)
}

/// Changes with the layout of what follows it.
const VERSION: u8 = 7;

/// Version and fingerprint.
const PREFIX: usize = 1 + size_of::<u64>();

impl<'a> Stage<'a> {
    /// Writes a ticket.
    pub fn seal(&self, config: &Config) -> Vec<u8> {
        let space = match self {
            Self::Relaying { exchange, meter, .. } => {
                exchange.len().saturating_add(meter.remembered()).saturating_add(64)
            }
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
    pub fn exchange(&self) -> Result<Option<Exchange<'_>>, BadTicket> {
        match self {
            Self::Identified { .. } => Ok(None),
            Self::Trying(exchange) | Self::Failed(exchange) | Self::Relayed(exchange, _) => {
                Ok(Some(*exchange))
            }
            Self::Relaying { exchange, .. } => Exchange::read(exchange).map(Some),
        }
    }
}

/// The encoded form that [`Stage::Relaying`] carries of an exchange, and [`Who::Stored`] of a caller.
pub fn encoded(value: &impl Serialize) -> Vec<u8> {
    write(value, Vec::with_capacity(64))
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
