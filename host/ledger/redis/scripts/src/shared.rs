//! The ledger in Redis for a platform that executes commands, and does no more: no journal, no local share.
//!
//! While Redis cannot be reached nothing is granted, whatever would limit it (**never over-admit**). What the platform
//! cannot tell apart is not told apart either: a command that failed may have taken effect, so every operation can be
//! repeated, and is, by whoever must have it done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found};
use tollgate_ledger::{Charge, Claim, Entry, Hold, Raise, Reservation, Settled, Standing, Unavailable};

use crate::call::{Call, Next, Word};
use crate::calls::{Calls, DUE_AT_ONCE, Due, Target, When};
use crate::names::Names;

/// A connection to Redis, as a platform has it.
pub trait Commands {
    /// Executes a command. Its answer is every word of it, lists flattened, or why there is none.
    fn execute(
        &self,
        command: &str,
        arguments: Vec<String>,
    ) -> impl Future<Output = Result<Vec<Word>, String>>;
}

/// The ledger behind such a connection.
pub struct Shared<C> {
    commands: C,
    names: Names,
    rows: u64,
    obeys_callers: bool,
    /// The cells of holds that were granted here and are not settled yet, so that a settlement is one round trip. What
    /// is not known is asked for.
    granted: Mutex<BTreeMap<String, Arc<[String]>>>,
}

impl<C: Commands> Shared<C> {
    /// The books of this namespace, whose stream keeps about so many rows. They go by the server's clock.
    pub fn new(commands: C, namespace: &str, rows: u64) -> Self {
        let names = Names::new(namespace);
        Self { commands, names, rows, obeys_callers: false, granted: Mutex::default() }
    }

    /// Goes by the `now` of its callers instead. For tests: gateways whose clocks differ would not agree.
    #[must_use]
    pub fn obey_callers(mut self) -> Self {
        self.obeys_callers = true;
        self
    }

    /// The connection.
    pub fn commands(&self) -> &C {
        &self.commands
    }

    /// See [`tollgate_ledger::Ledger::reserve`]. What is granted is as durable as Redis makes it.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn reserve(&self, hold: Hold<'_>, now: u64) -> Result<Reservation, Unavailable> {
        let id = &hold.entry.request_id;
        let key = self.names.hold(id)?;
        let cells = self.cells_of(hold.claims);
        let target = Target { id, key: &key, cells: Arc::clone(&cells) };
        let reservation = self.ask_for(self.calls(now).reserve(&target, hold)?).await?;
        if let Reservation::Granted { .. } = reservation {
            self.granted().insert(id.clone(), cells);
        }
        Ok(reservation)
    }

    /// See [`tollgate_ledger::Ledger::raise`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn raise(&self, hold: Hold<'_>, now: u64) -> Result<Raise, Unavailable> {
        let id = &hold.entry.request_id;
        let key = self.names.hold(id)?;
        let target = Target { id, key: &key, cells: self.cells_of(hold.claims) };
        self.ask_for(self.calls(now).raise(&target, hold)?).await
    }

    /// See [`tollgate_ledger::Ledger::renew`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn renew(&self, id: &str, lease_ms: u64, now: u64) -> Result<bool, Unavailable> {
        let key = self.names.hold(id)?;
        let target = Target { id, key: &key, cells: self.known(id).unwrap_or_default() };
        self.ask_for(self.calls(now).renew(&target, lease_ms)).await
    }

    /// See [`tollgate_ledger::Ledger::settle`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn settle(&self, entry: &Entry, charge: Charge<'_>, now: u64) -> Result<Settled, Unavailable> {
        let id = &entry.request_id;
        let key = self.names.hold(id)?;
        let known = self.known(id);
        let target = Target { id, key: &key, cells: known.clone().unwrap_or_default() };
        let mut settled = self.ask_for(self.calls(now).settle(&target, (entry, charge, When::Now))?).await?;
        if settled == Settled::Unknown && known.is_some() && charge != Charge::Nothing {
            // It was granted here, so Redis has lost it. settle once: the row is there, once.
            settled = self.ask_for(self.calls(now).record(&target, entry)?).await?;
        }
        self.granted().remove(id);
        Ok(settled)
    }

    /// See [`tollgate_ledger::Ledger::expire`]. Takes the first hundred holds that are due.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn expire(&self, now: u64) -> Result<usize, Unavailable> {
        let Due { lapsed, ahead } = self.ask_for(self.calls(now).due(DUE_AT_ONCE)).await?;
        for id in &ahead {
            let key = self.names.hold(id)?;
            let target = Target { id, key: &key, cells: self.known(id).unwrap_or_default() };
            self.ask_for(self.calls(now).shorten(&target)).await?;
        }
        if lapsed.is_empty() {
            return Ok(0);
        }
        self.ask_for(self.calls(now).expire(lapsed)?).await
    }

    /// See [`tollgate_ledger::Ledger::standings`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn standings(&self, claims: &[Claim], now: u64) -> Result<Vec<Standing>, Unavailable> {
        self.ask_for(self.calls(now).standings(claims)).await
    }

    /// See [`tollgate_ledger::Breakers::ask`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn ask(&self, name: &str, rule: BreakerRule, now: u64) -> Result<Passage, Unavailable> {
        self.ask_for(self.calls(now).ask(name, rule)).await
    }

    /// See [`tollgate_ledger::Breakers::tell`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn tell(
        &self,
        breaker: (&str, BreakerRule),
        told: (u64, Health),
        now: u64,
    ) -> Result<(), Unavailable> {
        self.ask_for(self.calls(now).tell(breaker, told)).await
    }

    /// See [`tollgate_ledger::keys::Keys::find`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn find(&self, digest: &Digest) -> Result<Option<Found>, Unavailable> {
        self.ask_for(self.calls(0).find(digest)).await
    }

    fn calls(&self, now: u64) -> Calls<'_> {
        Calls { names: &self.names, now: self.obeys_callers.then_some(now), rows: self.rows }
    }

    fn cells_of(&self, claims: &[Claim]) -> Arc<[String]> {
        claims.iter().map(|claim| self.names.cell(&claim.cell)).collect()
    }

    fn known(&self, id: &str) -> Option<Arc<[String]>> {
        self.granted().get(id).cloned()
    }

    fn granted(&self) -> MutexGuard<'_, BTreeMap<String, Arc<[String]>>> {
        // Nothing under the lock panics.
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until the answer is one.
    async fn ask_for<T>(&self, mut call: Call<T>) -> Result<T, Unavailable> {
        loop {
            let answer = self.evaluate(&call).await.map_err(unavailable)?;
            match call.read(&answer).map_err(unavailable)? {
                Next::Answer(answer) => return Ok(answer),
                Next::Ask(next) => call = next,
            }
        }
    }

    async fn evaluate<T>(&self, call: &Call<T>) -> Result<Vec<Word>, String> {
        let evaluation = || call.evaluation().map(std::borrow::Cow::into_owned).collect();
        if let Ok(answer) = self.commands.execute("EVALSHA", evaluation()).await {
            return Ok(answer);
        }
        // Why it failed is a text for people. Mostly the server does not know the script yet; whatever else it was
        // comes again.
        self.commands.execute("SCRIPT", vec!["LOAD".to_owned(), call.script.text()]).await?;
        self.commands.execute("EVALSHA", evaluation()).await
    }
}

fn unavailable(why: String) -> Unavailable {
    Unavailable::new(format!("redis: {why}"))
}
