//! What a part of a message costs that is no text: by what providers publish, never as the text it is written in.

use super::base64::Base64;
use super::image::{self, Detail, Size};

/// A part of a message that is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `image_url`: its address, or a data URL.
    Image,
    /// `input_audio`: base64.
    Sound,
    /// `file`: a data URL, or the id of a file that the provider has.
    File,
}

/// What is known of a part while it is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    size: Option<Size>,
    /// The bytes that an image of that size is written in.
    unread: u64,
    detail: Detail,
    /// In tokens.
    sound: u64,
    /// In bytes.
    file: u64,
}

/// What a part costs, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// About.
    pub estimate: u64,
    /// At most, beyond the bytes that are read.
    pub bound: u64,
    /// How many of its bytes are not read.
    pub unread: u64,
}

/// OpenAI counts a token for a tenth of a second of sound.
const TOKENS_A_SECOND: u64 = 10;
/// MP3 as it is usual for speech: 64 kbit/s.
const SOUND_BYTES_A_SECOND: u64 = 8_000;

/// A file is text and images that only the provider sees. A page of a PDF is 1,500 to 3,000 tokens in Anthropic's
/// documentation and some 50 KB: a rough estimate, the size of a page where nothing is known, and the context of
/// the largest model of OpenAI's as its bound.
const FILE_BYTES_A_TOKEN: u64 = 32;
const PAGE: u64 = 3_000;
const MOST_FILE: u64 = 1_047_576;

impl Part {
    /// Takes in a member of the object that the part is.
    pub fn read(&mut self, kind: Kind, name: &str, text: &str) {
        match (kind, name) {
            (Kind::Image, "url") | (Kind::Sound, "data") | (Kind::File, "file_data") => self.data(kind, text),
            (Kind::Image, "detail") => self.detail(text),
            _ => {}
        }
    }

    /// Takes in what the part is written in.
    pub fn data(&mut self, kind: Kind, text: &str) {
        match kind {
            Kind::Image => {
                self.size = Size::of_url(text);
                self.unread = self.size.and_then(|_| u64::try_from(text.len()).ok()).unwrap_or(0);
            }
            Kind::Sound => self.sound = sound(Base64::of_text(text)),
            Kind::File => self.file = Base64::of_url(text).unwrap_or(Base64::of_text(text)).length(),
        }
    }

    /// Takes in how closely to look at an image.
    pub fn detail(&mut self, name: &str) {
        self.detail = Detail::named(name);
    }

    /// What it costs.
    pub fn cost(&self, kind: Kind) -> Cost {
        match kind {
            Kind::Image => {
                let estimate = image::tokens(self.size, self.detail);
                Cost { estimate, bound: self.detail.bound(), unread: self.unread }
            }
            // A second of sound takes more than ten bytes, if its own head does not say otherwise.
            Kind::Sound => Cost { estimate: self.sound, bound: self.sound, unread: 0 },
            Kind::File => {
                let estimate = if self.file == 0 { PAGE } else { self.file.div_ceil(FILE_BYTES_A_TOKEN) };
                Cost { estimate: estimate.min(MOST_FILE), bound: MOST_FILE, unread: 0 }
            }
        }
    }
}

/// How many tokens a sound is. The head of a WAV file says how many bytes a second takes.
fn sound(data: Base64<'_>) -> u64 {
    let is_wav = data.read(0) == Some(*b"RIFF") && data.read(8) == Some(*b"WAVEfmt ");
    let said = data.read(28).map(u32::from_le_bytes).filter(|rate| is_wav && *rate > 0);
    let rate = said.map_or(SOUND_BYTES_A_SECOND, u64::from);
    data.length().saturating_mul(TOKENS_A_SECOND).div_ceil(rate)
}
