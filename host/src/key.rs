//! API keys as they are made: `tg_`, 256 random bits, and a checksum that tells a mistyped or truncated key from an
//! unknown one (and lets a secret scanner recognise a leaked one without asking us).
//!
//! It never stores or prints a key: what is kept is the digest, and a [`Secret`] shows itself only when it is told
//! to. Randomness comes from the operating system.

use std::fmt;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use tollgate_ledger::keys::{Digest, digest_text};

/// What every key begins with.
const PREFIX: &str = "tg_";

/// 256 bits in base 62.
const SECRET_DIGITS: usize = 43;

/// 32 bits in base 62.
const CHECKSUM_DIGITS: usize = 6;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An API key. `Debug` does not show it.
#[derive(Clone)]
pub struct Secret {
    text: String,
}

impl Secret {
    /// A new key from the operating system's randomness.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bits = [0; 32];
        SystemRandom::new().fill(&mut bits).map_err(|_| NoRandomness)?;
        Ok(Self::from_bits(bits))
    }

    /// The key itself, to be shown once to the one it is made for.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What a configuration keeps of it: `sha256:` and 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        format!("sha256:{}", digest_text(&self.digest_bytes()))
    }

    /// What a store keeps of it.
    #[must_use]
    pub fn digest_bytes(&self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, self.text.as_bytes()).as_ref());
        bytes
    }

    fn from_bits(bits: [u8; 32]) -> Self {
        let mut text = format!("{PREFIX}{}", base62(bits, SECRET_DIGITS));
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Self { text }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether a text has the form of a key and the checksum fits. Says nothing about whether the key is known.
#[must_use]
pub fn is_well_formed(text: &str) -> bool {
    let length = PREFIX.len() + SECRET_DIGITS + CHECKSUM_DIGITS;
    text.len() == length
        && text.starts_with(PREFIX)
        && text.split_at_checked(length - CHECKSUM_DIGITS).is_some_and(|(key, sum)| {
            key.bytes().skip(PREFIX.len()).all(|byte| byte.is_ascii_alphanumeric()) && checksum(key) == sum
        })
}

/// The operating system gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operating system gave no randomness to make a key from")
    }
}

impl std::error::Error for NoRandomness {}

fn checksum(text: &str) -> String {
    base62(crc32(text.as_bytes()).to_be_bytes(), CHECKSUM_DIGITS)
}

/// The number in big-endian bytes, in base 62, with zeros in front.
fn base62<const N: usize>(mut number: [u8; N], digits: usize) -> String {
    let mut text = vec![b'0'; digits];
    for digit in text.iter_mut().rev() {
        let mut rest = 0_u16;
        for byte in &mut number {
            let part = rest << 8 | u16::from(*byte);
            // Below 256, because what is carried over is below 62.
            *byte = u8::try_from(part / 62).unwrap_or(u8::MAX);
            rest = part % 62;
        }
        *digit = DIGITS.get(usize::from(rest)).copied().unwrap_or(b'0');
    }
    text.into_iter().map(char::from).collect()
}

/// CRC-32 as in zip, gzip and PNG.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_prefix_43_digits_and_6_of_checksum() {
        let key = Secret::generate().unwrap();
        assert_eq!(key.reveal().len(), 52);
        assert!(key.reveal().starts_with("tg_"));
        assert!(key.reveal().bytes().skip(3).all(|byte| byte.is_ascii_alphanumeric()));
        assert!(is_well_formed(key.reveal()));
        assert_ne!(key.reveal(), Secret::generate().unwrap().reveal());
    }

    #[test]
    fn small_and_large_numbers_have_the_same_length() {
        let smallest = Secret::from_bits([0; 32]);
        assert!(smallest.reveal().starts_with(&format!("tg_{}", "0".repeat(43))));
        let largest = Secret::from_bits([255; 32]);
        // 2^256 - 1, computed elsewhere.
        assert!(
            largest.reveal().starts_with("tg_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1"),
            "{}",
            largest.reveal()
        );
        assert!(is_well_formed(smallest.reveal()) && is_well_formed(largest.reveal()));
    }

    #[test]
    fn a_mistyped_key_is_not_well_formed() {
        let key = Secret::from_bits([7; 32]);
        let text = key.reveal();
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            assert!(!is_well_formed(std::str::from_utf8(&bytes).unwrap()), "{at}");
            assert!(!is_well_formed(&text[..at]));
        }
        for other in ["", "tg_", "sk-abc", &format!("{text}x"), &format!(" {text}"), &"\u{e9}".repeat(26)] {
            assert!(!is_well_formed(other), "{other}");
        }
    }

    #[test]
    fn the_digest_is_sha_256_of_the_whole_key() {
        let key = Secret { text: "abc".into() };
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(key.digest(), expected);
    }

    #[test]
    fn debug_does_not_show_it() {
        let key = Secret::generate().unwrap();
        assert_eq!(format!("{key:?} {:?}", Some(&key)), "Secret(..) Some(Secret(..))");
    }

    #[test]
    fn the_checksum_is_the_common_crc() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(base62(u32::MAX.to_be_bytes(), 6), "4gfFC3");
    }
}
