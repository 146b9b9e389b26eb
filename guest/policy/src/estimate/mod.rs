//! How many tokens a request or an answer has, before a provider has counted them.
//!
//! A [`Text`] is estimated by which characters follow which, close to what o200k_base makes of it; images, sounds and
//! files by what providers publish. Where a cap must never be crossed, the bytes of the body are used instead, for
//! no tokenizer makes more tokens than there are bytes, and with them what its parts can cost beyond their bytes. The
//! bytes of an image are left out, if it is one: an image is paid by its size in pixels, and the most is added for it.

mod base64;
mod image;
mod part;
mod sample;
mod step;
mod symbol;
#[cfg(test)]
mod tests;
mod text;

pub use self::part::{Kind as PartKind, Part};
use self::sample::Sample;
pub use self::text::Text;

/// The most output tokens that one request may ask for, over all of its choices.
pub const MOST_OUTPUT: u64 = 1_000_000_000;

/// Tokens that frame each message of a chat, beside the name of its role, and the answer (OpenAI's cookbook, "How to
/// count tokens with tiktoken").
const PER_MESSAGE: u64 = 3;
const PER_ANSWER: u64 = 3;

/// Tokens that frame the definitions of tools. What the cookbook counts within one, 7 and 3 for each property, is
/// near what the names of the members of its schema are as text.
const PER_TOOLS: u64 = 12;

/// What a request sends to be read by a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Input {
    sample: Sample,
    text: Text,
    /// Tokens beside the text.
    others: u64,
    /// The most tokens that what is no text can cost, beyond its bytes.
    beyond: u64,
    /// Bytes that no tokenizer sees: those of images.
    unread: u64,
}

impl Input {
    /// Nothing yet, of a body of so many bytes.
    pub fn of_body(bytes: usize) -> Self {
        Self { sample: Sample::of_body(bytes), ..Self::default() }
    }

    /// Takes in a text that has nothing to do with the one before.
    pub fn add_text(&mut self, text: &str) {
        self.sample.add(text, &mut self.text);
    }

    /// Takes in a number: it may be a token, written out.
    pub fn add_number(&mut self) {
        self.others = self.others.saturating_add(1);
    }

    /// Takes in a part of a message that is no text.
    pub fn add_part(&mut self, kind: PartKind, part: &Part) {
        let cost = part.cost(kind);
        self.others = self.others.saturating_add(cost.estimate);
        self.beyond = self.beyond.saturating_add(cost.bound);
        self.unread = self.unread.saturating_add(cost.unread);
    }

    /// Takes in the frame of a chat of so many messages, and of its tools, if it has any.
    pub fn add_frame(&mut self, messages: u64, has_tools: bool) {
        let tools = if has_tools { PER_TOOLS } else { 0 };
        let frame = messages.saturating_mul(PER_MESSAGE).saturating_add(PER_ANSWER).saturating_add(tools);
        self.others = self.others.saturating_add(frame);
    }

    /// Takes in the frame of one message.
    pub fn add_message(&mut self) {
        self.others = self.others.saturating_add(PER_MESSAGE);
    }

    /// About how many tokens that is.
    pub fn tokens(&self) -> u64 {
        self.text.tokens().saturating_add(self.others)
    }

    /// The most tokens that it can be, written in so many bytes.
    pub fn bound(&self, bytes: u64) -> u64 {
        bytes.saturating_sub(self.unread).saturating_add(self.beyond)
    }
}
