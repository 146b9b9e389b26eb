//! What the client gets for each piece of an answer that is relayed piece by piece, and what must be held for it.
//!
//! Pieces pass as they are. The exceptions: an event that only we asked for is left out; a stream of events that
//! breaks ends with an error event, so that no SDK takes half an answer for a whole one; and one that may not become
//! longer ends as a model ends that has written all it may.

use crate::config::Config;
use crate::message::{Fault, Holding, Output, Piece};
use crate::meter::{Finish, Meter};
use crate::refusal::Refusal;
use crate::settlement::{Worst, unsettled};
use crate::ticket::{BadTicket, Exchange, Parties};

/// An answer on its way to the client.
pub struct Relaying<'r, 'a> {
    pub config: &'r Config,
    pub meter: &'r mut Meter<'a>,
    /// The [`Exchange`], encoded.
    pub exchange: &'a [u8],
    /// How many output tokens there must be for more to be held.
    pub asks_at: &'r mut Option<u64>,
}

impl Relaying<'_, '_> {
    /// Reads one piece. Says what the client gets, and what must be held before the next one.
    pub fn feed(mut self, piece: Piece<'_>) -> Result<(Output, Option<Holding>), BadTicket> {
        let output = match piece {
            Piece::Chunk(bytes) => return self.chunk(bytes),
            Piece::End => match self.meter.end() {
                Finish::Whole(held) if held.is_empty() => Output::Pass,
                Finish::Whole(held) => Output::Replace(held),
                Finish::Half => self.broken(Fault::Closed),
            },
            Piece::Broken(fault) => self.broken(fault),
            Piece::Limited => match self.meter.stop() {
                Some(ended) => Output::Stop([ended, &self.last()?].concat()),
                None => Output::Pass,
            },
        };
        Ok((output, None))
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<(Output, Option<Holding>), BadTicket> {
        let output = self.meter.read(bytes);
        if self.meter.has_stopped() {
            let mut output = output.unwrap_or_else(|| bytes.to_vec());
            output.extend(self.last()?);
            return Ok((Output::Stop(output), None));
        }
        let output = output.map_or(Output::Pass, Output::Replace);
        let written = self.meter.tally().written();
        if self.asks_at.is_none_or(|asks_at| written < asks_at) || self.meter.is_ending() {
            return Ok((output, None));
        }
        let exchange = Exchange::read(self.exchange)?;
        let slices = exchange.slices.ok_or(BadTicket)?;
        let held = slices.held(written);
        *self.asks_at = Some(slices.asks_at(held));
        Ok((output, Some(holding(self.config, &exchange, held)?)))
    }

    fn broken(&self, fault: Fault) -> Output {
        if !self.meter.has_events() {
            // Nothing can be said inside of a JSON document: the shell cuts the connection.
            return Output::Pass;
        }
        Output::Stop([self.meter.break_off(), &Refusal::Upstream(fault).event()].concat())
    }

    /// The events that end an answer which may not become longer.
    fn last(&self) -> Result<Vec<u8>, BadTicket> {
        let exchange = Exchange::read(self.exchange)?;
        let model = &exchange.parties(self.config)?.model.name;
        let counts = self.meter.tally().counts(exchange.input_estimate, true);
        Ok(self.meter.last_events(model, (!exchange.hides_usage).then_some(&counts)))
    }
}

/// What must be held for so many output tokens of the target that answers.
fn holding(config: &Config, exchange: &Exchange<'_>, output: u64) -> Result<Holding, BadTicket> {
    let parties = exchange.parties(config)?;
    let mut price = parties.target.prices.at(exchange.now_ms);
    let mut cost = price.bound(exchange.input_bound, output);
    let first_price = exchange.held_price(config)?;
    let first = first_price.bound(exchange.input_bound, exchange.held_output);
    if cost.nano < first.nano {
        // A dearer target might have answered; what was held for that stays.
        (price, cost) = (first_price, first);
    }
    let exchange = Exchange { held_output: output, ..*exchange };
    let Parties { caller, model, target, .. } = &parties;
    let worst = Worst { caller, model, target: Some(target), price, cost };
    Ok(Holding { amounts: caller.amounts(&exchange.amounts(cost.nano)), usage: unsettled(&exchange, worst) })
}
