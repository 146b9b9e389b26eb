//! Each script as a function: what it is told and how its answer is read. One call is one round trip, and two when
//! the cells of a hold were not known.
//!
//! Numbers above 2^53 - 1 are not exact in Lua and are taken as that. Whose answer has another form than the script
//! gives is an error of the server, never a grant.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisResult, Script, ScriptInvocation};
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::{
    Charge, Claim, Entry, Hold, MOST_UNITS, Position, Raise, Reservation, Rule, Settled, Standing,
};

use crate::names::Names;
use crate::scripts::SCRIPTS;

/// Holds that one call looks at.
pub const DUE_AT_ONCE: usize = 100;

/// A script's answer, or the keys of the hold's cells: it has done nothing, and is asked again with them.
enum Told<T> {
    Answer(T),
    Cells(Vec<String>),
}

/// Ids of holds that need a look.
#[derive(Debug)]
pub struct Due {
    /// Their lease has passed.
    pub lapsed: Vec<String>,
    /// Their lease is longer than it ever was.
    pub ahead: Vec<String>,
}

/// When a settlement was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Now: its lease must not have passed.
    Now,
    /// Earlier: it waited in a journal.
    Late,
}

/// What every call needs: the names, and the time as the scripts take it (empty: the server's).
#[derive(Clone, Copy)]
pub struct Calls<'a> {
    /// The names of keys.
    pub names: &'a Names,
    /// Milliseconds since the epoch, or none for the server's clock.
    pub now: Option<u64>,
    /// How many rows the stream keeps, about.
    pub rows: u64,
}

/// What identifies a hold: its id, its key and the keys of its cells in the order of its claims.
#[derive(Clone)]
pub struct Target<'a> {
    /// The exchange's id.
    pub id: &'a str,
    /// The hold's key.
    pub key: &'a str,
    /// The keys of its cells; none if they are not known.
    pub cells: Arc<[String]>,
}

impl Calls<'_> {
    /// See [`tollgate_ledger::Ledger::reserve`].
    pub async fn reserve(
        self,
        mut on: MultiplexedConnection,
        target: Target<'_>,
        hold: Hold<'_>,
    ) -> RedisResult<Reservation> {
        let mut call = self.hold_call(&SCRIPTS.reserve, &target, &self.names.horizon);
        call.arg(target.id).arg(text(hold.entry)?).arg(number(hold.lease_ms));
        add_claims(&mut call, hold.claims);
        let reply: Vec<i64> = call.invoke_async(&mut on).await?;
        let reservation = match told_of_claims(&reply) {
            Some(Claimed::Granted(standings)) => {
                Reservation::Granted { standings, position: Position::default() }
            }
            Some(Claimed::Limited { claim, retry_after_ms, standings }) => {
                Reservation::Limited { claim, retry_after_ms, standings }
            }
            None => return Err(odd("reserve", &reply)),
        };
        Ok(reservation)
    }

    /// See [`tollgate_ledger::Ledger::raise`].
    pub async fn raise(
        self,
        mut on: MultiplexedConnection,
        target: Target<'_>,
        hold: Hold<'_>,
    ) -> RedisResult<Raise> {
        let mut call = self.hold_call(&SCRIPTS.raise, &target, &self.names.horizon);
        call.arg(target.id).arg(text(hold.entry)?).arg(number(hold.lease_ms));
        add_claims(&mut call, hold.claims);
        let reply: Vec<i64> = call.invoke_async(&mut on).await?;
        let raise = match told_of_claims(&reply) {
            Some(Claimed::Granted(standings)) => Raise::Granted { standings, position: Position::default() },
            Some(Claimed::Limited { claim, retry_after_ms, standings }) => {
                Raise::Limited { claim, retry_after_ms, standings }
            }
            None if *reply == [2] => Raise::Gone,
            None => return Err(odd("raise", &reply)),
        };
        Ok(raise)
    }

    /// See [`tollgate_ledger::Ledger::settle`].
    pub async fn settle(
        self,
        mut on: MultiplexedConnection,
        mut target: Target<'_>,
        (entry, charge, when): (&Entry, Charge<'_>, When),
    ) -> RedisResult<Settled> {
        let row = text(entry)?;
        loop {
            let mut call = self.hold_call(&SCRIPTS.settle, &target, &self.names.charges);
            call.arg(target.id).arg(&row).arg(self.rows).arg(if when == When::Late { "late" } else { "now" });
            match charge {
                Charge::Held => call.arg("held"),
                Charge::Nothing => call.arg("nothing"),
                Charge::Amounts(amounts) => {
                    let amounts: Vec<u64> = amounts.iter().copied().map(number).collect();
                    call.arg("amounts").arg(amounts)
                }
            };
            match told(call.invoke_async(&mut on).await?, settled)? {
                Told::Answer(settled) => return Ok(settled),
                Told::Cells(cells) => target.cells = cells.into(),
            }
        }
    }

    /// Writes the row of an exchange that the local share granted, unless it was written before.
    pub async fn record(
        self,
        mut on: MultiplexedConnection,
        mut target: Target<'_>,
        entry: &Entry,
    ) -> RedisResult<Settled> {
        let row = text(entry)?;
        loop {
            let mut call = self.hold_call(&SCRIPTS.record, &target, &self.names.charges);
            call.arg(target.id).arg(&row).arg(self.rows);
            match told(call.invoke_async(&mut on).await?, settled)? {
                Told::Answer(written) => return Ok(written),
                Told::Cells(cells) => target.cells = cells.into(),
            }
        }
    }

    /// See [`tollgate_ledger::Ledger::renew`].
    pub async fn renew(
        self,
        mut on: MultiplexedConnection,
        mut target: Target<'_>,
        lease_ms: u64,
    ) -> RedisResult<bool> {
        loop {
            let mut call = SCRIPTS.renew.key(target.key);
            call.key(&self.names.leases).key(&self.names.begun).key(&*target.cells);
            call.arg(self.time()).arg(target.id).arg(number(lease_ms));
            let renewed = |code| matches!(code, 0 | 1).then_some(code == 1);
            match told(call.invoke_async(&mut on).await?, renewed)? {
                Told::Answer(renewed) => return Ok(renewed),
                Told::Cells(cells) => target.cells = cells.into(),
            }
        }
    }

    /// Brings back the end of a lease that is longer than it ever was, because the clock went back.
    pub async fn shorten(self, mut on: MultiplexedConnection, mut target: Target<'_>) -> RedisResult<()> {
        loop {
            let mut call = SCRIPTS.shorten.key(target.key);
            call.key(&self.names.leases).key(&self.names.begun).key(&*target.cells);
            call.arg(self.time()).arg(target.id);
            match told(call.invoke_async(&mut on).await?, |code| matches!(code, 0 | 1).then_some(()))? {
                Told::Answer(()) => return Ok(()),
                Told::Cells(cells) => target.cells = cells.into(),
            }
        }
    }

    /// Some of the holds that [`Calls::expire`] and [`Calls::shorten`] are for, no more than `most` of either sort.
    /// Notes the time.
    pub async fn due(self, mut on: MultiplexedConnection, most: usize) -> RedisResult<Due> {
        let mut call = SCRIPTS.due.key(&self.names.leases);
        call.key(&self.names.begun).key(&self.names.horizon).arg(self.time()).arg(most);
        let (lapsed, ahead) = call.invoke_async(&mut on).await?;
        Ok(Due { lapsed, ahead })
    }

    /// Closes those of the named holds whose lease has passed, and says how many.
    pub async fn expire(
        self,
        mut on: MultiplexedConnection,
        ids: Vec<String>,
        keys: Vec<String>,
    ) -> RedisResult<usize> {
        let mut call = SCRIPTS.expire.key(&self.names.leases);
        call.key(&self.names.begun).key(&self.names.charges).key(keys);
        call.arg(self.time()).arg(self.rows).arg(ids);
        call.invoke_async(&mut on).await
    }

    /// See [`tollgate_ledger::Ledger::standings`].
    pub async fn standings(
        self,
        mut on: MultiplexedConnection,
        claims: &[Claim],
    ) -> RedisResult<Vec<Standing>> {
        let mut call = SCRIPTS.standings.key(&self.names.horizon);
        let cells: Vec<String> = claims.iter().map(|claim| self.names.cell(&claim.cell)).collect();
        call.key(cells).arg(self.time());
        add_claims(&mut call, claims);
        let reply: Vec<i64> = call.invoke_async(&mut on).await?;
        standings(&reply).ok_or_else(|| odd("standings", &reply))
    }

    /// See [`tollgate_ledger::Breakers::ask`].
    pub async fn ask(
        self,
        mut on: MultiplexedConnection,
        name: &str,
        rule: BreakerRule,
    ) -> RedisResult<Passage> {
        let reply: Vec<i64> = self.breaker_call(&SCRIPTS.ask, name, rule).invoke_async(&mut on).await?;
        let passage = match *reply {
            [1, generation, probe] => u64::try_from(generation)
                .ok()
                .map(|generation| Passage::Pass { generation, probe: probe == 1 }),
            [0, wait] => u64::try_from(wait).ok().map(Passage::Wait),
            _ => None,
        };
        passage.ok_or_else(|| odd("ask", &reply))
    }

    /// See [`tollgate_ledger::Breakers::tell`].
    pub async fn tell(
        self,
        mut on: MultiplexedConnection,
        (name, rule): (&str, BreakerRule),
        (generation, health): (u64, Health),
    ) -> RedisResult<()> {
        let mut call = self.breaker_call(&SCRIPTS.tell, name, rule);
        call.arg(number(generation)).arg(match health {
            Health::Good => "good",
            Health::Bad => "bad",
            Health::Unknown => "unknown",
        });
        call.invoke_async(&mut on).await
    }

    fn time(self) -> String {
        self.now.map_or_else(String::new, |now| number(now).to_string())
    }

    fn hold_call(
        self,
        script: &'static Script,
        target: &Target<'_>,
        fourth: &str,
    ) -> ScriptInvocation<'static> {
        let mut call = script.key(target.key);
        call.key(&self.names.leases).key(&self.names.begun).key(fourth).key(&*target.cells).arg(self.time());
        call
    }

    fn breaker_call(
        self,
        script: &'static Script,
        name: &str,
        rule: BreakerRule,
    ) -> ScriptInvocation<'static> {
        let mut call = script.key(self.names.breaker(name));
        call.arg(self.time())
            .arg(name)
            .arg(rule.failures)
            .arg(number(rule.open_ms))
            .arg(number(rule.probe_ms));
        call
    }
}

/// What a script that takes claims answers.
enum Claimed {
    Granted(Vec<Standing>),
    Limited { claim: usize, retry_after_ms: Option<u64>, standings: Vec<Standing> },
}

/// Reads `[1, standings ..]`, or `[0, claim, wait, standings ..]`.
fn told_of_claims(reply: &[i64]) -> Option<Claimed> {
    match reply.split_first()? {
        (1, left) => standings(left).map(Claimed::Granted),
        (0, [claim, wait, left @ ..]) => {
            let (claim, retry_after_ms) = (usize::try_from(*claim).ok()?, u64::try_from(*wait).ok());
            Some(Claimed::Limited { claim, retry_after_ms, standings: standings(left)? })
        }
        _ => None,
    }
}

fn add_claims(call: &mut ScriptInvocation<'_>, claims: &[Claim]) {
    for claim in claims {
        let (kind, edge_ms) = match claim.rule {
            Rule::Window { period_ms, .. } => ("window", period_ms),
            Rule::Budget { end_ms, .. } => ("budget", end_ms),
            Rule::Slots { .. } => ("slots", 0),
        };
        // One above the largest number is exact too, and above every limit.
        let amount = claim.amount.min(MOST_UNITS.saturating_add(1));
        call.arg(kind).arg(claim.rule.limit()).arg(amount);
        call.arg(number(edge_ms)).arg(&claim.cell);
    }
}

fn number(number: u64) -> u64 {
    number.min(MOST_UNITS)
}

fn text(entry: &Entry) -> RedisResult<String> {
    serde_json::to_string(entry)
        .map_err(|error| (ErrorKind::Client, "a row that is no JSON", error.to_string()).into())
}

fn standings(reply: &[i64]) -> Option<Vec<Standing>> {
    let (pairs, rest) = reply.as_chunks::<2>();
    let standing = |&[remaining, reset_ms]: &[i64; 2]| {
        Some(Standing { remaining: u64::try_from(remaining).ok()?, reset_ms: u64::try_from(reset_ms).ok()? })
    };
    rest.is_empty().then(|| pairs.iter().map(standing).collect())?
}

fn settled(code: i64) -> Option<Settled> {
    match code {
        0 => Some(Settled::Done),
        1 => Some(Settled::Already),
        2 => Some(Settled::Unknown),
        _ => None,
    }
}

/// Reads `[code]`, or `[-1, cells ..]`.
fn told<T>(reply: redis::Value, answer: impl Fn(i64) -> Option<T>) -> RedisResult<Told<T>> {
    let read = match &reply {
        redis::Value::Array(words) => match &**words {
            [redis::Value::Int(-1), keys @ ..] => {
                return keys
                    .iter()
                    .map(|key| Ok(redis::from_redis_value_ref(key)?))
                    .collect::<RedisResult<_>>()
                    .map(Told::Cells);
            }
            [redis::Value::Int(code)] => answer(*code),
            _ => None,
        },
        _ => None,
    };
    read.map(Told::Answer).ok_or_else(|| odd("a hold's script", &format!("{reply:?}")))
}

fn odd(script: &'static str, reply: &(impl std::fmt::Debug + ?Sized)) -> redis::RedisError {
    let detail = format!("{script}: {reply:?}");
    (ErrorKind::UnexpectedReturnType, "an answer that the script does not give", detail).into()
}
