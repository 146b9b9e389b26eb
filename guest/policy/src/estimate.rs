//! How many tokens a text has, before a provider has counted them.
//!
//! Four ASCII characters are about one token, and every other character about one: "characters / 4" would be wrong
//! for Japanese by 1.6x on average. Where a cap must never be crossed, the bytes of the body are used instead: no
//! tokenizer makes more tokens than there are bytes.

use serde::{Deserialize, Serialize};

/// The most output tokens that one request may ask for, over all of its choices.
pub const MOST_OUTPUT: u64 = 1_000_000_000;

/// Tokens that frame each message of a chat, and the answer.
const PER_MESSAGE: u64 = 4;
const PER_ANSWER: u64 = 3;

/// Characters seen. Counts stop at the largest number instead of wrapping: no text is that long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    ascii: u64,
    wide: u64,
}

impl Text {
    /// Counts the characters of UTF-8. In bytes that are not UTF-8, what could begin a character counts as one.
    pub fn add(&mut self, bytes: &[u8]) {
        let count = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        if bytes.is_ascii() {
            self.ascii = self.ascii.saturating_add(count(bytes.len()));
            return;
        }
        let ascii = bytes.iter().filter(|byte| byte.is_ascii()).count();
        let wide = bytes.iter().filter(|byte| **byte >= 0xC0).count();
        self.ascii = self.ascii.saturating_add(count(ascii));
        self.wide = self.wide.saturating_add(count(wide));
    }

    /// Counts one character.
    pub fn add_character(&mut self, is_ascii: bool) {
        let count = if is_ascii { &mut self.ascii } else { &mut self.wide };
        *count = count.saturating_add(1);
    }

    /// About how many tokens that is.
    pub fn tokens(&self) -> u64 {
        self.ascii.div_ceil(4).saturating_add(self.wide)
    }
}

/// About how many input tokens a chat has: the text of its messages, and what frames them.
pub fn chat(text: &Text, messages: u64) -> u64 {
    text.tokens().saturating_add(messages.saturating_mul(PER_MESSAGE)).saturating_add(PER_ANSWER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> u64 {
        let mut seen = Text::default();
        seen.add(text.as_bytes());
        seen.tokens()
    }

    #[test]
    fn texts_are_estimated_by_character() {
        assert_eq!(tokens(""), 0);
        assert_eq!(tokens("a"), 1);
        assert_eq!(tokens("Hello there"), 3);
        assert_eq!(tokens("こんにちは"), 5);
        assert_eq!(tokens("こんにちは, world"), 5 + 2);
        assert_eq!(tokens("🦀é"), 2);
    }

    #[test]
    fn a_chat_is_framed() {
        let mut text = Text::default();
        text.add(b"Hello there");
        assert_eq!(chat(&text, 2), 3 + 8 + 3);
        assert_eq!(chat(&text, u64::MAX), u64::MAX);
    }
}
