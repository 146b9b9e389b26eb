//! Bytes that are written as base64, read where they stand.

/// Base64, in either alphabet, without spaces.
#[derive(Clone, Copy)]
pub struct Base64<'t>(&'t [u8]);

impl<'t> Base64<'t> {
    /// The bytes of a data URL; none if it is no such URL.
    pub fn of_url(url: &'t str) -> Option<Self> {
        let (kind, data) =
            url.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")).and(url.split_once(','))?;
        let is_base64 = kind.rsplit(';').next().is_some_and(|word| word.eq_ignore_ascii_case("base64"));
        is_base64.then_some(Self(data.as_bytes()))
    }

    /// The bytes of a text that is nothing else.
    pub fn of_text(text: &'t str) -> Self {
        Self(text.as_bytes())
    }

    /// About how many bytes there are.
    pub fn length(&self) -> u64 {
        let letters = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        letters.saturating_sub(letters.div_ceil(4))
    }

    /// So many bytes from a place on.
    pub fn read<const LENGTH: usize>(&self, at: usize) -> Option<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        for (byte, at) in bytes.iter_mut().zip(at..) {
            *byte = self.byte(at)?;
        }
        Some(bytes)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        // Four letters are three bytes; a byte lies in two of them.
        let (group, place) = (at.checked_div(3)?.checked_mul(4)?, at.checked_rem(3)?);
        let first = group.checked_add(place)?;
        let pair = u16::from(self.sextet(first)?) << 6 | u16::from(self.sextet(first.checked_add(1)?)?);
        let shift = [4_u32, 2, 0].get(place)?;
        pair.wrapping_shr(*shift).to_le_bytes().first().copied()
    }

    fn sextet(&self, at: usize) -> Option<u8> {
        let letter = *self.0.get(at)?;
        let (first, value) = match letter {
            b'A'..=b'Z' => (b'A', 0),
            b'a'..=b'z' => (b'a', 26),
            b'0'..=b'9' => (b'0', 52),
            b'+' | b'-' => return Some(62),
            b'/' | b'_' => return Some(63),
            _ => return None,
        };
        Some(letter.wrapping_sub(first).wrapping_add(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_where_they_stand() {
        let text = Base64::of_text("SGVsbG8sIHdvcmxk_-8=");
        assert_eq!(text.read(0), Some(*b"Hello, world\xff\xef"));
        assert_eq!(text.read(7), Some(*b"world"));
        assert_eq!(text.read::<1>(14), None);
        assert_eq!(Base64::of_text("SG Vs").read::<2>(0), None);
    }

    #[test]
    fn a_data_url_says_that_it_is_base64() {
        let read = |url| Base64::of_url(url).and_then(|data| data.read(0));
        assert_eq!(read("data:image/png;base64,SGVs"), Some(*b"Hel"));
        assert_eq!(read("DATA:;x=1;BASE64,SGVs"), Some(*b"Hel"));
        for url in ["data:text/plain,SGVs", "https://x.test/;base64,SGVs", "data:;base64", "dat", "あああ"]
        {
            assert_eq!(read(url), None, "{url}");
        }
    }
}
