//! What kind of character a character is, as far as a tokenizer cares: its symbol.
//!
//! Each ASCII letter is a symbol, whatever its case, and so are the commoner signs. A script is one symbol, or two
//! where its letters and the marks on them differ much. Syllables of Hangul and hanzi are four each: what an encoding
//! makes of one of them depends on how common it is.

/// How many symbols there are.
pub const SYMBOLS: usize = 74;

/// The end of a line. A text begins as a line does.
const NEWLINE: u8 = 0;
/// `a` or `A`; the other letters follow.
pub const A: u8 = 1;
/// `z` or `Z`.
pub const Z: u8 = 26;
/// A digit.
pub const DIGIT: u8 = 27;
/// A space.
pub const SPACE: u8 = 28;
const TAB: u8 = 29;
const STOP: u8 = 30;
const COMMA: u8 = 31;
const COLON: u8 = 32;
const DOUBLE_QUOTE: u8 = 33;
const QUOTE: u8 = 34;
const OPEN: u8 = 35;
const CLOSE: u8 = 36;
const LESS: u8 = 37;
const GREATER: u8 = 38;
const SLASH: u8 = 39;
const DASH: u8 = 40;
const UNDERSCORE: u8 = 41;
const OPERATOR: u8 = 42;
const SIGN: u8 = 43;
/// The first of the symbols of letters in scripts other than ASCII's that make words.
pub const FIRST_LETTER: u8 = LATIN;
const LATIN: u8 = 44;
const LATIN_EXTENDED: u8 = 45;
const LATIN_ADDITIONAL: u8 = 46;
const CYRILLIC: u8 = 47;
const CYRILLIC_EXTENDED: u8 = 48;
const GREEK: u8 = 49;
const ARABIC: u8 = 50;
const ARABIC_EXTENDED: u8 = 51;
const HEBREW: u8 = 52;
const DEVANAGARI: u8 = 53;
const DEVANAGARI_MARK: u8 = 54;
const THAI: u8 = 55;
const THAI_MARK: u8 = 56;
const OTHER: u8 = 57;
/// The last of them.
pub const LAST_LETTER: u8 = OTHER;
const PUNCTUATION: u8 = 58;
const WIDE_PUNCTUATION: u8 = 59;
const HIRAGANA: u8 = 60;
const KATAKANA: u8 = 61;
/// Four of them.
const HANGUL: u8 = 62;
/// Four of them.
const HANZI: u8 = 66;
const PICTURE: u8 = 70;
const ASTRAL: u8 = 71;
const JOINER: u8 = 72;
/// What is no character.
pub const UNREADABLE: u8 = 73;

/// The symbol of each ASCII character.
pub const ASCII: [u8; 128] = {
    let mut symbols = [SIGN; 128];
    let mut rest = symbols.as_mut_slice();
    let mut byte = 0_u8;
    while let Some((symbol, after)) = rest.split_first_mut() {
        *symbol = match byte {
            b'a'..=b'z' => A.wrapping_add(byte.wrapping_sub(b'a')),
            b'A'..=b'Z' => A.wrapping_add(byte.wrapping_sub(b'A')),
            b'0'..=b'9' => DIGIT,
            b' ' => SPACE,
            b'\n' | b'\r' => NEWLINE,
            b'\t' => TAB,
            b'.' => STOP,
            b',' => COMMA,
            b':' | b';' => COLON,
            b'"' => DOUBLE_QUOTE,
            b'\'' | b'`' => QUOTE,
            b'(' | b'[' | b'{' => OPEN,
            b')' | b']' | b'}' => CLOSE,
            b'<' => LESS,
            b'>' => GREATER,
            b'/' | b'\\' => SLASH,
            b'-' => DASH,
            b'_' => UNDERSCORE,
            b'=' | b'+' | b'*' | b'&' | b'|' | b'!' | b'%' | b'^' | b'~' => OPERATOR,
            _ => SIGN,
        };
        byte = byte.wrapping_add(1);
        rest = after;
    }
    symbols
};

/// The symbol of a character that is not ASCII.
#[inline]
pub fn wide(code: u32) -> u8 {
    let page = usize::try_from(code.wrapping_shr(5)).unwrap_or(usize::MAX);
    match PAGES.get(page) {
        Some(&HANZI) => HANZI.wrapping_add(kind(&HANZI_KINDS, code.wrapping_sub(0x4E00))),
        Some(&HANGUL) => HANGUL.wrapping_add(kind(&HANGUL_KINDS, code.wrapping_sub(0xAC00))),
        Some(&symbol) if symbol != MIXED => symbol,
        _ => script(code),
    }
}

/// The symbol of all characters of which only the last five bits differ, or that they have several.
static PAGES: [u8; 2048] = {
    let mut pages = [MIXED; 2048];
    let mut rest = pages.as_mut_slice();
    let mut code = 0_u32;
    while let Some((page, after)) = rest.split_first_mut() {
        let symbol = script(code);
        let end = code.wrapping_add(32);
        while code < end && script(code) == symbol {
            code = code.wrapping_add(1);
        }
        if code == end {
            *page = symbol;
        }
        code = end;
        rest = after;
    }
    pages
};
const MIXED: u8 = u8::MAX;

/// The symbol of a character that is not ASCII, the first one of its script where there are four.
const fn script(code: u32) -> u8 {
    match code {
        0xAA | 0xB5 | 0xBA | 0xC0..=0xD6 | 0xD8..=0xF6 | 0xF8..=0xFF => LATIN,
        0x100..=0x24F => LATIN_EXTENDED,
        0x250..=0x36F | 0x1E00..=0x1EFF => LATIN_ADDITIONAL,
        0x370..=0x3FF | 0x1F00..=0x1FFF => GREEK,
        0x401 | 0x410..=0x44F | 0x451 => CYRILLIC,
        0x400..=0x52F => CYRILLIC_EXTENDED,
        0x590..=0x5FF => HEBREW,
        0x60C | 0x61F | 0x621..=0x63A | 0x641..=0x64A => ARABIC,
        0x600..=0x7FF | 0xFB50..=0xFDFF | 0xFE70..=0xFEFE => ARABIC_EXTENDED,
        0x904..=0x939 | 0x958..=0x961 => DEVANAGARI,
        0x900..=0x97F => DEVANAGARI_MARK,
        0xE31 | 0xE34..=0xE3A | 0xE47..=0xE4E => THAI_MARK,
        0xE00..=0xE7F => THAI,
        0x200D | 0xFE0F => JOINER,
        0x2600..=0x27BF | 0x1F000..=0x1FBFF => PICTURE,
        0x80..=0xBF | 0xD7 | 0xF7 | 0x2000..=0x2BFF => PUNCTUATION,
        0x3000..=0x303F | 0xFF00..=0xFF0F | 0xFF1A..=0xFF20 | 0xFF3B..=0xFF40 | 0xFF5B..=0xFF65 => {
            WIDE_PUNCTUATION
        }
        0x3040..=0x309F => HIRAGANA,
        0x30A0..=0x30FF | 0xFF66..=0xFF9F => KATAKANA,
        0x4E00..=0x9FFF => HANZI,
        // The rare ones.
        0x3400..=0x4DBF => HANZI.wrapping_add(3),
        0xAC00..=0xD7A3 => HANGUL,
        0xD800..=0xDFFF | 0xFFFD => UNREADABLE,
        0x10000.. => ASTRAL,
        _ => OTHER,
    }
}

/// Of each three hanzi from U+4E00 on: [`kind`].
static HANZI_KINDS: [u8; 6998] = printed(include_bytes!("hanzi.txt"));
/// Of each three syllables from U+AC00 on.
static HANGUL_KINDS: [u8; 3724] = printed(include_bytes!("hangul.txt"));

/// What o200k_base makes of a character: 0 when it stands in many tokens of several characters, 1 when it is a token
/// of its own, 2 and 3 when it takes that many tokens.
fn kind(kinds: &[u8], at: u32) -> u8 {
    let (place, shift) = (at.wrapping_div(3), at.wrapping_rem(3).wrapping_mul(2));
    let three = usize::try_from(place).ok().and_then(|place| kinds.get(place)).copied().unwrap_or(0);
    three.wrapping_sub(b'0').wrapping_shr(shift) & 3
}

/// A table that is a text: its characters without the ends of lines. A text of another length does not compile.
pub const fn printed<const LENGTH: usize>(mut text: &[u8]) -> [u8; LENGTH] {
    let mut table = [0; LENGTH];
    let mut length = 0_usize;
    let mut rest = table.as_mut_slice();
    while let Some((byte, after)) = text.split_first() {
        text = after;
        if *byte != b'\n' {
            length = length.wrapping_add(1);
            if let Some((cell, more)) = rest.split_first_mut() {
                *cell = *byte;
                rest = more;
            } else {
                rest = &mut [];
            }
        }
    }
    assert!(length == LENGTH, "the table has another length");
    table
}
