//! Stores that break one rule each, for the explorer to find.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::keys::{Digest, Found, Kept, Key, Keys, Scope};
use tollgate_ledger::{
    Breakers, Charge, Charges, Claim, Condition, Entry, Hold, Ledger, Memory, Pending, Position, Query,
    Raise, Reservation, Rule, Settled, Standing,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    OneTooMany,
    ForgetsEarly,
    HoldsPartly,
    SettlesTwice,
    NeverExpires,
    FreesAnother,
    ChargesAsHeld,
    LosesARow,
    WritesTwoRows,
    ChargesNothingOnLost,
    KeepsSlots,
    RaisesOneTooMany,
    RaisesPartly,
    RaisesForNothing,
    TakesMoreThanRaised,
    RaisesWhatIsClosed,
    KeepsTheFirstRow,
    ChargesTheFirstHold,
    NeverRaises,
}

impl Fault {
    pub const ALL: [Self; 19] = [
        Self::OneTooMany,
        Self::ForgetsEarly,
        Self::HoldsPartly,
        Self::SettlesTwice,
        Self::NeverExpires,
        Self::FreesAnother,
        Self::ChargesAsHeld,
        Self::LosesARow,
        Self::WritesTwoRows,
        Self::ChargesNothingOnLost,
        Self::KeepsSlots,
        Self::RaisesOneTooMany,
        Self::RaisesPartly,
        Self::RaisesForNothing,
        Self::TakesMoreThanRaised,
        Self::RaisesWhatIsClosed,
        Self::KeepsTheFirstRow,
        Self::ChargesTheFirstHold,
        Self::NeverRaises,
    ];

    /// The invariant that it breaks.
    pub fn breaks(self) -> &'static str {
        match self {
            Self::OneTooMany | Self::RaisesOneTooMany | Self::RaisesForNothing => "never over-admit",
            Self::SettlesTwice
            | Self::FreesAnother
            | Self::LosesARow
            | Self::WritesTwoRows
            | Self::RaisesWhatIsClosed
            | Self::KeepsTheFirstRow => "settle once",
            Self::NeverExpires | Self::NeverRaises => "no phantom refusal",
            Self::ForgetsEarly
            | Self::HoldsPartly
            | Self::ChargesAsHeld
            | Self::ChargesNothingOnLost
            | Self::KeepsSlots
            | Self::RaisesPartly
            | Self::TakesMoreThanRaised
            | Self::ChargesTheFirstHold => "conservation",
        }
    }
}

pub struct Broken {
    inner: Memory,
    fault: Fault,
    granted: Mutex<Vec<Arc<Entry>>>,
    /// What each hold held first.
    first: Mutex<HashMap<String, Vec<u64>>>,
}

impl Broken {
    pub fn new(fault: Fault) -> Self {
        Self { inner: Memory::new(), fault, granted: Mutex::default(), first: Mutex::default() }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// With the period of windows a little shorter.
    fn shorter(&self, claims: &[Claim]) -> Vec<Claim> {
        let mut claims = claims.to_vec();
        for claim in &mut claims {
            if let Rule::Window { period_ms, .. } = &mut claim.rule
                && self.is(Fault::ForgetsEarly)
            {
                *period_ms -= 50;
            }
        }
        claims
    }
}

/// With limits that are one unit higher.
fn higher(claims: &[Claim]) -> Vec<Claim> {
    let mut claims = claims.to_vec();
    for claim in &mut claims {
        match &mut claim.rule {
            Rule::Window { limit, .. } | Rule::Budget { limit, .. } | Rule::Slots { limit } => *limit += 1,
        }
    }
    claims
}

fn renamed(entry: &Entry, id: String) -> Arc<Entry> {
    Arc::new(Entry { request_id: id, ..entry.clone() })
}

impl Ledger for Broken {
    fn reserve<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Reservation> {
        Box::pin(async move {
            let claims = self.shorter(hold.claims);
            let hold = Hold { claims: &claims, ..hold };
            let mut answer = self.inner.reserve(hold, now).await?;
            if self.is(Fault::OneTooMany) && matches!(answer, Reservation::Limited { .. }) {
                answer = self.inner.reserve(Hold { claims: &higher(&claims), ..hold }, now).await?;
            }
            if let Reservation::Granted { .. } = answer {
                let amounts = hold.claims.iter().map(|claim| claim.amount).collect();
                self.first.lock().unwrap().entry(hold.entry.request_id.clone()).or_insert(amounts);
                self.granted.lock().unwrap().push(Arc::clone(hold.entry));
            } else if self.is(Fault::HoldsPartly) {
                for (index, claim) in hold.claims.iter().enumerate() {
                    let entry = &renamed(hold.entry, format!("{}-{index}", hold.entry.request_id));
                    let claims = std::slice::from_ref(claim);
                    self.inner.reserve(Hold { entry, claims, ..hold }, now).await?;
                }
            }
            Ok(answer)
        })
    }

    fn durable(&self, position: Position) -> Pending<'_, ()> {
        self.inner.durable(position)
    }

    fn renew<'a>(&'a self, hold: &'a str, lease_ms: u64, now: u64) -> Pending<'a, bool> {
        self.inner.renew(hold, lease_ms, now)
    }

    fn raise<'a>(&'a self, hold: Hold<'a>, now: u64) -> Pending<'a, Raise> {
        Box::pin(async move {
            let mut claims = self.shorter(hold.claims);
            let first = self.first.lock().unwrap().get(&hold.entry.request_id).cloned();
            let granted = self.granted.lock().unwrap().clone();
            let mut entry = Arc::clone(hold.entry);
            if self.is(Fault::KeepsTheFirstRow)
                && let Some(first) = granted.iter().find(|first| first.request_id == entry.request_id)
            {
                entry = Arc::clone(first);
            }
            if let Some(first) = first.filter(|_| self.is(Fault::RaisesForNothing)) {
                std::iter::zip(&mut claims, first).for_each(|(claim, first)| claim.amount = first);
            }
            let hold = Hold { entry: &entry, claims: &claims, ..hold };
            let answer = self.inner.raise(hold, now).await?;
            match answer {
                Raise::Limited { .. } if self.is(Fault::RaisesOneTooMany) => {
                    self.inner.raise(Hold { claims: &higher(&claims), ..hold }, now).await
                }
                Raise::Limited { .. } if self.is(Fault::RaisesPartly) => {
                    for (index, claim) in claims.iter().enumerate() {
                        let entry = &renamed(hold.entry, format!("{}-{index}", hold.entry.request_id));
                        let claims = &[Claim { amount: 1, ..claim.clone() }];
                        self.inner.reserve(Hold { entry, claims, ..hold }, now).await?;
                    }
                    Ok(answer)
                }
                Raise::Granted { .. } if self.is(Fault::TakesMoreThanRaised) => {
                    let entry = &renamed(hold.entry, format!("{}-more", hold.entry.request_id));
                    let claims = &[Claim { amount: 1, ..claims[1].clone() }];
                    self.inner.reserve(Hold { entry, claims, ..hold }, now).await?;
                    Ok(answer)
                }
                Raise::Gone if self.is(Fault::RaisesWhatIsClosed) => {
                    let position = Position::default();
                    Ok(Raise::Granted { standings: self.inner.standings(&claims, now).await?, position })
                }
                Raise::Granted { standings, .. } if self.is(Fault::NeverRaises) => {
                    Ok(Raise::Limited { claim: 0, retry_after_ms: None, standings })
                }
                answer => Ok(answer),
            }
        })
    }

    fn settle<'a>(&'a self, entry: &'a Arc<Entry>, charge: Charge<'a>, now: u64) -> Pending<'a, Settled> {
        Box::pin(async move {
            if self.is(Fault::FreesAnother) {
                let other =
                    self.granted.lock().unwrap().iter().find(|other| !Arc::ptr_eq(other, entry)).cloned();
                if let Some(other) = other {
                    self.inner.settle(&other, Charge::Nothing, now).await?;
                }
            }
            let charge = if self.is(Fault::ChargesAsHeld) { Charge::Held } else { charge };
            let first = self.first.lock().unwrap().get(&entry.request_id).cloned();
            let charge = match &first {
                Some(first) if self.is(Fault::ChargesTheFirstHold) && charge == Charge::Held => {
                    Charge::Amounts(first)
                }
                _ => charge,
            };
            let settled = self.inner.settle(entry, charge, now).await?;
            if self.is(Fault::KeepsSlots) && settled == Settled::Done {
                let entry = &renamed(entry, format!("{}-slot", entry.request_id));
                let rule = Rule::Slots { limit: u64::MAX };
                let claims = &[Claim { cell: "slots:key".into(), rule, amount: 1 }];
                self.inner.reserve(Hold { entry, claims, lease_ms: 1_000 }, now).await?;
            }
            Ok(if self.is(Fault::SettlesTwice) && settled == Settled::Already {
                Settled::Done
            } else {
                settled
            })
        })
    }

    fn expire(&self, now: u64) -> Pending<'_, usize> {
        Box::pin(async move {
            if self.is(Fault::NeverExpires) {
                return Ok(0);
            }
            let mut lost = 0;
            if self.is(Fault::ChargesNothingOnLost) {
                let open = self.inner.snapshot(0).holds;
                for hold in open.into_iter().filter(|hold| hold.until_ms <= now) {
                    let granted = self.granted.lock().unwrap().clone();
                    let entry = granted.iter().find(|entry| entry.request_id == hold.id).unwrap();
                    self.inner.settle(entry, Charge::Nothing, hold.until_ms - 1).await?;
                    lost += 1;
                }
            }
            Ok(lost + self.inner.expire(now).await?)
        })
    }

    fn standings<'a>(&'a self, claims: &'a [Claim], now: u64) -> Pending<'a, Vec<Standing>> {
        Box::pin(async move { self.inner.standings(&self.shorter(claims), now).await })
    }

    fn flush(&self) -> Pending<'_, ()> {
        self.inner.flush()
    }

    fn condition(&self) -> Condition {
        self.inner.condition()
    }
}

impl Charges for Broken {
    fn charges<'a>(&'a self, query: &'a Query) -> Pending<'a, Vec<Entry>> {
        Box::pin(async move {
            let mut rows = self.inner.charges(query).await?;
            if self.is(Fault::LosesARow) {
                rows.pop();
            } else if self.is(Fault::WritesTwoRows) {
                rows.extend(rows.first().cloned());
            }
            Ok(rows)
        })
    }
}

impl Breakers for Broken {
    fn ask<'a>(&'a self, name: &'a str, rule: BreakerRule, now: u64) -> Pending<'a, Passage> {
        self.inner.ask(name, rule, now)
    }

    fn tell<'a>(
        &'a self,
        name: &'a str,
        rule: BreakerRule,
        generation: u64,
        health: Health,
        now: u64,
    ) -> Pending<'a, ()> {
        self.inner.tell(name, rule, generation, health, now)
    }
}

impl Keys for Broken {
    fn find<'a>(&'a self, digest: &'a Digest) -> Pending<'a, Option<Found>> {
        self.inner.find(digest)
    }

    fn key<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Key>> {
        self.inner.key(name)
    }

    fn keys(&self) -> Pending<'_, Vec<Key>> {
        self.inner.keys()
    }

    fn keep_key<'a>(&'a self, key: &'a Key) -> Pending<'a, Kept> {
        self.inner.keep_key(key)
    }

    fn scope<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Scope>> {
        self.inner.scope(name)
    }

    fn scopes(&self) -> Pending<'_, Vec<Scope>> {
        self.inner.scopes()
    }

    fn keep_scope<'a>(&'a self, scope: &'a Scope) -> Pending<'a, Kept> {
        self.inner.keep_scope(scope)
    }
}
