//! What the client gets for each piece of an answer that is relayed piece by piece.
//!
//! Pieces pass as they are. The exceptions: an event that only we asked for is left out, and a stream of events
//! that breaks ends with an error event, so that no SDK takes half an answer for a whole one.

use crate::message::{Fault, Output, Piece};
use crate::meter::{Finish, Meter};
use crate::refusal::Refusal;

/// Reads one piece.
pub fn feed(meter: &mut Meter<'_>, piece: Piece<'_>) -> Output {
    match piece {
        Piece::Chunk(bytes) => meter.read(bytes).map_or(Output::Pass, Output::Replace),
        Piece::End => match meter.end() {
            Finish::Whole(held) if held.is_empty() => Output::Pass,
            Finish::Whole(held) => Output::Replace(held),
            Finish::Half => broken(meter, Fault::Closed),
        },
        Piece::Broken(fault) => broken(meter, fault),
    }
}

fn broken(meter: &Meter<'_>, fault: Fault) -> Output {
    if !meter.has_events() {
        // Nothing can be said inside of a JSON document: the shell cuts the connection.
        return Output::Pass;
    }
    Output::Stop([meter.break_off(), &Refusal::Upstream(fault).event()].concat())
}
