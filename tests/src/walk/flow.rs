//! An answer on its way to the client: whole, or piece by piece with what must be held for it.

use tollgate_ledger::{Hold, Ledger, Outcome as Ended, Raise};
use tollgate_policy::message::{Ending, Fault, Holding, Outcome as Tried, Output, OwnHeader, Piece};

use super::{REQUEST_ID, Walk, assert_sound, made, pick, sorted};
use crate::outcome::Received;
use crate::vector::{self, headers};
use crate::{books, terms};

impl Walk<'_> {
    /// Sends an answer on to the client.
    pub(super) fn relay(
        &mut self,
        answer: &vector::Answer,
        tried: &Tried,
        added: &[OwnHeader],
        inspect: bool,
    ) -> Ending {
        let Tried::Answer(judged) = tried else { panic!("the policy relays an answer that there is not") };
        let added = made(added);
        assert_sound(&added);
        let mut list = pick(&headers(&answer.headers), &self.names.relay);
        list.extend(added);
        let mut received =
            Received { status: answer.status, headers: sorted(list), body: Vec::new(), cut: false };
        let ending = match &judged.body {
            Some(whole) => {
                received.body.clone_from(whole);
                Ending::Completed
            }
            None => self.flow(answer, inspect, &mut received),
        };
        self.outcome.client = Some(received);
        ending
    }

    /// Passes a stream on, piece by piece.
    fn flow(&mut self, answer: &vector::Answer, inspect: bool, received: &mut Received) -> Ending {
        for chunk in answer.pieces() {
            let (output, holding) = self.feed(Piece::Chunk(&chunk), inspect);
            match output {
                Output::Pass => received.body.extend(chunk),
                Output::Replace(bytes) => received.body.extend(bytes),
                Output::Stop(bytes) => {
                    received.body.extend(bytes);
                    return Ending::Completed;
                }
            }
            if holding.is_some_and(|holding| !self.raise(&holding))
                && let (Output::Stop(bytes), _) = self.feed(Piece::Limited, inspect)
            {
                received.body.extend(bytes);
                return Ending::Completed;
            }
        }
        let (last, ending) = match answer.ending {
            vector::Ending::Complete => (Piece::End, Ending::Completed),
            _ if self.request.leaves => {
                received.cut = true;
                return Ending::ClientLeft;
            }
            vector::Ending::Close => (Piece::Broken(Fault::Closed), Ending::UpstreamBroke),
            vector::Ending::Hang => (Piece::Broken(Fault::Timeout), Ending::UpstreamBroke),
            other => panic!("a stream does not end with {other:?}"),
        };
        match self.feed(last, inspect).0 {
            Output::Pass => received.cut = ending == Ending::UpstreamBroke,
            Output::Replace(bytes) | Output::Stop(bytes) => received.body.extend(bytes),
        }
        ending
    }

    /// Holds more, or not.
    fn raise(&mut self, holding: &Holding) -> bool {
        terms::assert_raised(holding, &self.held);
        self.outcome.raises.push(holding.amounts.clone());
        let mut wanted = self.held.clone();
        wanted.iter_mut().zip(&holding.amounts).for_each(|(claim, amount)| claim.amount = *amount);
        let claims: Vec<_> = wanted.iter().map(books::claim).collect();
        let entry = books::entry(REQUEST_ID, self.now, &holding.usage, Ended::Lost);
        let hold = Hold { entry: &entry, claims: &claims, lease_ms: books::LEASE_MS };
        if self.vector.ledger_unavailable.is_some() {
            return false;
        }
        let ledger = self.ledger.as_ref().unwrap();
        let raised = books::now(ledger.raise(hold, self.now));
        assert_ne!(raised, Raise::Gone, "the hold is open");
        let granted = matches!(raised, Raise::Granted { .. });
        if granted {
            self.held = wanted;
        }
        granted
    }

    fn feed(&mut self, piece: Piece<'_>, inspect: bool) -> (Output, Option<Holding>) {
        if !inspect {
            return (Output::Pass, None);
        }
        let fed = self.policy.feed(&self.ticket, piece).unwrap();
        if let Some(ticket) = fed.ticket {
            self.ticket = ticket;
        }
        (fed.output, fed.holding)
    }
}
