//! The keys that matter to the scanner, also when they come in pieces.

use serde::{Deserialize, Serialize};

/// The keys that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    #[default]
    Other,
    Usage,
    Choices,
    Text,
    Index,
    FinishReason,
}

/// The beginning of a string that may be a key, as far as a key that matters is long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    length: u8,
    bytes: [u8; LONGEST_WORD],
}

const LONGEST_WORD: usize = b"reasoning_content".len();

impl Name {
    /// Begins anew.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Adds what comes next.
    pub fn push(&mut self, more: &[u8]) {
        let used = usize::from(self.length);
        let space = self.bytes.get_mut(used..).unwrap_or_default();
        match space.split_at_mut_checked(more.len()) {
            Some((space, _)) => {
                space.copy_from_slice(more);
                let length = used.saturating_add(more.len());
                self.length = u8::try_from(length).unwrap_or(u8::MAX);
            }
            None => self.spoil(),
        }
    }

    /// Makes it the name of nothing.
    pub fn spoil(&mut self) {
        self.length = u8::MAX;
    }

    /// What it stands for.
    pub fn word(&self) -> Word {
        word(self.bytes.get(..usize::from(self.length)).unwrap_or_default())
    }
}

/// What the name of a member, written without escapes, stands for.
pub fn word(name: &[u8]) -> Word {
    match name {
        b"usage" => Word::Usage,
        b"choices" => Word::Choices,
        b"index" => Word::Index,
        b"finish_reason" => Word::FinishReason,
        b"content" | b"reasoning_content" | b"arguments" | b"text" => Word::Text,
        _ => Word::Other,
    }
}
