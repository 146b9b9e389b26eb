//! Which parts of long texts are read: a long conversation is estimated by a sample of it.
//!
//! Of a body of up to [`MOST_READ`] every character is read, and about as much of any longer one, so that what an
//! estimate costs has an end. The sample is stripes, evenly spread over each text, and which they are depends on nothing
//! but the lengths of the body and of the text: the same body has the same estimate, and a message of it has the same
//! alone as among the others. ARCHITECTURE.md tells how far off it is.

use super::text::Text;

/// Bodies of at most so many bytes are read in full.
const MOST_READ: usize = 48 * 1024;

/// The bytes of a stripe, and those before it that are read but not counted: what a character costs depends on what
/// stands before it.
const STRIPE: usize = 128;
const LEAD: usize = 8;

/// How much of each text is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// One byte of so many; of none and of one, every byte.
    of: usize,
}

impl Sample {
    /// What is read of the texts of a body of so many bytes.
    pub fn of_body(bytes: usize) -> Self {
        Self { of: bytes.div_ceil(MOST_READ) }
    }

    /// Adds a text that has nothing to do with the one before.
    pub fn add(self, text: &str, to: &mut Text) {
        let count = text.len().checked_div(self.of.wrapping_mul(STRIPE)).unwrap_or(0).max(1);
        let segment = text.len().checked_div(count).unwrap_or(0);
        let Some(spare) = segment.checked_sub(STRIPE.saturating_add(LEAD)).filter(|_| self.of > 1) else {
            to.begin_line();
            to.add(text.as_bytes());
            return;
        };
        // Anywhere, but for texts of one length at the same place.
        let mut at = scattered(text.len(), spare);
        let (mut read, mut parts) = (0_usize, 0_u64);
        for _ in 0..count {
            let [lead, start, end] = [0, LEAD, LEAD.saturating_add(STRIPE)]
                .map(|offset| text.floor_char_boundary(at.saturating_add(offset)));
            let mut stripe = Text::default();
            stripe.add(text.get(lead..start).unwrap_or_default().as_bytes());
            let before = stripe.parts();
            let counted = text.get(start..end).unwrap_or_default();
            stripe.add(counted.as_bytes());
            parts = parts.saturating_add(stripe.parts().saturating_sub(before));
            read = read.saturating_add(counted.len());
            at = at.saturating_add(segment);
        }
        to.add_parts(scaled(parts, text.len(), read));
    }
}

/// A number up to the most that shows no pattern; the same wherever this runs, however wide a `usize` is there.
fn scattered(number: usize, most: usize) -> usize {
    let [number, most] = [number, most].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let scattered = number.wrapping_mul(0x9E37_79B1).wrapping_shr(7);
    scattered.checked_rem(most.saturating_add(1)).and_then(|place| usize::try_from(place).ok()).unwrap_or(0)
}

/// What all of a text costs, if so many bytes of it cost so many parts.
fn scaled(parts: u64, all: usize, read: usize) -> u64 {
    let [all, read] = [all, read].map(|bytes| u128::try_from(bytes).unwrap_or(u128::MAX));
    let scaled = u128::from(parts).saturating_mul(all).checked_div(read).unwrap_or(0);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}
