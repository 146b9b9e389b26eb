//! Each operation as a call: what its script is told and how its answer is read. One call is one round trip, and two
//! when the cells of a hold were not known.

use std::sync::Arc;

use serde::Serialize;
use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::{
    Charge, Claim, Entry, Hold, MOST_UNITS, Position, Raise, Reservation, Rule, Settled, Standing,
    Unavailable,
};

use crate::call::{Call, Word, integers, texts, unread};
use crate::names::Names;
use crate::script::{self, Script};

/// Holds that one call looks at.
pub const DUE_AT_ONCE: usize = 100;

/// Ids of holds that need a look.
#[derive(Debug)]
pub struct Due {
    /// Their lease has passed.
    pub lapsed: Vec<String>,
    /// Their lease is longer than it ever was.
    pub ahead: Vec<String>,
}

/// When a settlement was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Now: its lease must not have passed.
    Now,
    /// Earlier: it waited in a journal.
    Late,
}

/// What every call needs: the names, and the time as the scripts take it (none: the server's).
#[derive(Clone, Copy, Debug)]
pub struct Calls<'a> {
    /// The names of keys.
    pub names: &'a Names,
    /// Milliseconds since the epoch, or none for the server's clock.
    pub now: Option<u64>,
    /// How many rows the stream keeps, about.
    pub rows: u64,
}

/// What identifies a hold: its id, its key and the keys of its cells in the order of its claims.
#[derive(Clone, Debug)]
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
    ///
    /// # Errors
    /// The row is no JSON.
    pub fn reserve(self, target: &Target<'_>, hold: Hold<'_>) -> Result<Call<Reservation>, Unavailable> {
        let mut call = self.hold_call(&script::RESERVE, target, &self.names.horizon, |answer| {
            Ok(match claimed(&integers(answer)?).ok_or_else(|| unread(answer))? {
                Claimed::Granted(standings) => {
                    Reservation::Granted { standings, position: Position::default() }
                }
                Claimed::Limited { claim, retry_after_ms, standings } => {
                    Reservation::Limited { claim, retry_after_ms, standings }
                }
            })
        });
        add_hold(&mut call, target, hold)?;
        Ok(call)
    }

    /// See [`tollgate_ledger::Ledger::raise`].
    ///
    /// # Errors
    /// The row is no JSON.
    pub fn raise(self, target: &Target<'_>, hold: Hold<'_>) -> Result<Call<Raise>, Unavailable> {
        let mut call = self.hold_call(&script::RAISE, target, &self.names.horizon, |answer| {
            let answer = integers(answer)?;
            Ok(match claimed(&answer) {
                Some(Claimed::Granted(standings)) => {
                    Raise::Granted { standings, position: Position::default() }
                }
                Some(Claimed::Limited { claim, retry_after_ms, standings }) => {
                    Raise::Limited { claim, retry_after_ms, standings }
                }
                None if *answer == [2] => Raise::Gone,
                None => return Err(unread(&answer)),
            })
        });
        add_hold(&mut call, target, hold)?;
        Ok(call)
    }

    /// See [`tollgate_ledger::Ledger::settle`].
    ///
    /// # Errors
    /// The row is no JSON.
    pub fn settle(
        self,
        target: &Target<'_>,
        (entry, charge, when): (&Entry, Charge<'_>, When),
    ) -> Result<Call<Settled>, Unavailable> {
        let mut call = self.hold_call(&script::SETTLE, target, &self.names.charges, settled);
        call.cells(&target.cells).argument(target.id).argument(json(entry)?).argument(self.rows);
        call.argument(if when == When::Late { "late" } else { "now" });
        match charge {
            Charge::Held => _ = call.argument("held"),
            Charge::Nothing => _ = call.argument("nothing"),
            Charge::Amounts(amounts) => {
                call.argument("amounts");
                amounts.iter().for_each(|amount| _ = call.argument(number(*amount)));
            }
        }
        Ok(call)
    }

    /// Writes the row of an exchange whose hold is not there, or that a local share granted, unless it was written before.
    ///
    /// # Errors
    /// The row is no JSON.
    pub fn record(self, target: &Target<'_>, entry: &Entry) -> Result<Call<Settled>, Unavailable> {
        let mut call = self.hold_call(&script::RECORD, target, &self.names.charges, settled);
        call.cells(&target.cells).argument(target.id).argument(json(entry)?).argument(self.rows);
        Ok(call)
    }

    /// See [`tollgate_ledger::Ledger::renew`].
    #[must_use]
    pub fn renew(self, target: &Target<'_>, lease_ms: u64) -> Call<bool> {
        let mut call = self.lease_call(&script::RENEW, target);
        call.argument(number(lease_ms));
        call
    }

    /// Brings back the end of a lease that is longer than it ever was, because the clock went back.
    #[must_use]
    pub fn shorten(self, target: &Target<'_>) -> Call<bool> {
        self.lease_call(&script::SHORTEN, target)
    }

    /// Some of the holds that [`Calls::expire`] and [`Calls::shorten`] are for, no more than `most` of either sort.
    /// Notes the time.
    #[must_use]
    pub fn due(self, most: usize) -> Call<Due> {
        let mut call = Call::new(&script::DUE, |answer| {
            let (Word::Integer(lapsed), ids) = answer.split_first().ok_or_else(|| unread(answer))? else {
                return Err(unread(answer));
            };
            let (mut lapsed, ids) = (usize::try_from(*lapsed).map_err(|_| unread(answer))?, texts(ids)?);
            let mut due = Due { lapsed: Vec::new(), ahead: Vec::new() };
            if lapsed > ids.len() {
                return Err(unread(answer));
            }
            for id in ids {
                if lapsed > 0 {
                    due.lapsed.push(id)
                } else {
                    due.ahead.push(id)
                }
                lapsed = lapsed.saturating_sub(1);
            }
            Ok(due)
        });
        call.key(&self.names.leases).key(&self.names.begun).key(&self.names.horizon);
        call.argument(self.time()).argument(most);
        call
    }

    /// Closes those of the named holds whose lease has passed, and says how many.
    ///
    /// # Errors
    /// An id that is not ours.
    pub fn expire(self, ids: Vec<String>) -> Result<Call<usize>, Unavailable> {
        let mut call = Call::new(&script::EXPIRE, |answer| match answer {
            [Word::Integer(closed)] => usize::try_from(*closed).map_err(|_| unread(answer)),
            _ => Err(unread(answer)),
        });
        call.key(&self.names.leases).key(&self.names.begun).key(&self.names.charges);
        for id in &ids {
            call.keys([self.names.hold(id)?]);
        }
        call.argument(self.time()).argument(self.rows);
        ids.into_iter().for_each(|id| _ = call.argument(id));
        Ok(call)
    }

    /// See [`tollgate_ledger::Ledger::standings`].
    #[must_use]
    pub fn standings(self, claims: &[Claim]) -> Call<Vec<Standing>> {
        let mut call = Call::new(&script::STANDINGS, |answer| {
            standings(&integers(answer)?).ok_or_else(|| unread(answer))
        });
        call.key(&self.names.horizon).keys(claims.iter().map(|claim| self.names.cell(&claim.cell)));
        call.argument(self.time());
        add_claims(&mut call, claims);
        call
    }

    /// See [`tollgate_ledger::Breakers::ask`].
    #[must_use]
    pub fn ask(self, name: &str, rule: BreakerRule) -> Call<Passage> {
        self.breaker_call(&script::ASK, name, rule, |answer| {
            let passage = match *integers(answer)? {
                [1, generation, probe] => u64::try_from(generation)
                    .ok()
                    .map(|generation| Passage::Pass { generation, probe: probe == 1 }),
                [0, wait] => u64::try_from(wait).ok().map(Passage::Wait),
                _ => None,
            };
            passage.ok_or_else(|| unread(answer))
        })
    }

    /// See [`tollgate_ledger::Breakers::tell`].
    #[must_use]
    pub fn tell(self, (name, rule): (&str, BreakerRule), (generation, health): (u64, Health)) -> Call<()> {
        let mut call = self.breaker_call(&script::TELL, name, rule, |answer| match answer {
            [Word::Integer(1)] => Ok(()),
            _ => Err(unread(answer)),
        });
        call.argument(number(generation)).argument(match health {
            Health::Good => "good",
            Health::Bad => "bad",
            Health::Unknown => "unknown",
        });
        call
    }

    fn time(self) -> String {
        self.now.map_or_else(String::new, |now| number(now).to_string())
    }

    /// A call about a hold: its keys up to the cells, and the time.
    fn hold_call<T>(
        self,
        script: &'static Script,
        target: &Target<'_>,
        fourth: &str,
        read: fn(&[Word]) -> Result<T, String>,
    ) -> Call<T> {
        let mut call = Call::new(script, read);
        call.key(target.key).key(&self.names.leases).key(&self.names.begun).key(fourth);
        call.argument(self.time());
        call
    }

    /// A call that moves the end of a lease, and says whether it did.
    fn lease_call(self, script: &'static Script, target: &Target<'_>) -> Call<bool> {
        let mut call = Call::new(script, |answer| match answer {
            [Word::Integer(moved @ (0 | 1))] => Ok(*moved == 1),
            _ => Err(unread(answer)),
        });
        call.key(target.key).key(&self.names.leases).key(&self.names.begun).cells(&target.cells);
        call.argument(self.time()).argument(target.id);
        call
    }

    fn breaker_call<T>(
        self,
        script: &'static Script,
        name: &str,
        rule: BreakerRule,
        read: fn(&[Word]) -> Result<T, String>,
    ) -> Call<T> {
        let mut call = Call::new(script, read);
        call.key(&self.names.breaker(name)).argument(self.time()).argument(name).argument(rule.failures);
        call.argument(number(rule.open_ms)).argument(number(rule.probe_ms));
        call
    }
}

/// What a script that takes claims answers.
enum Claimed {
    Granted(Vec<Standing>),
    Limited { claim: usize, retry_after_ms: Option<u64>, standings: Vec<Standing> },
}

/// Reads `[1, standings ..]`, or `[0, claim, wait, standings ..]`.
fn claimed(answer: &[i64]) -> Option<Claimed> {
    match answer.split_first()? {
        (1, left) => standings(left).map(Claimed::Granted),
        (0, [claim, wait, left @ ..]) => {
            let (claim, retry_after_ms) = (usize::try_from(*claim).ok()?, u64::try_from(*wait).ok());
            Some(Claimed::Limited { claim, retry_after_ms, standings: standings(left)? })
        }
        _ => None,
    }
}

/// The hold that is asked for. Its cells are as the claims name them: the script takes no others.
fn add_hold<T>(call: &mut Call<T>, target: &Target<'_>, hold: Hold<'_>) -> Result<(), Unavailable> {
    call.keys(target.cells.iter().cloned());
    call.argument(target.id).argument(json(&**hold.entry)?).argument(number(hold.lease_ms));
    add_claims(call, hold.claims);
    Ok(())
}

fn add_claims<T>(call: &mut Call<T>, claims: &[Claim]) {
    for claim in claims {
        let (kind, edge_ms) = match claim.rule {
            Rule::Window { period_ms, .. } => ("window", period_ms),
            Rule::Budget { end_ms, .. } => ("budget", end_ms),
            Rule::Slots { .. } => ("slots", 0),
        };
        // One above the largest number is exact too, and above every limit.
        let amount = claim.amount.min(MOST_UNITS.saturating_add(1));
        call.argument(kind).argument(claim.rule.limit()).argument(amount);
        call.argument(number(edge_ms)).argument(&claim.cell);
    }
}

fn number(number: u64) -> u64 {
    number.min(MOST_UNITS)
}

/// A row or a record as it is kept.
pub(crate) fn json(record: &impl Serialize) -> Result<String, Unavailable> {
    serde_json::to_string(record).map_err(|error| Unavailable::new(format!("a record is no JSON: {error}")))
}

fn standings(answer: &[i64]) -> Option<Vec<Standing>> {
    let (pairs, rest) = answer.as_chunks::<2>();
    let standing = |&[remaining, reset_ms]: &[i64; 2]| {
        Some(Standing { remaining: u64::try_from(remaining).ok()?, reset_ms: u64::try_from(reset_ms).ok()? })
    };
    rest.is_empty().then(|| pairs.iter().map(standing).collect())?
}

fn settled(answer: &[Word]) -> Result<Settled, String> {
    match answer {
        [Word::Integer(0)] => Ok(Settled::Done),
        [Word::Integer(1)] => Ok(Settled::Already),
        [Word::Integer(2)] => Ok(Settled::Unknown),
        _ => Err(unread(answer)),
    }
}
