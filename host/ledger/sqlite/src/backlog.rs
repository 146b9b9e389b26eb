//! What has happened in memory and is not in the file yet, and how far the file is.
//!
//! [`Backlog`] is the journal of the books: it takes each change under their locks, so the order of its queue is the
//! order in which things happened, and it never waits. The writer's thread takes the queue from the other end and
//! says what became of it. Nothing here touches the file.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tollgate_ledger::cell::Cell;
use tollgate_ledger::{Entry, Event, Journal, Part, Position, Unavailable};

/// With so many changes that are not in the file, nothing more is granted. The disk is seconds behind then.
const MOST_PENDING: u64 = 50_000;

/// A batch that takes longer is on a disk that does not answer, and nothing more is granted.
const LONGEST_BATCH_MS: u64 = 2_000;

/// Changes on their way to the file.
pub struct Backlog {
    queue: Mutex<Queue>,
    news: Condvar,
    progress: watch::Sender<Progress>,
    made: Instant,
    /// Since when the writer is busy with a batch, in milliseconds after `made`; 0: it is not.
    busy_since_ms: AtomicU64,
}

/// What the writer takes.
#[derive(Default)]
pub struct Queue {
    /// In their order.
    pub changes: Vec<Change>,
    /// The place of the last change.
    pub noted: u64,
    /// Since when counters that are over may be deleted, if somebody asked for it: milliseconds since the epoch.
    pub sweep: Option<u64>,
    /// Whether the store is being dropped.
    pub closing: bool,
    /// Whether the writer waits for news.
    idle: bool,
}

/// One change of the books.
pub struct Change {
    /// What became of a hold.
    pub turn: Turn,
    /// The cells it changed, as they were after it.
    pub cells: Vec<(Arc<str>, Cell)>,
}

/// What became of a hold.
pub enum Turn {
    /// It was opened.
    Opened(Opened),
    /// It was raised.
    Raised(Opened),
    /// Its lease was moved.
    Renewed {
        /// Its id.
        hold: Box<str>,
        /// When its lease ends: milliseconds since the epoch.
        until_ms: u64,
        /// How long its lease is, in milliseconds.
        lease_ms: u64,
    },
    /// It was closed.
    Closed(Arc<Entry>),
}

/// An open hold.
pub struct Opened {
    /// Its row, if nobody settles it.
    pub entry: Arc<Entry>,
    /// When its lease ends: milliseconds since the epoch.
    pub until_ms: u64,
    /// How long its lease is, in milliseconds.
    pub lease_ms: u64,
    /// What it holds.
    pub parts: Vec<Part>,
}

/// How far the file is.
#[derive(Default)]
struct Progress {
    durable: u64,
    fault: Option<Arc<str>>,
}

impl Backlog {
    pub fn new() -> Self {
        Self {
            queue: Mutex::default(),
            news: Condvar::new(),
            progress: watch::Sender::default(),
            made: Instant::now(),
            busy_since_ms: AtomicU64::new(0),
        }
    }

    /// Why nothing may be granted now, if so.
    pub fn fault(&self) -> Option<Cow<'static, str>> {
        let progress = self.progress.borrow();
        if let Some(fault) = &progress.fault {
            return Some(Cow::Owned(fault.to_string()));
        }
        let durable = progress.durable;
        drop(progress);
        let since = self.busy_since_ms.load(Ordering::Relaxed);
        if since > 0 && self.age_ms().saturating_sub(since) > LONGEST_BATCH_MS {
            return Some(Cow::Borrowed("the disk does not answer"));
        }
        let pending = self.position().0.saturating_sub(durable);
        (pending > MOST_PENDING)
            .then_some(Cow::Borrowed("the disk does not keep up with what is to be written"))
    }

    /// Waits until the file has everything up to this place, or cannot be written.
    pub async fn durable(&self, position: Position) -> Result<(), Unavailable> {
        if self.progress.borrow().durable >= position.0 {
            return Ok(());
        }
        let mut news = self.progress.subscribe();
        let ready = |progress: &Progress| progress.durable >= position.0 || progress.fault.is_some();
        let Ok(progress) = news.wait_for(ready).await else {
            return Err(Unavailable::new("the store is closed"));
        };
        match &progress.fault {
            Some(fault) if progress.durable < position.0 => Err(Unavailable::new(fault.to_string())),
            _ => Ok(()),
        }
    }

    /// Has the writer delete some of the counters that were over by then: milliseconds since the epoch.
    pub fn sweep(&self, before: u64) {
        self.with(|queue| queue.sweep = Some(before));
    }

    /// Lets the writer write what there is, and end.
    pub fn close(&self) {
        self.with(|queue| queue.closing = true);
        self.news.notify_one();
    }

    /// For the writer: waits for something to do.
    pub fn wait(&self) {
        let mut queue = self.locked();
        queue.idle = true;
        let nothing = |queue: &mut Queue| queue.changes.is_empty() && queue.sweep.is_none() && !queue.closing;
        let waited = self.news.wait_while(queue, nothing);
        waited.unwrap_or_else(PoisonError::into_inner).idle = false;
    }

    /// For the writer: waits for as long as `pause`, but not when the store is being dropped, and moves what there is
    /// by then into `taken`, whose changes have been used.
    pub fn take(&self, pause: Duration, taken: &mut Queue) {
        let waited = self.news.wait_timeout_while(self.locked(), pause, |queue| !queue.closing);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut queue.changes, &mut taken.changes);
        (taken.noted, taken.closing) = (queue.noted, queue.closing);
        taken.sweep = queue.sweep.take();
        self.busy_since_ms.store(self.age_ms().max(1), Ordering::Relaxed);
    }

    /// For the writer: the file has everything up to this place.
    pub fn written(&self, durable: u64) {
        self.busy_since_ms.store(0, Ordering::Relaxed);
        self.progress.send_replace(Progress { durable, fault: None });
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// For the writer: the file cannot be written.
    pub fn failed(&self, reason: String) {
        self.progress.send_modify(|progress| progress.fault = Some(reason.into()));
    }

    fn with(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.locked();
        change(&mut queue);
        if queue.idle {
            queue.idle = false;
            drop(queue);
            self.news.notify_one();
        }
    }

    /// Nothing under the lock panics; a poisoned one would still hold a sound queue.
    fn locked(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Backlog {
    const KEEPS_CELLS: bool = true;

    fn note(&self, event: Event<'_>) -> Position {
        let change = Change::from(event);
        let mut noted = 0;
        self.with(|queue| {
            queue.noted = queue.noted.saturating_add(1);
            noted = queue.noted;
            queue.changes.push(change);
        });
        Position(noted)
    }

    fn position(&self) -> Position {
        Position(self.locked().noted)
    }
}

impl From<Event<'_>> for Change {
    fn from(event: Event<'_>) -> Self {
        let opened = |entry: &Arc<Entry>, until_ms, lease_ms, parts: &[Part]| Opened {
            entry: Arc::clone(entry),
            until_ms,
            lease_ms,
            parts: parts.to_vec(),
        };
        match event {
            Event::Reserved { entry, until_ms, lease_ms, parts, cells } => {
                Self { turn: Turn::Opened(opened(entry, until_ms, lease_ms, parts)), cells }
            }
            Event::Raised { entry, until_ms, lease_ms, parts, cells } => {
                Self { turn: Turn::Raised(opened(entry, until_ms, lease_ms, parts)), cells }
            }
            Event::Renewed { hold, until_ms, lease_ms, cells } => {
                Self { turn: Turn::Renewed { hold: hold.into(), until_ms, lease_ms }, cells }
            }
            Event::Closed { entry, cells } => Self { turn: Turn::Closed(Arc::clone(entry)), cells },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(backlog: &Backlog, times: u64) -> Position {
        let one =
            || backlog.note(Event::Renewed { hold: "one", until_ms: 1, lease_ms: 1, cells: Vec::new() });
        (0..times).fold(Position::default(), |_, _| one())
    }

    #[test]
    fn a_disk_that_is_too_slow_lets_nothing_be_granted() {
        let backlog = Backlog::new();
        assert_eq!(note(&backlog, MOST_PENDING), Position(MOST_PENDING));
        assert_eq!(backlog.fault(), None);
        note(&backlog, 1);
        assert!(backlog.fault().unwrap().contains("does not keep up"));
        backlog.written(1);
        assert_eq!(backlog.fault(), None);
    }

    #[test]
    fn what_is_written_wakes_who_waits_for_it_and_a_fault_wakes_all() {
        let (backlog, mut queue) = (Backlog::new(), Queue::default());
        let (first, second) = (note(&backlog, 1), note(&backlog, 1));
        backlog.wait();
        backlog.take(Duration::ZERO, &mut queue);
        assert_eq!((queue.changes.len(), queue.noted), (2, 2));
        let wait = |position| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(backlog.durable(position))
        };
        std::thread::scope(|scope| {
            let (one, two) = (&wait, &wait);
            let waits = [scope.spawn(move || one(first)), scope.spawn(move || two(second))];
            backlog.written(1);
            backlog.failed("full".into());
            let answers = waits.map(|wait| wait.join().unwrap());
            assert_eq!(answers, [Ok(()), Err(Unavailable::new("full"))]);
        });
        assert_eq!(wait(first), Ok(()), "what is durable stays so");
        backlog.written(2);
        assert_eq!((wait(second), backlog.fault()), (Ok(()), None));
    }
}
