//! Meters an answer while it passes: the one reader of answers, whole or in pieces, plain or as events.
//!
//! Whatever the split of the bytes, the counts and what the client gets are the same. The state has a fixed size:
//! no event is collected, except that where usage is hidden the bytes of an event are held back until it is known
//! that it is not the one to hide, and that the first events of a stream that may have to be ended are looked at whole.

mod chunks;
mod find;
mod lines;
mod members;
mod scanner;
#[cfg(test)]
mod tests;
mod usage;
mod word;

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize, Serializer};

use self::chunks::{Chunks, Stop};
pub use self::find::until;
use self::lines::{Lines, Step};
use self::scanner::{Choices, Scanner};
use self::usage::Tokens;
pub use self::usage::{Counts, Tally};

/// The state of metering one answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter<'a> {
    tally: Tally,
    form: Form,
    /// What is in the middle: none between two events.
    #[serde(borrow)]
    open: Option<Box<Open<'a>>>,
    /// What its events have in common, where it may have to be ended.
    #[serde(borrow)]
    chunks: Option<Chunks<'a>>,
}

/// What an answer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// One JSON document.
    Json,
    /// Server-sent events, each a JSON document.
    Events {
        /// Whether the client did not ask for the event that has only usage, and must not see it.
        hide_usage: bool,
    },
}

/// An event or a document that has begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Open<'a> {
    lines: Lines,
    #[serde(borrow)]
    scanner: Scanner<'a>,
    /// Bytes of the event so far.
    length: u64,
    /// Those of them that the client has not got yet: none or all.
    #[serde(borrow, serialize_with = "bytes")]
    held: Cow<'a, [u8]>,
    /// Whether the event before was hidden.
    hid: bool,
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Where it may; the client still gets these bytes.
    Whole(Vec<u8>),
    /// In the middle.
    Half,
}

/// Meters an answer that is all there; none if it is no JSON object. `writes` tells whether it has output at all.
pub fn whole(body: &[u8], writes: bool) -> Option<Tally> {
    // A provider nearly always reports everything, and then nothing else counts.
    if let Some(reported) = Tokens::of_document(body).filter(|reported| reported.are_all(writes)) {
        return Some(Tally { reported, ..Tally::default() });
    }
    let is_object =
        body.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(body).is_ok();
    let mut meter = Meter::new(Form::Json);
    is_object.then(|| {
        meter.read(body);
        *meter.tally()
    })
}

/// An event longer than this is not held back, and so never hidden.
const MOST_HELD: u64 = 8 * 1024;

impl Meter<'_> {
    /// Before the first byte.
    pub fn new(form: Form) -> Self {
        let open = Open { lines: Lines::start(), ..Open::default() };
        Self { tally: Tally::default(), form, open: Some(Box::new(open)), chunks: None }
    }

    /// What is known so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Before the first byte: this many choices are streamed, and it may be that they must be ended.
    pub fn remember_chunks(&mut self, choices: u8) {
        self.chunks = Some(Chunks::new(choices));
    }

    /// About how many bytes of the answer it keeps.
    pub fn remembered(&self) -> usize {
        self.chunks.as_ref().map_or(0, Chunks::remembered)
    }

    /// Reads a piece. Returns what the client gets for it, if that is not the piece itself.
    pub fn read(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        match self.form {
            Form::Json => {
                let open = self.open.get_or_insert_default();
                open.length = open.length.saturating_add(length(piece));
                open.scanner.read(piece, &mut self.tally);
                None
            }
            Form::Events { hide_usage } => self.read_events(piece, hide_usage),
        }
    }

    fn read_events(&mut self, piece: &[u8], hide_usage: bool) -> Option<Vec<u8>> {
        // Between two events there is nothing to box: most pieces begin and end there.
        let mut open = self.open.take().map_or_else(Open::default, |open| *open);
        let mut output = Output { piece, sent: 0, bytes: (!open.held.is_empty()).then(Vec::new) };
        let mut begin = 0;
        let mut rest = piece;
        loop {
            let step = open.lines.read(&mut rest);
            let at = piece.len().saturating_sub(rest.len());
            match step {
                Step::Data(data) => {
                    open.scanner.read(data, &mut self.tally);
                    if let Some(chunks) = &mut self.chunks {
                        chunks.look_at(data);
                    }
                }
                Step::Event => {
                    let stops = self.chunks.as_mut().is_some_and(|chunks| {
                        chunks.end_event(open.scanner.bracketed, open.scanner.finished)
                    });
                    open.add(piece.get(begin..at).unwrap_or_default());
                    open.hid = hide_usage && open.is_only_usage();
                    if open.hid {
                        output.skip(begin, at);
                    } else {
                        output.release(&open.held);
                    }
                    open.begin_event();
                    begin = at;
                    if stops {
                        output.skip(at, piece.len());
                        begin = piece.len();
                        break;
                    }
                }
                Step::LineFeed => {
                    if open.hid {
                        output.skip(begin, at);
                    }
                    begin = at;
                }
                Step::All => break,
            }
        }
        let last = piece.get(begin..).unwrap_or_default();
        open.add(last);
        if hide_usage && open.may_be_only_usage() {
            if !last.is_empty() {
                output.skip(begin, piece.len());
                open.held.to_mut().extend_from_slice(last);
            }
        } else {
            output.release(&open.held);
            open.held = Cow::Borrowed(&[]);
        }
        if !open.is_between_events() {
            self.open = Some(Box::new(open));
        }
        output.finish()
    }

    /// The answer is complete, says its framing.
    pub fn end(&mut self) -> Finish {
        let Some(open) = &mut self.open else { return Finish::Whole(Vec::new()) };
        // Some providers leave out the blank line after their last word, which is no event but `[DONE]`.
        let half = open.lines.begun && !open.scanner.bracketed;
        match self.form {
            Form::Events { .. } if half => Finish::Half,
            _ => Finish::Whole(std::mem::take(&mut open.held).into_owned()),
        }
    }

    /// The answer is not complete and never will be: what the client must get so that another event can follow.
    pub fn break_off(&self) -> &'static [u8] {
        match &self.open {
            // Nobody can use half an event: what was held back is dropped.
            Some(open) if open.held.is_empty() && open.length > 0 => b"\n\n",
            _ => b"",
        }
    }

    /// The answer may not become longer. Returns what the client must get so that the last events can follow; none if
    /// they cannot yet: the event that has begun is completed first, then it [has stopped](Self::has_stopped).
    pub fn stop(&mut self) -> Option<&'static [u8]> {
        let ended = self.break_off();
        let chunks = self.chunks.as_mut().filter(|chunks| !chunks.is_ending())?;
        let half = self.open.as_ref().is_some_and(|open| open.lines.begun && open.held.is_empty());
        chunks.stop = if half { Stop::WithEvent } else { Stop::Now };
        (!half).then_some(ended)
    }

    /// Whether the piece before was the last that is read.
    pub fn has_stopped(&self) -> bool {
        self.chunks.as_ref().is_some_and(|chunks| chunks.stop == Stop::Now)
    }

    /// Whether it is about to end: by itself, or because it was told to.
    pub fn is_ending(&self) -> bool {
        self.chunks.as_ref().is_some_and(|chunks| chunks.stop != Stop::No || chunks.is_ending())
    }

    /// The events that end what was stopped. `model` is the name that was asked for; `usage` is what the client is told
    /// of it, if it wants to be.
    pub fn last_events(&self, model: &str, usage: Option<&Counts>) -> Vec<u8> {
        self.chunks.as_ref().map(|chunks| chunks.last_events(model, usage)).unwrap_or_default()
    }

    /// Whether the answer is made of events.
    pub fn has_events(&self) -> bool {
        matches!(self.form, Form::Events { .. })
    }
}

impl Open<'_> {
    fn add(&mut self, more: &[u8]) {
        self.length = self.length.saturating_add(length(more));
    }

    fn begin_event(&mut self) {
        self.scanner = Scanner::default();
        self.length = 0;
        self.held = Cow::Borrowed(&[]);
    }

    /// Whether there is nothing to remember.
    fn is_between_events(&self) -> bool {
        self.length == 0 && self.lines == Lines::default()
    }

    /// Whether the event, which has ended, carries usage and nothing else.
    fn is_only_usage(&self) -> bool {
        self.length <= MOST_HELD && self.scanner.choices == Choices::Empty && self.scanner.has_usage()
    }

    /// Whether the event, which has not ended, could still turn out to be that.
    fn may_be_only_usage(&self) -> bool {
        self.length > 0 && self.length <= MOST_HELD && self.scanner.choices != Choices::Some
    }
}

/// What the client gets for a piece.
struct Output<'p> {
    piece: &'p [u8],
    /// This much of the piece is dealt with.
    sent: usize,
    /// None as long as that is the piece itself.
    bytes: Option<Vec<u8>>,
}

impl Output<'_> {
    /// Leaves out a part of the piece.
    fn skip(&mut self, start: usize, end: usize) {
        let before = self.piece.get(self.sent..start).unwrap_or_default();
        self.bytes.get_or_insert_default().extend_from_slice(before);
        self.sent = end;
    }

    /// Puts in what was held back. The event it belongs to began before the piece.
    fn release(&mut self, held: &[u8]) {
        if let Some(bytes) = &mut self.bytes {
            bytes.extend_from_slice(held);
        }
    }

    fn finish(self) -> Option<Vec<u8>> {
        let mut bytes = self.bytes?;
        bytes.extend_from_slice(self.piece.get(self.sent..).unwrap_or_default());
        Some(bytes)
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Serde writes a slice byte by byte unless it is told.
fn bytes<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}
