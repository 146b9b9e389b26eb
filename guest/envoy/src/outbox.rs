//! What the server is told and nobody waits for: settlements, leases, breakers.
//!
//! INVARIANT (settle once): a settlement stays here until the server has answered it, however often it must be sent. It
//! names its hold, so one that comes twice has effect once. What is lost with this worker is closed by its lease, charged
//! as held.
//!
//! An exchange that ends cannot send by itself, because Envoy drops the calls of a request that is over. So it leaves a
//! letter, rings a bell (a shared queue of Envoy), and the root context sends.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;
use tollgate_ledger::{Charged, Entry, Hold, Reservation, Settled};
use tollgate_remote::Call;

use crate::ledger::Place;
use crate::plugin::log;
use crate::server::{Server, read};
use crate::{chance, head};

/// How long the server may take where nobody waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// After so long Envoy will not answer any more: the root context that asked is gone.
const LOST_MS: u64 = 30_000;

/// How long a letter waits after its first failure, doubled each time, and at most.
const PAUSE_MS: u64 = 1_000;
const MOST_PAUSE_MS: u64 = 32_000;

/// Letters that are under way at once.
const UNDER_WAY: usize = 64;

/// Letters that wait at most; then the oldest is given up, and its hold ends by its lease.
const MOST: usize = 10_000;

thread_local! {
    static OUTBOX: RefCell<Outbox> = RefCell::default();
    /// The queue that wakes this worker's root context.
    static BELL: Cell<Option<u32>> = const { Cell::new(None) };
}

#[derive(Default)]
struct Outbox {
    waiting: VecDeque<Letter>,
    /// By the token of Envoy's answer, with the time of sending.
    sent: BTreeMap<u32, (u64, Letter)>,
    /// The bell has been rung and not been heard yet.
    rung: bool,
}

/// Something to tell the server.
struct Letter {
    to: Rc<Server>,
    /// The hold or the upstream that it is about.
    of: String,
    says: Says,
    /// What the row is, where the server may know nothing of the hold.
    by_share: Option<Settlement>,
    failures: u32,
    not_before_ms: u64,
}

enum Says {
    /// What an exchange cost.
    Settle(Call<Settled>),
    /// A hold of nothing, for a row that is then settled.
    Open(Call<Reservation>),
    /// That a hold is still alive.
    Renew(Call<bool>),
    /// What became of a try.
    Tell(Call<()>),
}

/// What an exchange cost.
pub struct Settlement {
    /// Its row.
    pub entry: Arc<Entry>,
    /// What is charged.
    pub charged: Charged,
    /// When: milliseconds since the epoch.
    pub now: u64,
}

/// Has the root context woken when there is something to send. Called by it.
pub fn listen() {
    // Each worker has its own.
    BELL.set(hostcalls::register_shared_queue(&format!("outbox/{}", chance::vm())).ok());
}

/// Settles what was granted.
pub fn settle(to: &Rc<Server>, settlement: Settlement, at: Place) {
    let says = Says::Settle(settlement.settle());
    let mut letter = Letter::new(to, &settlement.entry.request_id, says);
    match at {
        Place::Books => {}
        // Not before Envoy has given up the question, or it might come after its settlement.
        Place::Perhaps => letter.not_before_ms = settlement.now.saturating_add(to.timeout_ms()),
        Place::Share => letter.by_share = Some(settlement),
    }
    put(letter);
}

/// Moves a lease.
pub fn renew(to: &Rc<Server>, hold: &str, lease_ms: u64, now: u64) {
    put(Letter::new(to, hold, Says::Renew(Call::renew(hold, lease_ms, now))));
}

/// Tells a breaker.
pub fn tell(to: &Rc<Server>, upstream: &str, call: Call<()>) {
    put(Letter::new(to, upstream, Says::Tell(call)));
}

fn put(letter: Letter) {
    let must_ring = OUTBOX.with_borrow_mut(|outbox| {
        if outbox.waiting.len() >= MOST
            && let Some(oldest) = outbox.waiting.pop_front()
        {
            oldest.lost("too much waits for the server");
        }
        outbox.waiting.push_back(letter);
        !std::mem::replace(&mut outbox.rung, true)
    });
    if must_ring && let Some(bell) = BELL.get() {
        // Unheard, it waits for the next tick.
        let _ = hostcalls::enqueue_shared_queue(bell, None);
    }
}

/// The bell was heard.
pub fn woken(bell: u32) {
    let _ = hostcalls::dequeue_shared_queue(bell);
    flush();
}

/// Sends what is due. Called by the root context, for Envoy answers whoever asks.
pub fn flush() {
    let now = head::now();
    OUTBOX.with_borrow_mut(|outbox| {
        outbox.rung = false;
        outbox.take_back(now);
        let mut later = VecDeque::new();
        while outbox.sent.len() < UNDER_WAY
            && let Some(letter) = outbox.waiting.pop_front()
        {
            if letter.not_before_ms > now {
                later.push_back(letter);
                continue;
            }
            match letter.send() {
                Ok(token) => drop(outbox.sent.insert(token, (now, letter))),
                Err(cause) => later.extend(letter.failed(&cause, now)),
            }
        }
        outbox.waiting.append(&mut later);
    });
}

/// Envoy has an answer for the root context.
pub fn answered(token: u32) {
    let Some((_, letter)) = OUTBOX.with_borrow_mut(|outbox| outbox.sent.remove(&token)) else { return };
    let more = letter.answered(head::now());
    let is_due = OUTBOX.with_borrow_mut(|outbox| {
        outbox.waiting.extend(more);
        !outbox.waiting.is_empty()
    });
    if is_due {
        flush();
    }
}

impl Outbox {
    /// Takes back what will not be answered any more.
    fn take_back(&mut self, now: u64) {
        let is_lost = |(_, (sent_ms, _)): &(&u32, &(u64, Letter))| now.abs_diff(*sent_ms) > LOST_MS;
        let lost: Vec<u32> = self.sent.iter().filter(is_lost).map(|(token, _)| *token).collect();
        self.waiting
            .extend(lost.iter().filter_map(|token| self.sent.remove(token)).map(|(_, letter)| letter));
    }
}

impl Settlement {
    fn settle(&self) -> Call<Settled> {
        Call::settle(&self.entry, self.charged.lend(), self.now)
    }

    fn open(&self) -> Call<Reservation> {
        let lease_ms = u64::from(u32::MAX);
        Call::reserve(Hold { entry: &self.entry, claims: &[], lease_ms }, self.now)
    }
}

impl Letter {
    fn new(to: &Rc<Server>, of: &str, says: Says) -> Self {
        Self { to: Rc::clone(to), of: of.to_owned(), says, by_share: None, failures: 0, not_before_ms: 0 }
    }

    fn send(&self) -> Result<u32, String> {
        match &self.says {
            Says::Settle(call) => self.to.send(call, PATIENCE),
            Says::Open(call) => self.to.send(call, PATIENCE),
            Says::Renew(call) => self.to.send(call, PATIENCE),
            Says::Tell(call) => self.to.send(call, PATIENCE),
        }
    }

    /// Reads the answer; what must be sent after it.
    fn answered(mut self, now: u64) -> Option<Self> {
        let next = match &self.says {
            Says::Settle(call) => read(call).map(|settled| self.after(settled)),
            Says::Open(call) => {
                read(call).map(|_| self.by_share.take().map(|settlement| Says::Settle(settlement.settle())))
            }
            Says::Renew(call) => read(call).map(|_| None),
            Says::Tell(call) => read(call).map(|()| None),
        };
        match next {
            Ok(next) => next.map(|says| Self { says, ..self }),
            Err(cause) => self.failed(&cause, now),
        }
    }

    /// What follows a settlement.
    fn after(&self, settled: Settled) -> Option<Says> {
        if settled != Settled::Unknown {
            return None;
        }
        if self.by_share.is_none() {
            log(LogLevel::Error, &format!("{}: the ledger does not know this hold", self.of));
        }
        self.by_share.as_ref().map(|settlement| Says::Open(settlement.open()))
    }

    /// The letter as it is sent again, unless it has no point any more.
    fn failed(mut self, cause: &str, now: u64) -> Option<Self> {
        if let Says::Renew(_) | Says::Tell(_) = self.says {
            // The next one comes before the lease ends; a breaker saves time, it guards nothing.
            self.lost(cause);
            return None;
        }
        if self.failures == 0 {
            log(LogLevel::Warn, &format!("{}: not settled yet, and tried again: {cause}", self.of));
        }
        let pause_ms = PAUSE_MS.saturating_mul(1 << self.failures.min(16)).min(MOST_PAUSE_MS);
        self.not_before_ms = now.saturating_add(pause_ms);
        self.failures = self.failures.saturating_add(1);
        Some(self)
    }

    fn lost(&self, cause: &str) {
        let what = match self.says {
            Says::Settle(_) | Says::Open(_) => "never settled, so its lease will charge what was held",
            Says::Renew(_) => "its lease was not moved",
            Says::Tell(_) => "its breaker was not told",
        };
        log(LogLevel::Error, &format!("{}: {what}: {cause}", self.of));
    }
}
