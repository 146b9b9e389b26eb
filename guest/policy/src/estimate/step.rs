//! What a character does to the state of a reading, and where the table has its rate.
//!
//! All of it is known beforehand: for each state and each kind of character there is one [`Step`], and reading is
//! looking up. So there is no branch that a processor could guess wrongly, which is most of the time that reading
//! letter by letter would take.

use super::symbol::{A, DIGIT, FIRST_LETTER, LAST_LETTER, SPACE, SYMBOLS, Z};

/// What a character is to the state.
pub const KINDS: usize = 8;
const SMALL: u8 = 0;
const CAPITAL: u8 = 1;
const FIGURE: u8 = 2;
/// The letter of another script that makes words.
const SCRIPT: u8 = 3;
/// All else.
pub const SIGN: u8 = 4;
/// The same sign of ASCII again.
pub const AGAIN: u8 = 5;
const BLANK: u8 = 6;

/// How many states there are. A state is three things: what the last character was; how many of its kind there have
/// been (up to eight letters of a word, digits since the last three, up to four times the same sign); and the unrest,
/// which is how soon small letters, capitals and digits have changed places lately.
pub const STATES: usize = 256;
const UNREST: u8 = 32;
const MOST_UNREST: u8 = 7;
/// From this unrest on it is no language.
const RESTLESS: u8 = 4;
const RUNS: u8 = 8;

/// What a character does.
#[derive(Clone, Copy)]
#[repr(align(4))]
pub struct Step {
    /// Its rate stands here, so much further for each that the symbol before it counts, and one for its own.
    pub base: u16,
    pub stride: u8,
    /// The next state.
    pub next: u8,
}

/// Behind another symbol, of all or of the letters.
const BY_SYMBOL: u8 = WIDTH as u8;
const BY_LETTER: u8 = ALPHABET as u8;

/// The parts of the table: a symbol behind another.
const PAIRS: u16 = 0;
const WIDTH: u16 = 74;
/// Two letters of a word in ASCII, for each shape.
const LETTERS: u16 = PAIRS.wrapping_add(WIDTH.wrapping_mul(WIDTH));
const ALPHABET: u16 = 26;
const SHAPES: u16 = 7;
/// A letter of another script behind one, for each length of a word.
const SCRIPTS: u16 = LETTERS.wrapping_add(SHAPES.wrapping_mul(ALPHABET.wrapping_mul(ALPHABET)));
/// The same sign again, for each of four runs.
const REPEATS: u16 = SCRIPTS.wrapping_add(WIDTH.wrapping_mul(5));
/// In unrest: a small letter, capital or digit behind each of them.
const NOISE: u16 = REPEATS.wrapping_add(WIDTH.wrapping_mul(4));
const NOISE_WIDTH: u16 = 28;
/// How long the table is.
pub const RATES: usize = NOISE.wrapping_add(NOISE_WIDTH.wrapping_mul(9)) as usize;

const _: () = assert!(WIDTH as usize == SYMBOLS && NOISE_WIDTH > DIGIT as u16);

/// The steps from each state, one for each kind.
pub static STEPS: [[Step; KINDS]; STATES] = {
    let mut steps = [[step(0, 0); KINDS]; STATES];
    let mut rest = steps.as_flattened_mut();
    let mut at = 0_u16;
    while let Some((cell, after)) = rest.split_first_mut() {
        let [kind, state] = [at.wrapping_rem(KINDS as u16), at.wrapping_div(KINDS as u16)];
        *cell = step(state as u8, kind as u8);
        at = at.wrapping_add(1);
        rest = after;
    }
    steps
};

/// The kind of each symbol of a small letter, of a digit, or of anything that is no letter of ASCII.
pub const fn kind(symbol: u8) -> u8 {
    match symbol {
        A..=Z => SMALL,
        DIGIT => FIGURE,
        SPACE => BLANK,
        FIRST_LETTER..=LAST_LETTER => SCRIPT,
        _ => SIGN,
    }
}

/// The kind of a character of ASCII.
pub const fn ascii(byte: u8, symbol: u8) -> u8 {
    if byte.is_ascii_uppercase() { CAPITAL } else { kind(symbol) }
}

/// The state behind a character of a kind that is the so-manieth of its run, from 0 on.
const fn state(kind: u8, run: u8, unrest: u8) -> u8 {
    const MOST: u8 = RUNS.wrapping_sub(1);
    let letters = if run < MOST { run } else { MOST };
    let state = match kind {
        // The first state is the one in which a text begins.
        SMALL => RUNS.wrapping_add(letters),
        CAPITAL => RUNS.wrapping_mul(2).wrapping_add(letters),
        SCRIPT => RUNS.wrapping_mul(3).wrapping_add(letters),
        FIGURE => run.wrapping_rem(3).wrapping_add(4),
        _ => {
            if run < 3 {
                run
            } else {
                3
            }
        }
    };
    unrest.wrapping_mul(UNREST).wrapping_add(state)
}

const fn step(now: u8, to: u8) -> Step {
    let unrest = now.wrapping_div(UNREST);
    let (from, run) = match now.wrapping_rem(UNREST) {
        sign @ 0..4 => (SIGN, sign),
        figure @ 4..8 => (FIGURE, figure.wrapping_sub(4)),
        letter @ 8..16 => (SMALL, letter.wrapping_rem(RUNS)),
        letter @ 16..24 => (CAPITAL, letter.wrapping_rem(RUNS)),
        letter => (SCRIPT, letter.wrapping_rem(RUNS)),
    };
    let more = run.wrapping_add(1);
    let repeat = REPEATS.wrapping_add(WIDTH.wrapping_mul(run as u16));
    match (from, to) {
        (SMALL | CAPITAL | FIGURE, SMALL | CAPITAL | FIGURE) => {
            // A word begins with a capital: what follows it is no change.
            let changes = from != to && !(from == CAPITAL && to == SMALL);
            let unrest = match (changes, run) {
                (false, _) | (true, 2 | 3) => unrest,
                (true, 0 | 1) => {
                    if unrest < MOST_UNREST {
                        unrest.wrapping_add(1)
                    } else {
                        MOST_UNREST
                    }
                }
                (true, _) => unrest.saturating_sub(2),
            };
            let next = state(to, if changes { 0 } else { more }, unrest);
            // Eight letters in a row are a word, whatever came before.
            if unrest >= RESTLESS && run < 7 {
                let row = (from as u16).wrapping_mul(3).wrapping_add(to as u16);
                return Step { base: NOISE.wrapping_add(NOISE_WIDTH.wrapping_mul(row)), stride: 0, next };
            }
            let (base, stride) = match (from, to) {
                (FIGURE, FIGURE) => (repeat, 0),
                (FIGURE, _) | (_, FIGURE) => (PAIRS, BY_SYMBOL),
                (SMALL, CAPITAL) => (letters(5), BY_LETTER),
                (CAPITAL, CAPITAL) => (letters(6), BY_LETTER),
                _ => (letters(length(run)), BY_LETTER),
            };
            Step { base, stride, next }
        }
        (SCRIPT, SCRIPT) => {
            let base = SCRIPTS.wrapping_add(WIDTH.wrapping_mul(length(run)));
            Step { base, stride: 0, next: state(to, more, unrest) }
        }
        (SIGN, AGAIN) => Step { base: repeat, stride: 0, next: state(to, more, unrest) },
        (SMALL | CAPITAL, SCRIPT) | (SCRIPT, SMALL | CAPITAL) => {
            Step { base: PAIRS, stride: BY_SYMBOL, next: state(to, more, unrest) }
        }
        (_, BLANK) => Step { base: PAIRS, stride: BY_SYMBOL, next: state(to, 0, 0) },
        _ => Step { base: PAIRS, stride: BY_SYMBOL, next: state(to, 0, unrest) },
    }
}

/// Where the letters of this shape would stand if the symbols of letters began with 0.
const fn letters(shape: u16) -> u16 {
    let first = (A as u16).wrapping_mul(ALPHABET).wrapping_add(A as u16);
    LETTERS.wrapping_add(shape.wrapping_mul(ALPHABET.wrapping_mul(ALPHABET))).wrapping_sub(first)
}

/// How far a word has come: five steps.
const fn length(run: u8) -> u16 {
    match run {
        0 => 0,
        1 => 1,
        2 | 3 => 2,
        4..=6 => 3,
        _ => 4,
    }
}
