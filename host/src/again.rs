//! A future that wakes itself is polled again at once, instead of going through the scheduler.
//!
//! A connection's task is both ends of its request's body: hyper feeds it, the exchange reads it. Whenever one end
//! wakes the other, the task wakes itself while it runs. Tokio then queues the task and rouses another thread to
//! steal it, which at one connection costs more than all the rest of an exchange. Who lets others go first
//! ([`crate::stage`]) goes through the scheduler.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use atomic_waker::AtomicWaker;

use crate::stage;

/// How often a future is polled in a row. One that has still more to do lets others have their turn.
const ROUNDS: usize = 8;

/// Nobody polls: a wake goes to the task.
const IDLE: u8 = 0;
/// The future is being polled.
const POLLING: u8 = 1;
/// It was woken meanwhile.
const WOKEN: u8 = 2;

/// Polls a future again when it wakes itself.
pub(crate) struct Again<F> {
    future: Pin<Box<F>>,
    inner: Arc<Inner>,
    /// The waker of `inner`, always the same one, so that whoever keeps it sees that it need not be replaced.
    waker: Waker,
}

struct Inner {
    state: AtomicU8,
    task: AtomicWaker,
}

impl<F: Future> Again<F> {
    pub(crate) fn new(future: F) -> Self {
        let inner = Arc::new(Inner { state: AtomicU8::new(IDLE), task: AtomicWaker::new() });
        Self { future: Box::pin(future), waker: Waker::from(Arc::clone(&inner)), inner }
    }
}

impl<F: Future> Future for Again<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.inner.task.register(cx.waker());
        for _ in 0..ROUNDS {
            this.inner.state.store(POLLING, Ordering::Release);
            if let Poll::Ready(output) = this.future.as_mut().poll(&mut Context::from_waker(&this.waker)) {
                return Poll::Ready(output);
            }
            let settled =
                this.inner.state.compare_exchange(POLLING, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if settled.is_ok() {
                return Poll::Pending;
            }
            if stage::steps_back() {
                break;
            }
        }
        this.inner.state.store(IDLE, Ordering::Release);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken = self.state.compare_exchange(POLLING, WOKEN, Ordering::AcqRel, Ordering::Acquire);
        if woken == Err(IDLE) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Wakes itself so many times, then is ready.
    struct Selfish(usize);

    impl Future for Selfish {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(()) };
            self.0 = left;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    fn poll<F: Future>(future: &mut Again<F>, count: &Arc<Count>) -> (bool, usize) {
        let waker = Waker::from(Arc::clone(count));
        let ready = Pin::new(future).poll(&mut Context::from_waker(&waker)).is_ready();
        (ready, count.0.load(Ordering::SeqCst))
    }

    #[test]
    fn who_wakes_itself_is_polled_again_without_waking_its_task() {
        assert_eq!(poll(&mut Again::new(Selfish(ROUNDS - 1)), &Arc::default()), (true, 0));
    }

    #[test]
    fn who_never_stops_lets_others_have_their_turn() {
        let (mut future, count) = (Again::new(Selfish(ROUNDS)), Arc::default());
        assert_eq!(poll(&mut future, &count), (false, 1));
        assert_eq!(poll(&mut future, &count), (true, 1));
    }

    #[test]
    fn a_wake_from_outside_reaches_the_task_that_polled_last() {
        let slot = Arc::new(AtomicWaker::new());
        let kept = Arc::clone(&slot);
        let mut future = Again::new(std::future::poll_fn(move |cx| {
            kept.register(cx.waker());
            Poll::<()>::Pending
        }));
        let (first, second) = (Arc::default(), Arc::default());
        assert_eq!(poll(&mut future, &first), (false, 0));
        assert_eq!(poll(&mut future, &second), (false, 0));
        slot.wake();
        assert_eq!(first.0.load(Ordering::SeqCst), 0);
        assert_eq!(second.0.load(Ordering::SeqCst), 1);
    }
}
