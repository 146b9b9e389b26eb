//! How many tokens a text has, told from which characters follow which.
//!
//! Each character costs what it costs on average behind the one before it: a table says how likely a token begins
//! there. Within words it also counts how far the word has come, since common words are one token and the ends of
//! long ones are several; where small letters, capitals and digits keep changing places it is no language (base64,
//! keys, digests), and another part of the table holds. One pass, a few bytes of state, any split gives the same.

use serde::{Deserialize, Serialize};

use super::step::{self, AGAIN, KINDS, SIGN, STEPS};
use super::symbol::{self, ASCII, UNREADABLE};

/// A text, as far as it has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// What its characters cost, in parts of a token. Stops at the largest number: no text is that long.
    parts: u64,
    last: Last,
    /// A character of which bytes are missing, and how many.
    code: u32,
    missing: u8,
}

/// What counts of the characters so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    symbol: u8,
    state: u8,
}

/// A token has so many parts. No character costs more tokens than it has bytes.
const TOKEN: u64 = 52 * 52;

/// What a character costs: the square of this many parts of a token. In the text it is the printable character `!` and so many
/// more. ARCHITECTURE.md tells how they were found, and how far off they are.
static RATES: [u8; step::RATES] = {
    let mut rates: [u8; step::RATES] = symbol::printed(include_bytes!("rates.txt"));
    let mut rest = rates.as_mut_slice();
    while let Some((rate, after)) = rest.split_first_mut() {
        *rate = rate.wrapping_sub(b'!');
        rest = after;
    }
    rates
};

impl Text {
    /// Reads UTF-8, in any pieces.
    pub fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = self.add_ascii(bytes);
            // Where there is one character of another script there are more.
            let (mixed, after) = bytes.split_at_checked(64).unwrap_or((bytes, &[]));
            self.add_mixed(mixed);
            bytes = after;
        }
    }

    /// Reads a unit of UTF-16. A character of two units is told by the first.
    pub fn add_unit(&mut self, unit: u16) {
        self.give_up();
        match unit {
            0..0x80 => self.add_mixed(unit.to_le_bytes().get(..1).unwrap_or_default()),
            0xD800..0xDC00 => self.add_code(u32::from(unit & 0x3FF).wrapping_shl(10).wrapping_add(0x10000)),
            0xDC00..0xE000 => {}
            _ => self.add_code(unit.into()),
        }
    }

    /// What comes next begins a line; the end of the line before it is not counted.
    pub fn begin_line(&mut self) {
        self.give_up();
        self.last = Last::default();
    }

    /// What its characters cost, in parts of a token.
    pub fn parts(&self) -> u64 {
        self.parts
    }

    /// Takes in a text that costs so much and has nothing to do with what comes before and behind it.
    pub fn add_parts(&mut self, parts: u64) {
        self.begin_line();
        self.parts = self.parts.saturating_add(parts);
    }

    /// About how many tokens that is. Where there is anything, there is one.
    pub fn tokens(&self) -> u64 {
        let whole = self.parts.saturating_add(TOKEN / 2).wrapping_div(TOKEN);
        whole.max(u64::from(self.parts > 0)).saturating_add(u64::from(self.missing > 0))
    }

    /// Reads ASCII, eight characters at a time, and returns the rest. A sandbox asks in each round of a loop whether its
    /// time is up, which takes longer than a character.
    fn add_ascii<'b>(&mut self, mut bytes: &'b [u8]) -> &'b [u8] {
        const NOT_ASCII: u64 = u64::from_le_bytes([0x80; 8]);
        if self.missing > 0 {
            return bytes;
        }
        // Not in `self`, so that all stays in registers.
        let (mut last, mut parts) = (self.last, 0_u64);
        while let Some((eight, after)) = bytes.split_first_chunk::<8>()
            && u64::from_le_bytes(*eight) & NOT_ASCII == 0
        {
            let [a, b, c, d, e, f, g, h] = *eight;
            // Written out, so that it is no loop in what is compiled for size either.
            parts = parts.wrapping_add(last.ascii(a)).wrapping_add(last.ascii(b));
            parts = parts.wrapping_add(last.ascii(c)).wrapping_add(last.ascii(d));
            parts = parts.wrapping_add(last.ascii(e)).wrapping_add(last.ascii(f));
            parts = parts.wrapping_add(last.ascii(g)).wrapping_add(last.ascii(h));
            bytes = after;
        }
        (self.last, self.parts) = (last, self.parts.saturating_add(parts));
        bytes
    }

    fn add_mixed(&mut self, mut bytes: &[u8]) {
        loop {
            bytes = match (bytes, self.missing) {
                ([], _) => return,
                // Nearly all characters are all there.
                ([first @ 0xC0..0xE0, second @ 0x80..0xC0, after @ ..], 0) => {
                    self.add_code(bits(*first, 0x1F) << 6 | bits(*second, 0x3F));
                    after
                }
                ([first @ 0xE0..0xF0, second @ 0x80..0xC0, third @ 0x80..0xC0, after @ ..], 0) => {
                    self.add_code(bits(*first, 0x0F) << 12 | bits(*second, 0x3F) << 6 | bits(*third, 0x3F));
                    after
                }
                ([byte @ ..0x80, after @ ..], _) => {
                    self.give_up();
                    let parts = self.last.ascii(*byte);
                    self.parts = self.parts.saturating_add(parts);
                    after
                }
                ([byte, after @ ..], _) => {
                    self.add_wide(*byte);
                    after
                }
            }
        }
    }

    /// A byte of a character of several.
    fn add_wide(&mut self, byte: u8) {
        if let (true, 0x80..0xC0) = (self.missing > 0, byte) {
            self.code = self.code.wrapping_shl(6) | bits(byte, 0x3F);
            self.missing = self.missing.wrapping_sub(1);
            if self.missing == 0 {
                // As in UTF-16, where the second half comes too late.
                let seen = if self.code < 0x10000 { u32::MAX } else { !0x3FF };
                self.add_code(self.code & seen);
                self.code = 0;
            }
            return;
        }
        self.give_up();
        (self.missing, self.code) = match byte {
            0xC0..0xE0 => (1, bits(byte, 0x1F)),
            0xE0..0xF0 => (2, bits(byte, 0x0F)),
            0xF0..0xF8 => (3, bits(byte, 0x07)),
            _ => {
                self.add_symbol(UNREADABLE);
                return;
            }
        };
    }

    /// The rest of a character does not come.
    fn give_up(&mut self) {
        if self.missing > 0 {
            (self.missing, self.code) = (0, 0);
            self.add_symbol(UNREADABLE);
        }
    }

    fn add_code(&mut self, code: u32) {
        self.add_symbol(symbol::wide(code));
    }

    fn add_symbol(&mut self, symbol: u8) {
        let parts = self.last.read(symbol, step::kind(symbol));
        self.parts = self.parts.saturating_add(parts);
    }
}

/// Some bits of a byte of a character of several.
fn bits(byte: u8, which: u8) -> u32 {
    (byte & which).into()
}

impl Last {
    /// Takes in a character of ASCII and tells what it costs.
    #[inline]
    fn ascii(&mut self, byte: u8) -> u64 {
        let Character { symbol, kind } =
            CHARACTERS.get(usize::from(byte & 0x7F)).copied().unwrap_or_default();
        // Without a branch.
        let again = u8::from(kind == SIGN) & u8::from(symbol == self.symbol);
        const { assert!(AGAIN == SIGN + 1) };
        self.read(symbol, kind.wrapping_add(again))
    }

    /// Takes in a symbol and tells what it costs, in parts of a token.
    #[inline]
    fn read(&mut self, symbol: u8, kind: u8) -> u64 {
        let root: u64 = RATES.get(self.place(symbol, kind)).copied().unwrap_or(0).into();
        root.wrapping_mul(root)
    }

    /// Takes in a symbol and tells the place of its rate.
    #[inline]
    fn place(&mut self, symbol: u8, kind: u8) -> usize {
        let [state, kind] = [usize::from(self.state), usize::from(kind) % KINDS];
        let Some(step) = STEPS.get(state).and_then(|steps| steps.get(kind)) else { return 0 };
        let row = usize::from(step.stride).wrapping_mul(self.symbol.into());
        let place = usize::from(step.base).wrapping_add(row).wrapping_add(symbol.into());
        *self = Self { symbol, state: step.next };
        place
    }
}

/// What there is to know of a character of ASCII.
#[derive(Clone, Copy, Default)]
struct Character {
    symbol: u8,
    kind: u8,
}

static CHARACTERS: [Character; 128] = {
    let mut characters = [Character { symbol: 0, kind: 0 }; 128];
    let mut rest = characters.as_mut_slice();
    let mut symbols = ASCII.as_slice();
    let mut byte = 0_u8;
    while let (Some((character, after)), Some((symbol, more))) =
        (rest.split_first_mut(), symbols.split_first())
    {
        *character = Character { symbol: *symbol, kind: step::ascii(byte, *symbol) };
        byte = byte.wrapping_add(1);
        (rest, symbols) = (after, more);
    }
    characters
};
