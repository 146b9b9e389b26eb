//! Many threads on one store: exactly as much is granted as there is, and nobody waits for anybody in a circle.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tollgate_contract::operations::Random;
use tollgate_contract::{LEASE, NOW, budget, entry, slots, window};
use tollgate_ledger::{
    Books, Charge, Claim, Event, Hold, Journal, Position, Raise, Reservation, Settled, Unkept,
};

const THREADS: usize = 8;

/// Reserves for one exchange, of any journal.
fn granted(books: &Books<impl Journal>, id: &str, claims: &[Claim]) -> bool {
    let entry = Arc::new(entry(id, 1));
    let answer = books.reserve(Hold { entry: &entry, claims, lease_ms: LEASE }, NOW);
    matches!(answer, Reservation::Granted { .. })
}

/// Raises its hold, of any journal.
fn raised(books: &Books<impl Journal>, id: &str, claims: &[Claim]) -> bool {
    let entry = Arc::new(entry(id, 1));
    matches!(books.raise(Hold { entry: &entry, claims, lease_ms: LEASE }, NOW), Raise::Granted { .. })
}

/// Does it on every thread, and sums what they say.
fn on_all(work: impl Fn(usize) -> usize + Sync) -> usize {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let work = &work;
                    move || work(thread)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[test]
fn never_over_admit_grants_exactly_the_budget_among_a_thousand_reservations() {
    for repeat in 0..100_usize {
        let budget_of = 1 + repeat * 9 % 1_000;
        let books = Books::new(Unkept);
        let claims = [window("w", 1_000_000, 1), budget("b", budget_of as u64, 1), slots("s", 1_000, 1)];
        let grants = on_all(|thread| {
            let mine = (thread..1_000).step_by(THREADS);
            mine.filter(|number| granted(&books, &format!("hold-{number}"), &claims)).count()
        });
        assert_eq!(grants, budget_of);
        let left = books.standings(&claims, NOW).iter().map(|left| left.remaining).collect::<Vec<_>>();
        assert_eq!(left, [1_000_000 - grants as u64, 0, 1_000 - grants as u64]);
    }
}

#[test]
fn never_over_admit_grants_exactly_the_budget_among_a_thousand_raises() {
    for repeat in 0..50_usize {
        let more = 1 + repeat * 37 % 1_000;
        let books = Books::new(Unkept);
        let claims = |amount| [window("w", 1_000_000, amount), budget("b", 1_000 + more as u64, amount)];
        let ids: Vec<String> = (0..1_000).map(|number| format!("hold-{number}")).collect();
        assert!(ids.iter().all(|id| granted(&books, id, &claims(1))));
        // Each is asked for by two threads at once.
        let raises = on_all(|thread| {
            let mine = ids.iter().skip(thread / 2).step_by(THREADS / 2);
            mine.filter(|id| raised(&books, id, &claims(2))).count()
        });
        assert_eq!(books.standings(&claims(0), NOW)[1].remaining, 0);
        assert_eq!(books.standings(&claims(0), NOW)[0].remaining, 1_000_000 - 1_000 - more as u64);
        assert!((more..=2 * more).contains(&raises), "{more} holds, each once or twice: {raises}");
    }
}

#[test]
fn settle_once_among_threads_that_settle_and_expire_the_same_holds() {
    for _ in 0..20 {
        let (rows, done) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let books = Books::new(Rows(Arc::clone(&rows)));
        let claims = [budget("b", 1_000, 1)];
        let ids: Vec<String> = (0..200).map(|number| format!("hold-{number}")).collect();
        assert!(ids.iter().all(|id| granted(&books, id, &claims)));
        let closed = on_all(|thread| {
            // Every other thread's clock is past the lease of every hold.
            if thread % 2 == 0 {
                return books.expire(NOW + LEASE);
            }
            let settle =
                |id: &&String| books.settle(&Arc::new(entry(id, 0)), Charge::Nothing, NOW) == Settled::Done;
            let settled = ids.iter().filter(settle).count();
            done.fetch_add(settled, Ordering::Relaxed);
            settled
        });
        assert_eq!((closed, rows.load(Ordering::Relaxed)), (200, 200));
        // conservation: those that were lost stay charged, those that were settled with nothing do not.
        let lost = closed - done.load(Ordering::Relaxed);
        assert_eq!(books.standings(&claims, NOW)[0].remaining, 1_000 - lost as u64);
    }
}

/// Counts the rows that are written.
struct Rows(Arc<AtomicUsize>);

impl Journal for Rows {
    const KEEPS_CELLS: bool = true;

    fn note(&self, event: Event<'_>) -> Position {
        if let Event::Closed { .. } = event {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Position::default()
    }

    fn position(&self) -> Position {
        Position::default()
    }
}

/// Ends only if nobody waits in a circle: cells that overlap are claimed in every order, while holds are renewed,
/// settled and expired and the books are read as a whole.
#[test]
fn nobody_waits_in_a_circle_whatever_the_order_of_claims() {
    let books = Books::new(Unkept);
    let cells: Vec<Claim> = (0..6)
        .map(|number| match number % 3 {
            0 => window(&format!("cell-{number}"), 1_000_000, 1),
            1 => budget(&format!("cell-{number}"), 1_000_000, 1),
            _ => slots(&format!("cell-{number}"), 1_000_000, 1),
        })
        .collect();
    let charged = on_all(|thread| {
        let mut random = Random::new(thread as u64);
        let mut charged = 0;
        for number in 0..3_000 {
            let id = format!("hold-{thread}-{number}");
            let mut claims = cells.clone();
            (0..6).for_each(|at| claims.swap(at, random.below(6) as usize));
            assert!(granted(&books, &id, &claims));
            match random.below(8) {
                0 => assert!(books.renew(&id, 2 * LEASE, NOW)),
                1 => drop(books.standings(&claims, NOW)),
                2 => assert_eq!(books.expire(NOW), 0),
                4 => assert!(raised(&books, &id, &claims)),
                3 if number % 100 == 0 => drop(books.snapshot(NOW)),
                _ => {}
            }
            let charge = if random.below(2) == 0 { Charge::Held } else { Charge::Nothing };
            charged += usize::from(charge == Charge::Held);
            assert_eq!(books.settle(&Arc::new(entry(&id, 1)), charge, NOW), Settled::Done);
        }
        charged
    });
    for (claim, left) in std::iter::zip(&cells, books.standings(&cells, NOW)) {
        let used = if claim.cell.ends_with(['2', '5']) { 0 } else { charged as u64 };
        assert_eq!(left.remaining, 1_000_000 - used, "{}", claim.cell);
    }
    assert!(books.snapshot(NOW).holds.is_empty());
}
