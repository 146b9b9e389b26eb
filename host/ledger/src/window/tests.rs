//! The window rule, moment by moment.

use super::*;

/// One minute: buckets of two seconds.
const MINUTE: u64 = 60_000;

fn at(now: u64, taken: &[(u64, u64)]) -> Window {
    let mut window = Window::default();
    for (moment, amount) in taken {
        window.observe(MINUTE, *moment);
        window.take(*amount);
    }
    window.observe(MINUTE, now);
    window
}

#[test]
fn never_over_admit_until_a_whole_period_has_passed() {
    let start = 1_000_000;
    let taken = [(start, 10)];
    assert_eq!(at(start, &taken).fit(10, 1, start), Fit::After(61_999));
    assert_eq!(at(start + MINUTE - 1, &taken).fit(10, 1, start + MINUTE - 1), Fit::After(2_000));
    assert_eq!(at(start + 61_998, &taken).fit(10, 1, start + 61_998), Fit::After(1));
    assert_eq!(at(start + 61_999, &taken).fit(10, 10, start + 61_999), Fit::Now);
}

#[test]
fn a_unit_is_forgotten_at_most_a_thirtieth_of_the_period_late() {
    for period in [1, 2, 29, 30, 31, 59, 61, 1_000, MINUTE, 86_400_000] {
        for moment in [0, 1, 12_345, 1_999, 2_000, 1_700_000_000_123] {
            let mut window = Window::default();
            window.observe(period, moment);
            window.take(1);
            let Fit::After(wait) = window.fit(1, 1, moment) else { panic!("{window:?} admits early") };
            assert!(wait >= period && wait - period <= period / 30, "{wait} for {period} at {moment}");
        }
    }
}

#[test]
fn the_wait_ends_when_enough_has_passed_not_when_all_has() {
    let window = at(40_000, &[(0, 3), (10_000, 3), (20_000, 3)]);
    assert_eq!(window.fit(10, 1, 40_000), Fit::Now);
    assert_eq!(window.fit(10, 2, 40_000), Fit::After(61_999 - 40_000));
    assert_eq!(window.fit(10, 7, 40_000), Fit::After(71_999 - 40_000));
    assert_eq!(window.fit(10, 10, 40_000), Fit::After(81_999 - 40_000));
    assert_eq!(window.fit(10, 11, 40_000), Fit::Never);
}

#[test]
fn at_most_31_buckets_are_remembered() {
    for period in [1, 7, 30, 31, 899, MINUTE] {
        let mut window = Window::default();
        for moment in 0..(period * 3).min(200_000) {
            window.observe(period, moment);
            window.take(1);
            assert!(window.buckets.len() <= 31, "{} for {period}", window.buckets.len());
        }
    }
}

#[test]
fn a_settlement_gives_back_in_the_bucket_of_the_hold() {
    let mut window = at(0, &[]);
    let early = window.take(6);
    window.observe(MINUTE, 30_000);
    window.take(4);
    window.correct(early, 6, 1);
    assert_eq!(window.used(30_000), 5);
    assert_eq!(window.fit(10, 5, 30_000), Fit::Now);
    assert_eq!(window.fit(10, 6, 30_000), Fit::After(31_999));
    assert_eq!(window.fit(10, 7, 30_000), Fit::After(61_999));
}

#[test]
fn a_settlement_above_the_hold_counts_from_the_hold() {
    let mut window = at(0, &[]);
    let mark = window.take(1);
    window.observe(MINUTE, 30_000);
    window.correct(mark, 1, 21);
    assert_eq!(window.standing(10, 30_000), Standing { remaining: 0, reset_ms: 31_999 });
    window.observe(MINUTE, 61_999);
    assert_eq!(window.used(61_999), 0);
}

#[test]
fn a_settlement_after_the_period_changes_nothing() {
    let mut window = at(0, &[]);
    let mark = window.take(5);
    window.observe(MINUTE, 70_000);
    window.take(2);
    for real in [0, 5, 9] {
        window.correct(mark, 5, real);
        assert_eq!(window.used(70_000), 2);
    }
}

#[test]
fn a_clock_that_steps_back_within_a_period_stands_still() {
    let mut window = at(100_000, &[(100_000, 10)]);
    window.observe(MINUTE, 99_000);
    assert_eq!(window.fit(10, 1, 99_000), Fit::After(161_999 - 99_000));
    let mark = window.take(0);
    assert_eq!(mark.at_ms, 100_000);
}

#[test]
fn a_clock_that_steps_back_further_is_believed_and_blocks_one_period() {
    for back in [0, 999, 1_000, 1_001, 55_555] {
        let mut window = at(10_000_000, &[(9_990_000, 4), (10_000_000, 6)]);
        window.observe(MINUTE, back);
        assert_eq!(window.used(back), 10);
        let Fit::After(wait) = window.fit(10, 10, back) else { panic!("admits early") };
        assert!((MINUTE..MINUTE + 2_000).contains(&wait), "{wait}");
        let Fit::After(wait) = window.fit(10, 4, back) else { panic!("admits early") };
        assert!((MINUTE - 10_000..MINUTE + 2_000).contains(&wait), "{wait}");
    }
}

#[test]
fn a_hold_from_before_the_clock_went_back_is_not_given_back_elsewhere() {
    let mut window = at(10_000_000, &[]);
    let mark = window.take(6);
    window.observe(MINUTE, 1_000);
    window.correct(mark, 6, 0);
    assert_eq!(window.used(1_000), 6);
    window.correct(mark, 6, 7);
    assert_eq!(window.used(1_000), 7);
}

#[test]
fn another_period_forgets_nothing_early() {
    for period in [1_000, 45_000, 90_000, 3_600_000] {
        let taken = [(1_000, 1), (25_000, 2), (59_000, 4)];
        let mut window = at(59_000, &taken);
        window.observe(period, 59_000);
        for now in 59_000..59_000 + 2 * period.min(200_000) {
            window.observe(period, now);
            let live = taken.iter().filter(|(moment, _)| moment + period > now).map(|(_, units)| units);
            assert!(window.used(now) >= live.sum(), "at {now} of {period}");
        }
    }
}

#[test]
fn extreme_numbers_neither_wrap_nor_admit() {
    let mut window = Window::default();
    let last = u64::MAX - 1;
    window.observe(u64::MAX, last);
    window.take(u64::MAX);
    window.take(u64::MAX);
    assert_eq!(window.used(last), MOST_UNITS);
    assert!(window.fit(MOST_UNITS, 1, last) > Fit::Now);
    window.observe(0, 5);
    assert_eq!(window.period_ms(), 1);
}

#[test]
fn a_cell_is_over_when_all_it_could_hold_has_passed() {
    let window = at(1_000, &[(1_000, 1)]);
    assert_eq!(window.end_ms(), 61_999);
}
