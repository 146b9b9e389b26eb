//! Exchanges of one thread go from stage to stage side by side.
//!
//! An exchange runs through more code than a processor has at hand: its head is read, the policy asked, the ledger
//! asked, the upstream written to. Were each to run alone from one wait to the next, every one would fetch all of that
//! code anew, and wait for it most of the time. So whoever comes to a new stage lets the others of its thread come there
//! too, and the code of a stage is fetched once for all of them. Nobody waits for who is not ready: first runs only what
//! was the thread's to run next anyway. Larus and Parkes call it cohort scheduling ("Using Cohort Scheduling to Enhance
//! Server Performance", USENIX 2002).
//!
//! Only the threads of [`crate::server`] do so. On a runtime of several threads, one that lets others go first would be
//! carried to another thread.

use std::cell::Cell;
use std::task::Poll;

use crate::lane;

thread_local! {
    /// The exchanges of this thread that are not answered yet.
    static UNDER_WAY: Cell<usize> = const { Cell::new(0) };
    /// Who is being polled lets others go first.
    static STEPS_BACK: Cell<bool> = const { Cell::new(false) };
}

/// An exchange that is not answered yet, on a thread that keeps it to its end.
pub(crate) struct UnderWay(());

impl UnderWay {
    /// None where others may take the exchange over.
    pub(crate) fn begin() -> Option<Self> {
        lane::is_own().then(|| {
            UNDER_WAY.set(UNDER_WAY.get().saturating_add(1));
            Self(())
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.set(UNDER_WAY.get().saturating_sub(1));
    }
}

/// Lets the other exchanges of this thread come to where this one is, if there are any.
pub(crate) async fn next() {
    if UNDER_WAY.get() < 2 {
        return;
    }
    let mut is_back = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut is_back, true) {
            // Whoever polls twice in a row has not asked.
            STEPS_BACK.set(false);
            return Poll::Ready(());
        }
        STEPS_BACK.set(true);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether what was polled just now lets others go first. Asked once, it is forgotten.
pub(crate) fn steps_back() -> bool {
    STEPS_BACK.replace(false)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::thread;

    use tokio::task::LocalSet;

    use super::*;
    use crate::again::Again;

    const STEPS: [&str; 3] = ["reads", "asks", "writes"];

    /// What so many exchanges of one thread do, one step after the other.
    fn steps(exchanges: usize, is_own: bool) -> Vec<(usize, &'static str)> {
        let run = move || {
            if is_own {
                lane::enter(1);
            }
            let (tasks, done) = (LocalSet::new(), Rc::new(RefCell::new(Vec::new())));
            for exchange in 0..exchanges {
                let (under_way, done) = (UnderWay::begin(), Rc::clone(&done));
                assert_eq!(under_way.is_some(), is_own);
                tasks.spawn_local(Again::new(async move {
                    for step in STEPS {
                        next().await;
                        done.borrow_mut().push((exchange, step));
                    }
                    drop(under_way);
                }));
            }
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(tasks);
            assert_eq!(UNDER_WAY.get(), 0);
            done.take()
        };
        thread::spawn(run).join().unwrap()
    }

    #[test]
    fn exchanges_of_one_thread_go_from_stage_to_stage_together() {
        let together = STEPS.map(|step| [(0, step), (1, step), (2, step)]).concat();
        assert_eq!(steps(3, true), together);
    }

    #[test]
    fn elsewhere_each_goes_on_by_itself() {
        let alone = [0, 1, 2].map(|exchange| STEPS.map(|step| (exchange, step))).concat();
        assert_eq!(steps(3, false), alone);
    }

    #[test]
    fn nobody_steps_back_for_nobody() {
        assert_eq!(steps(1, true), STEPS.map(|step| (0, step)));
        assert!(!steps_back());
    }
}
