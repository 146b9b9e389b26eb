//! How much output is held for at a time, where an answer may be long and nobody knows how long.
//!
//! A stream whose request names no maximum is admitted with a slice of output, and more is held as it goes on: the
//! next slice as soon as less than a quarter of one is left, until all is held that the configuration allows. A
//! provider that writes more than that has it metered and held for, slice by slice, but only once it does: one that
//! keeps to it is never stopped short of it.

use serde::{Deserialize, Serialize};

/// A meter has one bit for each.
const MOST_CHOICES: u8 = 64;

/// How output is held for. Counts are output tokens, over all choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slices {
    /// Held at first, and more at a time.
    pub size: u64,
    /// All that the configuration allows.
    most: u64,
    /// How many answers that is for.
    pub choices: u8,
}

impl Slices {
    /// Slices of this size for each of the choices, up to so much in all; none if there are too many choices to know
    /// each of them.
    pub fn new(size: u64, choices: u64, most: u64) -> Option<Self> {
        let choices = u8::try_from(choices).ok().filter(|choices| *choices <= MOST_CHOICES)?;
        Some(Self { size: size.saturating_mul(choices.into()).min(most), most, choices })
    }

    /// What must be held when so much is written. It depends on that alone, never on the pieces in which it was seen.
    pub fn held(&self, written: u64) -> u64 {
        let with_room = self.rounded_up(written.saturating_add(self.room()).saturating_add(1));
        if with_room <= self.most {
            with_room
        } else {
            self.most.saturating_add(self.rounded_up(written.saturating_sub(self.most)))
        }
    }

    /// When so much is held: how much must be written for more to be held.
    pub fn asks_at(&self, held: u64) -> u64 {
        if held < self.most { held.saturating_sub(self.room()) } else { held.saturating_add(1) }
    }

    fn room(&self) -> u64 {
        self.size / 4
    }

    fn rounded_up(&self, tokens: u64) -> u64 {
        tokens.div_ceil(self.size.max(1)).saturating_mul(self.size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slices(size: u64, most: u64) -> Slices {
        Slices::new(size, 1, most).expect("one choice")
    }

    #[test]
    fn a_slice_is_for_each_choice() {
        let three = Slices::new(100, 3, 1_000).expect("few choices");
        assert_eq!((three.size, three.held(299)), (300, 600));
        assert_eq!((Slices::new(100, 65, 100_000), Slices::new(100, u64::MAX, 1)), (None, None));
    }

    #[test]
    fn the_next_slice_is_held_before_the_last_is_used_up() {
        let slices = slices(100, 250);
        let held = |written| slices.held(written);
        assert_eq!([0, 74, 75, 174, 175, 250].map(held), [100, 100, 200, 200, 250, 250]);
        assert_eq!([251, 350, 351].map(held), [350, 350, 450], "more than is allowed");
        assert_eq!([100, 200, 250, 350].map(|held| slices.asks_at(held)), [75, 175, 251, 351]);
    }

    #[test]
    fn a_slice_is_never_more_than_all() {
        let slices = slices(1024, 500);
        assert_eq!([0, 500, 501].map(|written| slices.held(written)), [500, 500, 1000]);
    }

    proptest! {
        #[test]
        fn what_is_held_covers_what_is_written(
            size in 1..2_000_u64, most in prop_oneof![1..10_000_u64, any::<u64>()],
            written in prop_oneof![0..20_000_u64, any::<u64>()],
        ) {
            let slices = slices(size, most);
            let held = slices.held(written);
            prop_assert!(held >= written && (written > most || held <= most));
            prop_assert!(written < slices.asks_at(held) || held == u64::MAX, "what is held is enough");
            prop_assert!(written == 0 || slices.held(written - 1) <= held);
        }

        #[test]
        fn more_is_asked_for_when_it_must_be_held(
            size in 1..200_u64, most in 1..1_000_u64, written in prop::collection::vec(0..2_000_u64, 1..20),
        ) {
            let slices = slices(size, most);
            let mut held = slices.size;
            let mut last = 0;
            for more in written {
                last += more;
                let must = slices.held(last);
                prop_assert_eq!(last >= slices.asks_at(held), must > held, "{} of {}", last, held);
                held = must;
            }
        }

        #[test]
        fn no_slices_panic(held in any::<u64>(), size in any::<u64>(), most in any::<u64>(), written in any::<u64>()) {
            let slices = Slices { size, most, choices: 1 };
            let _ = (slices.held(written), slices.asks_at(held));
        }
    }
}
