//! The ledger in Redis or Valkey, version 7 or later: one for many gateways.
//!
//! Every operation is one Lua script (`tollgate-scripts`) and one round trip, so an exchange takes two: reserve and settle. The scripts
//! apply the rules of `tollgate-ledger` and go by the server's clock, so that all gateways agree. This crate keeps no
//! truth of its own but what Redis did not take: settlements wait in a journal on disk, and while Redis is down a
//! share of the rate limits is granted locally ([`Condition::Degraded`]); budgets are refused then.
//!
//! # What Redis must be
//!
//! `maxmemory-policy noeviction`: a cell that is evicted is a limit forgotten. `appendonly yes` with `appendfsync
//! always` makes a grant survive a crash before its answer; `everysec` can lose the last second of them, and so can
//! the switch to a replica. All keys of a namespace have one hash tag: a cluster keeps a namespace on one shard.
//!
//! Keys end by themselves: windows and slots when they count nothing, budgets a day after their period, closed
//! exchanges after a day, breakers after a week of no change. Records of keys stay, and so does the stream of rows,
//! whose oldest are dropped. A closed exchange takes about 140 bytes until its day is over, its row about 400: a
//! million rows are 400 MB. One core of Redis takes some thousand exchanges a second.
//!
//! A server whose clock was far ahead has ended the budgets of that time: when it is right again, they refuse
//! (**never over-admit**), until somebody who knows better deletes `{tollgate}horizon`.
//!
//! # What a gateway may do there
//!
//! ```text
//! ACL SETUSER tollgate on >PASSWORD resetkeys ~{tollgate}* resetchannels -@all +evalsha +script|load +time +get +set
//!     +del +hget +hmget +hset +hdel +hscan +pexpire +zadd +zrem +zrangebyscore +xadd +xrange
//! ```
//!
//! A database other than 0 needs `+select` besides.

#![forbid(unsafe_code)]

mod breakers;
mod charges;
mod evaluate;
mod journal;
mod keeper;
mod keys;
mod known;
mod ledger;
mod link;
mod options;
mod share;

pub use options::{NotOpened, Options};

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tollgate_ledger::Condition;
use tollgate_ledger::breaker::Board;
use tollgate_scripts::{Calls, Names};

use crate::journal::Journal;
use crate::known::Known;
use crate::link::Link;
use crate::share::Share;

/// A [`tollgate_ledger::Store`] in Redis.
pub struct Redis {
    inner: Arc<Inner>,
    keeper: JoinHandle<()>,
}

/// What the store and its keeper share.
struct Inner {
    link: Link,
    journal: Journal,
    share: Share,
    /// Breakers while Redis is down.
    board: Board,
    known: Known,
    /// Told when the keeper has done, or failed to do, what there was to do.
    tried: Notify,
    names: Names,
    rows: u64,
    obeys_callers: bool,
}

impl Redis {
    /// Opens the shared books. Redis need not be there: then the store begins [`Condition::Degraded`], and is
    /// [`Condition::Sound`] as soon as it is reached. Needs a Tokio runtime, in which the connection is kept.
    ///
    /// # Errors
    ///
    /// An option that cannot be right; a journal that cannot be read or written, or is another process's.
    pub async fn open(options: Options) -> Result<Self, NotOpened> {
        let server = options.server()?;
        let inner = Arc::new(Inner {
            link: Link::new(options.answers_within),
            journal: Journal::open(&options.journal, options.answers_within)?,
            share: Share::new(options.local_share_percent),
            board: Board::default(),
            known: Known::default(),
            tried: Notify::new(),
            names: Names::new(&options.namespace),
            rows: options.rows,
            obeys_callers: options.obeys_callers,
        });
        if let Err(why) = keeper::reach(&inner, &server).await {
            inner.link.stays_down(&why);
        }
        let keeper = tokio::spawn(keeper::keep(Arc::clone(&inner), server));
        Ok(Self { inner, keeper })
    }

    /// Waits until Redis is reached and has taken what waited in the journal.
    pub async fn reached(&self) {
        loop {
            // Begun before the question, so that no answer is missed.
            let mut tried = pin!(self.inner.tried.notified());
            tried.as_mut().enable();
            if self.inner.link.down().is_none() {
                return;
            }
            tried.await;
        }
    }

    /// Ends the background work and frees the journal. What waits there is taken to Redis by whoever opens it next.
    pub async fn close(mut self) {
        self.keeper.abort();
        // It was told to end: how it did does not matter.
        let _: Result<(), _> = (&mut self.keeper).await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Inner {
    fn calls(&self, now: u64) -> Calls<'_> {
        Calls { names: &self.names, now: self.obeys_callers.then_some(now), rows: self.rows }
    }

    fn condition(&self) -> Condition {
        self.link.down().map_or(Condition::Sound, Condition::Degraded)
    }
}
