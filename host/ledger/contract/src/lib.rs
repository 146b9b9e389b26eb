//! What every store must do: the contract tests, a ledger so naive that it is plainly right, and random operations
//! by which two stores are compared step by step.
//!
//! [`contract!`] writes one test for each sentence. A sentence speaks to any [`Store`], by its traits alone; it
//! wants an empty store of its own, which goes by the `now` it is given. Nothing here knows where books are kept.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod breakers;
mod budgets;
mod extremes;
mod holds;
mod keys;
pub mod naive;
pub mod operations;
mod raises;
mod rows;
mod slots;
mod terms;
mod windows;

pub use terms::*;
use tollgate_ledger::Store;

/// Lists the sentences once: for the tests of a store, and for the compiler, which warns of one that is not listed.
macro_rules! sentences {
    ($d:tt $($topic:ident { $($sentence:ident)* })*) => {
        $($(
            #[doc(hidden)]
            pub async fn $sentence(store: &dyn Store) {
                $topic::$sentence(store).await;
            }
        )*)*

        /// Tests that a store keeps the contract: `contract!(make, wait)`, at the root of a file of tests.
        ///
        /// `make` is an expression, evaluated for each test: a pointer (`Box`, `Arc` or its own kind) to an empty
        /// store. `wait` is the path of a function that waits for a future.
        #[macro_export]
        macro_rules! contract {
            ($d make:expr, $d wait:path) => {
                $($(
                    #[test]
                    fn $sentence() {
                        let store = $d make;
                        $d wait($crate::$sentence(&*store));
                    }
                )*)*
            };
        }
    };
}

sentences! { $
    budgets {
        never_over_admit_is_kept_by_a_budget
        never_over_admit_when_one_claim_of_several_does_not_fit
        never_over_admit_when_a_cell_is_claimed_twice
        never_over_admit_among_many_at_once
        no_phantom_refusal_after_a_settlement_gives_back
        no_phantom_refusal_after_a_refusal
        no_phantom_refusal_in_the_next_period_of_a_budget
        all_scopes_are_held_or_none
        larger_than_the_limit_is_never
        a_budget_waits_for_the_end_of_its_period
        a_new_limit_applies_to_the_kept_cell
        no_claims_are_always_granted
        standings_take_nothing
        a_question_or_a_refusal_changes_nothing
        a_cell_that_was_never_claimed_is_empty
    }
    windows {
        never_over_admit_is_kept_by_a_window
        no_phantom_refusal_by_a_window_whose_hold_was_never_settled
        the_longest_wait_is_told_and_true
        a_settlement_in_a_window_counts_from_its_hold
        a_settlement_after_the_window_changes_nothing
        a_clock_that_steps_back_stands_still_for_a_window
        another_period_forgets_nothing_early
        a_cell_of_another_rule_begins_anew
    }
    slots {
        never_over_admit_is_kept_by_slots
        no_phantom_refusal_by_a_slot_once_it_is_settled
        no_phantom_refusal_by_a_slot_whose_lease_has_passed
        a_renewed_lease_keeps_its_slot
        one_hold_may_take_several_slots
    }
    holds {
        settle_once_whatever_is_repeated
        settle_once_when_a_reservation_is_repeated
        settle_once_when_many_settle_at_once
        settle_once_when_the_lease_has_passed
        settle_once_when_it_was_lost_before
        what_was_never_granted_is_unknown
        a_renewed_lease_can_be_settled_later
        conservation_for_every_charge
        what_was_granted_is_durable
        a_store_that_answers_is_sound
    }
    raises {
        never_over_admit_is_kept_by_a_raise
        never_over_admit_when_one_claim_of_a_raise_does_not_fit
        never_over_admit_when_a_cell_that_is_claimed_twice_is_raised
        never_over_admit_among_many_raises_at_once
        never_over_admit_in_any_period_of_a_window_after_raises
        no_phantom_refusal_of_a_stream_that_holds_a_little_each_period
        no_phantom_refusal_after_a_raised_hold_gives_back
        no_phantom_refusal_in_a_budget_that_ended_under_an_open_hold
        a_raise_that_comes_again_takes_nothing_more
        a_raise_to_less_changes_nothing
        a_raise_that_is_refused_changes_nothing
        a_raise_above_its_budget_is_never_granted
        a_raise_of_what_is_not_open_is_gone
        a_raise_leaves_slots_and_moves_the_lease
        a_raise_under_a_new_limit_goes_by_it
        settle_once_charges_what_a_hold_was_raised_to
        a_raised_hold_that_is_lost_is_charged_as_raised
        conservation_after_raises_for_every_charge
        what_a_raise_granted_is_durable
    }
    rows {
        settle_once_has_one_row_whatever_is_repeated
        no_row_for_what_was_refused
        expire_writes_one_row_for_each_lost_hold
        conservation_between_rows_and_budgets
        completed_is_charged_what_it_used
        usage_that_never_came_is_charged_as_estimated
        an_explicit_zero_is_zero
        usage_above_the_hold_is_charged_in_full
        what_failed_before_a_byte_was_sent_is_charged_nothing
        a_client_that_left_is_charged_what_was_produced
        an_upstream_that_broke_is_charged_what_was_produced
        a_policy_that_failed_is_charged_the_hold_if_it_cannot_say
        a_policy_that_failed_before_dispatch_is_charged_nothing
        a_server_that_died_is_charged_the_hold
        a_row_is_read_as_it_was_written
        rows_are_found_by_time_scope_and_exchange
        rows_are_read_page_by_page
    }
    extremes {
        never_over_admit_with_the_largest_numbers
        a_claim_above_the_largest_number_is_never_granted
        a_settlement_above_the_largest_number_is_the_largest
        a_zero_is_granted_while_nothing_is_over
        names_may_hold_any_text
    }
    breakers {
        a_breaker_opens_after_failures_in_a_row_and_only_then
        one_probe_decides
        a_probe_that_is_cancelled_or_lost_frees_its_place
        a_late_result_of_an_older_generation_is_ignored
        breakers_are_told_apart_by_name
        one_probe_at_a_time_among_many
        a_clock_that_goes_back_keeps_nobody_out_for_long
    }
    keys {
        a_new_key_is_found_by_its_digest
        a_key_is_found_with_the_scopes_around_it
        a_rotated_key_is_found_by_both_secrets
        a_revoked_key_is_found_and_admits_nobody
        two_operators_at_once_lose_nothing
        two_keys_never_share_a_secret
        keys_and_scopes_are_listed_by_name
        a_key_is_read_as_it_was_written
    }
}
