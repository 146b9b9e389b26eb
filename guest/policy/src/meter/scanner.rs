//! A JSON automaton with a fixed amount of memory.
//!
//! It finds what metering needs in one document given in any pieces: the usage object, whether `choices` is empty
//! and which of them are finished, all at the top level only, and how much text stands under the keys that hold a
//! model's words. It does not check JSON; on what is not JSON it finds something or nothing, and never fails.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::find::until;
use super::usage::{LONGEST_USAGE, Tally};
use super::word::{Name, Word, word};

/// Where the automaton stands in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanner<'a> {
    depth: u32,
    place: Place,
    /// The string that ended last, while a colon may still make it a key.
    last: Word,
    /// The key whose value comes next.
    key: Option<Word>,
    name: Name,
    usage: Usage,
    /// What choices the document has.
    pub choices: Choices,
    /// Whether they are being read.
    in_choices: bool,
    /// The one that is being read.
    choice: Choice,
    /// One bit for each of them that has a reason to be finished, by its index.
    pub finished: u64,
    /// Whether the document is an array or a bracketed word: `[DONE]`.
    pub bracketed: bool,
    #[serde(borrow, serialize_with = "super::bytes")]
    captured: Cow<'a, [u8]>,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    #[default]
    Between,
    String(Kind, Escape),
}

/// What a string is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    /// A key, perhaps.
    Name,
    /// A model's words.
    Text,
    /// Nothing.
    Other,
}

/// How far an escape sequence has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Escape {
    None,
    Begun,
    Hex { left: u8, value: u16 },
}

/// One of the `choices`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Choice {
    /// Its `index`, 0 if it has none.
    index: u8,
    /// Whether there is a reason why it is finished.
    has_reason: bool,
}

/// What `choices` at the top level is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choices {
    /// Not there yet, or no array.
    #[default]
    None,
    /// An array, of which nothing was seen yet.
    Begun,
    /// An empty array.
    Empty,
    /// An array with something in it.
    Some,
}

/// What `usage` at the top level is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Usage {
    /// Not there yet, or no object.
    #[default]
    None,
    /// An object that has begun.
    Begun,
    /// An object that has begun and is too long to be kept.
    TooLong,
    /// An object.
    Seen,
}

impl Scanner<'_> {
    /// Reads the next piece of the document.
    pub fn read(&mut self, piece: &[u8], tally: &mut Tally) {
        // Where the usage object begins in this piece; 0 when it began before.
        let mut mark = 0;
        let mut rest = match self.place {
            Place::Between => piece,
            Place::String(kind, escape) => self.string(kind, escape, piece, tally),
        };
        while let Some((byte, tail)) = rest.split_first() {
            rest = match byte {
                b'"' => self.begin_string(tail, tally),
                b' ' | b'\t' | b'\n' | b'\r' => tail,
                b':' => {
                    self.key = Some(self.last);
                    self.last = Word::Other;
                    tail
                }
                b',' => {
                    self.forget_key();
                    tail
                }
                b'{' | b'[' => {
                    if self.open(*byte, tally) {
                        mark = piece.len().saturating_sub(rest.len());
                    }
                    tail
                }
                b'}' | b']' => {
                    if self.close(*byte) {
                        let end = piece.len().saturating_sub(tail.len());
                        self.end_usage(piece.get(mark..end).unwrap_or_default(), tally);
                    }
                    tail
                }
                _ => {
                    self.begin_value(tally);
                    let after = after_literal(tail);
                    if self.is_of_choice(Word::Index) {
                        // The rest of the number may come with the next piece.
                        let length = rest.len().saturating_sub(after.len());
                        self.choice.add_to_index(rest.get(..length).unwrap_or_default());
                    } else {
                        self.forget_key();
                    }
                    after
                }
            };
        }
        if self.usage == Usage::Begun {
            self.capture(piece.get(mark..).unwrap_or_default());
        }
    }

    /// Whether the document has a usage object.
    pub fn has_usage(&self) -> bool {
        matches!(self.usage, Usage::Seen)
    }

    /// Whether what comes next is this member of a choice.
    fn is_of_choice(&self, key: Word) -> bool {
        self.key == Some(key) && self.depth == 3 && self.in_choices
    }

    fn forget_key(&mut self) {
        self.last = Word::Other;
        self.key = None;
    }

    /// The first thing in `choices` is not its end.
    fn begin_value(&mut self, tally: &mut Tally) {
        if self.choices == Choices::Begun {
            self.choices = Choices::Some;
            tally.answers = tally.answers.saturating_add(1);
        }
    }

    /// Reads a string whose quote has been read; returns what comes after it.
    fn begin_string<'p>(&mut self, rest: &'p [u8], tally: &mut Tally) -> &'p [u8] {
        self.begin_value(tally);
        if self.is_of_choice(Word::FinishReason) {
            self.choice.has_reason = true;
        }
        let kind = match self.key.take() {
            None => Kind::Name,
            Some(Word::Text) => Kind::Text,
            Some(_) => Kind::Other,
        };
        // Nearly all strings are all there and have no escape.
        if let Some((whole, [b'"', after @ ..])) = rest.split_at_checked(until::<b'"', b'\\'>(rest)) {
            match (kind, after) {
                (Kind::Name, [b':', value @ ..]) => {
                    self.key = Some(word(whole));
                    self.last = Word::Other;
                    return value;
                }
                (Kind::Name, _) => self.last = word(whole),
                (Kind::Text, _) => tally.text.add(whole),
                (Kind::Other, _) => {}
            }
            return after;
        }
        self.name.clear();
        self.string(kind, Escape::None, rest, tally)
    }

    /// Whether the usage object begins here.
    fn open(&mut self, byte: u8, tally: &mut Tally) -> bool {
        self.begin_value(tally);
        let key = self.key.take();
        self.last = Word::Other;
        let top = self.depth;
        // Deeper than this is not JSON that anyone could read.
        self.depth = self.depth.saturating_add(1);
        match (top, byte, key) {
            (0, b'[', _) => self.bracketed = true,
            (1, b'[', Some(Word::Choices)) => {
                if self.choices != Choices::Some {
                    self.choices = Choices::Begun;
                }
                self.in_choices = true;
            }
            (2, b'{', _) => self.choice = Choice::default(),
            (1, b'{', Some(Word::Usage)) => {
                self.usage = Usage::Begun;
                self.captured = Cow::Borrowed(&[]);
                return true;
            }
            _ => {}
        }
        false
    }

    /// Whether the usage object ends here.
    fn close(&mut self, byte: u8) -> bool {
        if self.choices == Choices::Begun && byte == b']' {
            self.choices = Choices::Empty;
        }
        self.forget_key();
        self.depth = self.depth.saturating_sub(1);
        match self.depth {
            2 if self.in_choices && self.choice.has_reason => {
                self.finished |= 1_u64.checked_shl(self.choice.index.into()).unwrap_or(0);
            }
            1 => self.in_choices = false,
            _ => {}
        }
        self.depth == 1 && matches!(self.usage, Usage::Begun | Usage::TooLong)
    }

    fn capture(&mut self, more: &[u8]) {
        if self.captured.len().saturating_add(more.len()) > LONGEST_USAGE {
            self.usage = Usage::TooLong;
            self.captured = Cow::Borrowed(&[]);
        } else {
            self.captured.to_mut().extend_from_slice(more);
        }
    }

    fn end_usage(&mut self, last: &[u8], tally: &mut Tally) {
        if self.usage == Usage::Begun && self.captured.is_empty() && last.len() <= LONGEST_USAGE {
            tally.reported.take_in(last);
        } else if self.usage == Usage::Begun {
            self.capture(last);
            tally.reported.take_in(&self.captured);
            self.captured = Cow::Borrowed(&[]);
        }
        self.usage = Usage::Seen;
    }

    /// Reads on in a string; returns what comes after it.
    fn string<'p>(
        &mut self,
        kind: Kind,
        mut escape: Escape,
        mut rest: &'p [u8],
        tally: &mut Tally,
    ) -> &'p [u8] {
        loop {
            if escape != Escape::None {
                (escape, rest) = self.escape(kind, escape, rest, tally);
                if escape != Escape::None {
                    break;
                }
            }
            let length = until::<b'"', b'\\'>(rest);
            let (run, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            match kind {
                Kind::Name => self.name.push(run),
                Kind::Text => tally.text.add(run),
                Kind::Other => {}
            }
            match tail.split_first() {
                None => break,
                Some((b'"', after)) => {
                    if kind == Kind::Name {
                        self.last = self.name.word();
                    }
                    self.place = Place::Between;
                    return after;
                }
                Some((_, after)) => {
                    escape = Escape::Begun;
                    rest = after;
                }
            }
        }
        self.place = Place::String(kind, escape);
        &[]
    }

    fn escape<'p>(
        &mut self,
        kind: Kind,
        mut escape: Escape,
        mut rest: &'p [u8],
        tally: &mut Tally,
    ) -> (Escape, &'p [u8]) {
        // No key that matters needs an escape.
        self.name.spoil();
        while let (true, Some((byte, tail))) = (escape != Escape::None, rest.split_first()) {
            rest = tail;
            escape = match escape {
                Escape::Begun if *byte == b'u' => Escape::Hex { left: 4, value: 0 },
                Escape::Hex { left, value } => {
                    let digit = char::from(*byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
                    let value = (value << 4) | digit.unwrap_or(0);
                    let left = left.saturating_sub(1);
                    if kind == Kind::Text && left == 0 {
                        tally.text.add_unit(value);
                    }
                    if left == 0 { Escape::None } else { Escape::Hex { left, value } }
                }
                _ => {
                    if kind == Kind::Text {
                        tally.text.add(&[unescaped(*byte)]);
                    }
                    Escape::None
                }
            };
        }
        (escape, rest)
    }
}

impl Choice {
    /// Takes in a part of its index.
    fn add_to_index(&mut self, more: &[u8]) {
        for byte in more {
            self.index = match byte {
                b'0'..=b'9' => self.index.saturating_mul(10).saturating_add(byte.saturating_sub(b'0')),
                // No index: it has no bit.
                _ => u8::MAX,
            };
        }
    }
}

/// What a letter behind a backslash stands for.
fn unescaped(letter: u8) -> u8 {
    match letter {
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => letter,
    }
}

/// What comes after the rest of a number, `true`, `false` or `null`.
fn after_literal(mut rest: &[u8]) -> &[u8] {
    while let [b'0'..=b'9' | b'a'..=b'z' | b'.', after @ ..] = rest {
        rest = after;
    }
    rest
}
