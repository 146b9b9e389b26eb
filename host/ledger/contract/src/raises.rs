//! An open hold that takes more: what a raise takes, when that counts, and what it leaves as it was.

use std::sync::Arc;

use tollgate_ledger::{
    Charge, Claim, Entry, Hold, MOST_UNITS, Outcome, Raise, Rule, Settled, Standing, Store,
};

use crate::terms::{
    END, LEASE, MINUTE, NOW, all_rows, budget, entry, granted, raise, raised, remaining, reserve, settle,
    slots, together, window,
};

pub async fn never_over_admit_is_kept_by_a_raise(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b", 10, 3)], NOW).await);
    assert!(granted(store, "two", &[budget("b", 10, 4)], NOW).await);
    let answer = raise(store, "one", &[budget("b", 10, 7)], NOW + 5).await;
    let standings = vec![Standing { remaining: 3, reset_ms: END - NOW - 5 }];
    let limited = Raise::Limited { claim: 0, retry_after_ms: Some(END - NOW - 5), standings };
    assert_eq!(answer, limited);
    assert!(raised(store, "one", &[budget("b", 10, 6)], NOW).await);
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 0);
    assert!(!raised(store, "two", &[budget("b", 10, 5)], NOW).await);
    assert!(!granted(store, "three", &[budget("b", 10, 1)], NOW).await);
}

pub async fn never_over_admit_when_one_claim_of_a_raise_does_not_fit(store: &dyn Store) {
    let claims = |amount| [budget("acme", 100, amount), window("w", 30, amount), budget("alice", 20, amount)];
    assert!(granted(store, "one", &claims(5), NOW).await);
    assert!(granted(store, "two", &claims(5), NOW).await);
    let answer = raise(store, "one", &claims(16), NOW).await;
    assert!(matches!(answer, Raise::Limited { claim: 2, retry_after_ms: Some(_), .. }), "{answer:?}");
    for (claim, left) in std::iter::zip(claims(0), [90, 20, 10]) {
        assert_eq!(remaining(store, claim, NOW).await, left);
    }
    assert!(raised(store, "one", &claims(15), NOW).await);
    for (claim, left) in std::iter::zip(claims(0), [80, 10, 0]) {
        assert_eq!(remaining(store, claim, NOW).await, left);
    }
}

pub async fn never_over_admit_when_a_cell_that_is_claimed_twice_is_raised(store: &dyn Store) {
    let twice = |one, other| [budget("b", 10, one), budget("b", 10, other)];
    assert!(granted(store, "one", &twice(1, 2), NOW).await);
    let answer = raise(store, "one", &twice(5, 6), NOW).await;
    assert!(matches!(answer, Raise::Limited { claim: 1, retry_after_ms: None, .. }), "{answer:?}");
    assert!(granted(store, "two", &[budget("b", 10, 1)], NOW).await);
    let answer = raise(store, "one", &twice(5, 5), NOW).await;
    assert!(matches!(answer, Raise::Limited { claim: 1, retry_after_ms: Some(_), .. }), "{answer:?}");
    assert!(raised(store, "one", &twice(4, 5), NOW).await);
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 0);
    assert_eq!(settle(store, "one", Charge::Amounts(&[3, 4]), NOW).await, Settled::Done);
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 2);
}

pub async fn never_over_admit_among_many_raises_at_once(store: &dyn Store) {
    let rows: Vec<_> = (0..50).map(|number| Arc::new(entry(&format!("hold-{number}"), 3))).collect();
    for row in &rows {
        assert!(granted(store, &row.request_id, &[budget("b", 100, 1), window("w", 1_000, 1)], NOW).await);
    }
    let claims = [budget("b", 100, 3), window("w", 1_000, 3)];
    // Each is asked for twice, as if an answer had been lost.
    let hold = |entry| store.raise(Hold { entry, claims: &claims, lease_ms: LEASE }, NOW);
    let answers = together(rows.iter().chain(&rows).map(hold)).await;
    let granted = answers.iter().filter(|answer| matches!(answer, Raise::Granted { .. })).count();
    assert_eq!(granted, 50, "25 of them, twice");
    assert_eq!(remaining(store, budget("b", 100, 0), NOW).await, 0);
    assert_eq!(remaining(store, window("w", 1_000, 0), NOW).await, 1_000 - 100);
}

pub async fn never_over_admit_in_any_period_of_a_window_after_raises(store: &dyn Store) {
    let half = NOW + MINUTE / 2;
    assert!(granted(store, "one", &[window("w", 10, 4)], NOW).await);
    assert!(raised(store, "one", &[window("w", 10, 9)], half).await);
    assert_eq!(remaining(store, window("w", 10, 0), half).await, 1);
    // What the reservation took is free a period after it, what the raise took a period after that.
    let answer = raise(store, "one", &[window("w", 10, 11)], half).await;
    let Raise::Limited { claim: 0, retry_after_ms: Some(wait), .. } = answer else { panic!("{answer:?}") };
    assert!((MINUTE / 2..MINUTE / 2 + MINUTE / 30).contains(&wait), "{wait}");
    assert_eq!(remaining(store, window("w", 10, 0), half + wait - 1).await, 1);
    assert!(!granted(store, "two", &[window("w", 10, 6)], half + wait).await);
    assert!(granted(store, "two", &[window("w", 10, 5)], half + wait).await);
    let over = half + MINUTE + MINUTE / 30;
    assert_eq!(remaining(store, window("w", 10, 0), over).await, 5);
}

pub async fn no_phantom_refusal_of_a_stream_that_holds_a_little_each_period(store: &dyn Store) {
    assert!(granted(store, "one", &[window("w", 10, 10)], NOW).await);
    assert!(!raised(store, "one", &[window("w", 10, 11)], NOW).await);
    for round in 1..20 {
        // In all it holds far more than the limit, but never in one period.
        let now = NOW + round * (MINUTE + MINUTE / 30);
        assert!(raised(store, "one", &[window("w", 10, 10 + round * 10)], now).await, "{round}");
        assert!(!raised(store, "one", &[window("w", 10, 11 + round * 10)], now).await, "{round}");
    }
    let answer = raise(store, "one", &[window("w", 10, MOST_UNITS + 1)], NOW + 20 * MINUTE).await;
    assert!(matches!(answer, Raise::Limited { claim: 0, retry_after_ms: None, .. }), "{answer:?}");
}

pub async fn no_phantom_refusal_after_a_raised_hold_gives_back(store: &dyn Store) {
    let claims = |amount| [window("w", 10, amount), budget("b", 10, amount)];
    for (number, (real, left)) in [(9, 1), (6, 4), (2, 8), (0, 10)].into_iter().enumerate() {
        let (id, now) = (format!("hold-{number}"), NOW + number as u64 * 3 * MINUTE);
        let cells = |amount| claims(amount).map(|it| Claim { cell: format!("{}{number}", it.cell), ..it });
        assert!(granted(store, &id, &cells(4), now).await);
        assert!(raised(store, &id, &cells(7), now + 20_000).await);
        assert!(raised(store, &id, &cells(10), now + 40_000).await);
        assert_eq!(settle(store, &id, Charge::Amounts(&[real, real]), now + 45_000).await, Settled::Done);
        for claim in cells(0) {
            assert_eq!(remaining(store, claim, now + 45_000).await, left, "{real}");
        }
        // It was used in the order in which it was taken.
        let [window, _] = cells(0);
        let later = real.saturating_sub(4);
        assert_eq!(remaining(store, window, now + MINUTE + MINUTE / 30).await, 10 - later, "{real}");
    }
}

pub async fn no_phantom_refusal_in_a_budget_that_ended_under_an_open_hold(store: &dyn Store) {
    let late = END - 1_000;
    assert!(granted(store, "one", &[budget("b", 10, 4)], late).await);
    for minutes in [1, 3, 5, 7] {
        let now = END + minutes * MINUTE;
        store.expire(now).await.unwrap();
        assert!(raised(store, "one", &[budget("b", 10, 3 + minutes)], now - 1_000).await, "{minutes}");
    }
    let over = END + 8 * MINUTE;
    let answer = raise(store, "one", &[budget("b", 11, 12)], over).await;
    assert!(matches!(answer, Raise::Limited { claim: 0, retry_after_ms: None, .. }), "{answer:?}");
    // never over-admit: the period is over, its limit is not.
    assert!(!granted(store, "two", &[budget("b", 10, 1)], over).await);
    assert_eq!(settle(store, "one", Charge::Amounts(&[5]), over).await, Settled::Done);
    assert_eq!(remaining(store, budget("b", 10, 0), over).await, 5);
}

pub async fn a_raise_that_comes_again_takes_nothing_more(store: &dyn Store) {
    let claims = |amount| [budget("b", 10, amount), window("w", 10, amount)];
    assert!(granted(store, "one", &claims(4), NOW).await);
    for _ in 0..3 {
        let answer = raise(store, "one", &claims(10), NOW).await;
        let Raise::Granted { standings, .. } = answer else { panic!("{answer:?}") };
        assert!(standings.iter().all(|standing| standing.remaining == 0), "{standings:?}");
    }
    // Nor does its reservation.
    assert!(granted(store, "one", &claims(4), NOW).await);
    assert_eq!(settle(store, "one", Charge::Amounts(&[6, 7]), NOW).await, Settled::Done);
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 4);
    assert_eq!(remaining(store, window("w", 10, 0), NOW).await, 3);
}

pub async fn a_raise_to_less_changes_nothing(store: &dyn Store) {
    let claims = |amount| [budget("b", 10, amount), window("w", 10, amount)];
    assert!(granted(store, "one", &claims(2), NOW).await);
    assert!(raised(store, "one", &claims(8), NOW).await);
    // One that was on its way for long, and one with a limit that is lower by now.
    assert!(raised(store, "one", &claims(5), NOW).await);
    assert!(raised(store, "one", &[budget("b", 5, 8), window("w", 0, 0)], NOW).await);
    for claim in claims(0) {
        assert_eq!(remaining(store, claim, NOW).await, 2);
    }
    store.expire(NOW + LEASE).await.unwrap();
    assert_eq!(all_rows(store).await, [entry("one", 8)], "as the raise to 8 said");
}

pub async fn a_raise_that_is_refused_changes_nothing(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b", 10, 2), slots("s", 3, 1)], NOW).await);
    for claims in [[budget("b", 10, 11), slots("s", 3, 1)], [budget("b", 1, 3), slots("s", 3, 1)]] {
        assert!(!raised(store, "one", &claims, NOW + 5).await);
    }
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 8);
    assert_eq!(store.expire(NOW + LEASE).await, Ok(1), "its lease is what it was");
    assert_eq!(all_rows(store).await, [entry("one", 2)]);
}

pub async fn a_raise_above_its_budget_is_never_granted(store: &dyn Store) {
    assert!(granted(store, "one", &[window("w", 10, 10), budget("b", 10, 6)], NOW).await);
    // 5 more are within the limit, but all of it is not; and a window has a wait that helps.
    let answer = raise(store, "one", &[window("w", 10, 12), budget("b", 10, 11)], NOW).await;
    assert!(matches!(answer, Raise::Limited { claim: 1, retry_after_ms: None, .. }), "{answer:?}");
    let answer = raise(store, "one", &[window("w", 10, 21), budget("b", 10, 6)], NOW).await;
    assert!(matches!(answer, Raise::Limited { claim: 0, retry_after_ms: None, .. }), "{answer:?}");
}

pub async fn a_raise_of_what_is_not_open_is_gone(store: &dyn Store) {
    let claims = [budget("b", 10, 3), window("w", 10, 3)];
    assert_eq!(raise(store, "never", &claims, NOW).await, Raise::Gone);
    for id in ["settled", "lapsed", "open"] {
        assert!(granted(store, id, &[budget("b", 10, 1), window("w", 10, 1)], NOW).await);
    }
    settle(store, "settled", Charge::Held, NOW).await;
    assert_eq!(raise(store, "settled", &claims, NOW).await, Raise::Gone);
    let [money, rate] = claims.clone();
    let turned = vec![rate, money.clone()];
    for others in [vec![], vec![money], turned, vec![budget("b", 10, 3), window("v", 10, 3)]] {
        assert_eq!(raise(store, "open", &others, NOW).await, Raise::Gone, "{others:?}");
    }
    assert_eq!(raise(store, "lapsed", &claims, NOW + LEASE).await, Raise::Gone);
    store.expire(NOW + LEASE).await.unwrap();
    assert_eq!(raise(store, "lapsed", &claims, NOW).await, Raise::Gone);
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 7);
    assert_eq!(all_rows(store).await.len(), 3);
}

pub async fn a_raise_leaves_slots_and_moves_the_lease(store: &dyn Store) {
    let claims = |money, places| [budget("b", 100, money), slots("s", 2, places)];
    assert!(granted(store, "one", &claims(1, 1), NOW).await);
    assert!(raised(store, "one", &claims(2, 9), NOW + LEASE - 1).await);
    assert_eq!(remaining(store, slots("s", 2, 0), NOW + LEASE).await, 1);
    // A shorter lease never brings the end nearer.
    let row = Arc::new(entry("one", 3));
    let hold = Hold { entry: &row, claims: &claims(3, 1), lease_ms: 1 };
    assert!(matches!(store.raise(hold, NOW + LEASE).await, Ok(Raise::Granted { .. })));
    assert_eq!(store.expire(NOW + 2 * LEASE - 2).await, Ok(0));
    assert_eq!(remaining(store, slots("s", 2, 0), NOW + 2 * LEASE - 2).await, 1);
    settle(store, "one", Charge::Held, NOW + 2 * LEASE - 2).await;
    assert_eq!(remaining(store, slots("s", 2, 0), NOW + 2 * LEASE - 2).await, 2);
}

pub async fn a_raise_under_a_new_limit_goes_by_it(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b", 10, 6), window("w", 10, 6)], NOW).await);
    assert!(!raised(store, "one", &[budget("b", 7, 8), window("w", 10, 6)], NOW).await);
    assert!(!raised(store, "one", &[budget("b", 10, 6), window("w", 7, 8)], NOW).await);
    assert!(raised(store, "one", &[budget("b", 30, 20), window("w", 30, 20)], NOW).await);
    // Of another period: what was counted is counted on.
    let hour = Rule::Window { limit: 30, period_ms: 60 * MINUTE };
    let claims = |amount| [budget("b", 30, 20), Claim { rule: hour, ..window("w", 0, amount) }];
    assert!(!raised(store, "one", &claims(31), NOW + 1).await);
    assert!(raised(store, "one", &claims(30), NOW + 1).await);
    let [_, claim] = claims(0);
    assert_eq!(remaining(store, claim, NOW + 1).await, 0);
}

pub async fn settle_once_charges_what_a_hold_was_raised_to(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b", 100, 10), window("w", 100, 10)], NOW).await);
    assert!(raised(store, "one", &[budget("b", 100, 40), window("w", 100, 30)], NOW + 5_000).await);
    let row = Arc::new(Entry { outcome: Outcome::PolicyFailed, ..entry("one", 40) });
    assert_eq!(store.settle(&row, Charge::Held, NOW + 9_000).await, Ok(Settled::Done));
    assert_eq!(store.settle(&row, Charge::Held, NOW + 9_000).await, Ok(Settled::Already));
    assert_eq!(raise(store, "one", &[budget("b", 100, 50), window("w", 100, 50)], NOW).await, Raise::Gone);
    assert_eq!(remaining(store, budget("b", 100, 0), NOW + 9_000).await, 60);
    assert_eq!(remaining(store, window("w", 100, 0), NOW + 9_000).await, 70);
    assert_eq!(all_rows(store).await, [Entry::clone(&row)]);
}

pub async fn a_raised_hold_that_is_lost_is_charged_as_raised(store: &dyn Store) {
    assert!(granted(store, "one", &[budget("b", 100, 10)], NOW).await);
    assert!(raised(store, "one", &[budget("b", 100, 25)], NOW + 5).await);
    assert_eq!(store.expire(NOW + LEASE + 4).await, Ok(0));
    assert_eq!(store.expire(NOW + LEASE + 5).await, Ok(1));
    // conservation: its row says what its budget counts.
    assert_eq!(all_rows(store).await, [entry("one", 25)]);
    assert_eq!(remaining(store, budget("b", 100, 0), NOW + LEASE + 5).await, 75);
    // Without a claim there is nothing to take; the row is the raise's all the same.
    assert!(granted(store, "free", &[], NOW).await);
    let row = Arc::new(entry("free", 9));
    let hold = Hold { entry: &row, claims: &[], lease_ms: LEASE };
    assert!(matches!(store.raise(hold, NOW).await, Ok(Raise::Granted { .. })));
    assert_eq!(store.expire(NOW + LEASE + 5).await, Ok(1));
    assert!(all_rows(store).await.contains(&row));
}

pub async fn conservation_after_raises_for_every_charge(store: &dyn Store) {
    let charges = [
        (Charge::Held, 9),
        (Charge::Nothing, 0),
        (Charge::Amounts(&[3]), 3),
        (Charge::Amounts(&[14]), 14),
        (Charge::Amounts(&[]), 9),
    ];
    let mut left = 1_000;
    for (number, (charge, cost)) in charges.into_iter().enumerate() {
        let id = format!("hold-{number}");
        assert!(granted(store, &id, &[budget("b", 1_000, 4), window("w", 1_000, 4)], NOW).await);
        for amount in [6, 9] {
            let claims = [budget("b", 1_000, amount), window("w", 1_000, amount)];
            assert!(raised(store, &id, &claims, NOW + amount * 1_000).await);
            assert_eq!(remaining(store, budget("b", 1_000, 0), NOW).await, left - amount);
        }
        settle(store, &id, charge, NOW + 10_000).await;
        left -= cost;
        assert_eq!(remaining(store, budget("b", 1_000, 0), NOW).await, left);
    }
    // Where the amounts say nothing of the window it is charged as held, which is what it was raised to.
    assert_eq!(remaining(store, window("w", 1_000, 0), NOW + 10_000).await, 1_000 - 4 * 9);
}

pub async fn what_a_raise_granted_is_durable(store: &dyn Store) {
    reserve(store, "one", &[budget("b", 10, 1)], NOW).await;
    let mut before = None;
    for amount in [3, 3, 5] {
        let answer = raise(store, "one", &[budget("b", 10, amount)], NOW).await;
        let Raise::Granted { position, .. } = answer else { panic!("{answer:?}") };
        assert!(before <= Some(position), "places grow");
        store.durable(position).await.unwrap();
        before = Some(position);
    }
    assert_eq!(remaining(store, budget("b", 10, 0), NOW).await, 5);
}
