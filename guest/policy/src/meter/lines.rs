//! Splits a stream of server-sent events into lines and events, for any split of its bytes.
//!
//! The rules are those of the HTML standard (9.2.6): a line ends with LF, CR or CRLF, an event with a blank line;
//! `data` is the only field that is read on, one space after its colon is not part of it, and a byte order mark may
//! come first. No byte is kept.

use serde::{Deserialize, Serialize};

use super::find::until;

/// Where a stream stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    place: Place,
    after_cr: AfterCr,
    /// Whether a field of the event has begun: neither blank space nor a comment.
    pub begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    /// At the start of the stream, this far into a byte order mark.
    Mark(u8),
    /// At the start of a line, this far into `data:`.
    Name(u8),
    /// In a line of blanks.
    Blank,
    /// After `data:`.
    Space,
    /// In the value of `data`.
    Data,
    /// In a line that is of no interest.
    Other,
}

/// What a LF would still belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum AfterCr {
    #[default]
    Nothing,
    Line,
    Event,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'p> {
    /// All there is, without an end.
    All,
    /// A part of the value of `data`.
    Data(&'p [u8]),
    /// The end of an event.
    Event,
    /// The LF of the CRLF that ended the event before.
    LineFeed,
}

const MARK: &[u8] = b"\xEF\xBB\xBF";
const DATA: &[u8] = b"data:";

impl Default for Place {
    fn default() -> Self {
        Self::Name(0)
    }
}

impl Lines {
    /// Before the first byte of a stream.
    pub fn start() -> Self {
        Self { place: Place::Mark(0), ..Self::default() }
    }

    /// Reads on to the next thing of interest, and takes what it read off `rest`.
    pub fn read<'p>(&mut self, rest: &mut &'p [u8]) -> Step<'p> {
        while let Some((&byte, tail)) = rest.split_first() {
            if self.after_cr != AfterCr::Nothing {
                let ended = std::mem::take(&mut self.after_cr);
                if byte == b'\n' {
                    *rest = tail;
                    if ended == AfterCr::Event {
                        return Step::LineFeed;
                    }
                    continue;
                }
            }
            match self.place {
                Place::Data | Place::Other => {
                    let length = until::<b'\n', b'\r'>(rest);
                    if length == 0 {
                        *rest = tail;
                        self.end_line(byte);
                        continue;
                    }
                    let (line, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                    *rest = tail;
                    if self.place == Place::Data {
                        return Step::Data(line);
                    }
                }
                Place::Name(0) if matches!(byte, b'\n' | b'\r') => {
                    *rest = tail;
                    let after_cr = if byte == b'\r' { AfterCr::Event } else { AfterCr::Nothing };
                    *self = Self { after_cr, ..Self::default() };
                    return Step::Event;
                }
                Place::Name(_) | Place::Blank if matches!(byte, b'\n' | b'\r') => {
                    *rest = tail;
                    self.end_line(byte);
                }
                Place::Name(0) if rest.starts_with(DATA) => {
                    self.begun = true;
                    self.place = Place::Space;
                    *rest = rest.get(DATA.len()..).unwrap_or_default();
                }
                Place::Name(known) => {
                    *rest = tail;
                    self.begin(known, byte);
                }
                Place::Blank => {
                    *rest = tail;
                    if !matches!(byte, b' ' | b'\t') {
                        self.begun = true;
                        self.place = Place::Other;
                    }
                }
                Place::Space => {
                    self.place = Place::Data;
                    if byte == b' ' {
                        *rest = tail;
                    }
                }
                Place::Mark(known) => match MARK.get(usize::from(known)) {
                    Some(next) if *next == byte => {
                        *rest = tail;
                        let known = known.saturating_add(1);
                        let whole = usize::from(known) == MARK.len();
                        self.place = if whole { Place::Name(0) } else { Place::Mark(known) };
                    }
                    _ => {
                        self.begun = known > 0;
                        self.place = if known > 0 { Place::Other } else { Place::Name(0) };
                    }
                },
            }
        }
        Step::All
    }

    fn end_line(&mut self, byte: u8) {
        self.place = Place::Name(0);
        if byte == b'\r' {
            self.after_cr = AfterCr::Line;
        }
    }

    /// The next byte of a line of which this much is known to be `data:`.
    fn begin(&mut self, known: u8, byte: u8) {
        let next = DATA.get(usize::from(known)) == Some(&byte);
        let known_now = known.saturating_add(1);
        self.place = match byte {
            b':' if next => Place::Space,
            _ if next => Place::Name(known_now),
            b' ' | b'\t' if known == 0 => Place::Blank,
            _ => Place::Other,
        };
        let comment = known == 0 && byte == b':';
        self.begun |= !comment && self.place != Place::Blank;
    }
}
