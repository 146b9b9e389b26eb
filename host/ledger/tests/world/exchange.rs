//! One exchange of the simulation: whose it is, what it holds, how it will end.

use std::sync::Arc;

use tollgate_contract::operations::Random;
use tollgate_contract::{MINUTE, budget, entry, slots, window};
use tollgate_ledger::{Claim, Entry, Outcome};

/// Of the windows, in milliseconds.
pub const PERIOD: u64 = MINUTE;
/// How late a window may forget.
pub const LATE: u64 = PERIOD / 30;
pub const UPSTREAM: &str = "slots:upstream";

pub struct Limits {
    pub requests: u64,
    pub tokens: u64,
    pub key: u64,
    pub concurrent: u64,
    pub upstream: u64,
}

pub const LIMITS: Limits = Limits { requests: 6, tokens: 3_000, key: 50_000, concurrent: 5, upstream: 60 };

pub struct Exchange {
    pub row: Arc<Entry>,
    pub gateway: usize,
    /// Which life of its gateway it lives in.
    pub life: u64,
    pub tries: u32,
    /// What it holds of money and tokens. A stream begins with a part of what it will hold.
    pub held: u64,
    /// What a stream is raised to in the end.
    pub whole: u64,
    /// When it was granted how much of it.
    pub takes: Vec<(u64, u64)>,
    /// What it will really cost; 0 if nothing is ever sent.
    pub real: u64,
    pub duration: u64,
    /// Its gateway forgets to renew.
    pub stalls: bool,
    outcome: Outcome,
    /// Its gateway is done with it.
    pub has_ended: bool,
    pub granted: Option<u64>,
    /// When its lease ends.
    pub until: u64,
    /// What it was charged, once it is closed.
    pub charged: Option<u64>,
}

impl Exchange {
    pub fn new(number: usize, gateway: usize, random: &mut Random) -> Self {
        let whole = 100 + random.below(900);
        let is_long = random.below(8) == 0;
        let held = if is_long { whole / 4 } else { whole };
        let key = format!("org-{}/team-{}/key-{}", number % 2, number % 4, number % 24);
        let row = Arc::new(Entry { key, ..entry(&format!("req-{number}"), held) });
        let (outcome, real) = match random.below(12) {
            0 => (Outcome::Undispatched, 0),
            1 | 2 => (Outcome::ClientLeft, 1 + random.below(whole)),
            3 => (Outcome::UpstreamBroke, 1 + random.below(whole)),
            4 => (Outcome::Completed, whole + random.below(whole)),
            _ => (Outcome::Completed, 1 + random.below(whole)),
        };
        Self {
            row,
            gateway,
            life: 0,
            tries: 0,
            held,
            whole,
            takes: Vec::new(),
            real,
            duration: if is_long { random.below(600_000) } else { random.below(8_000) },
            stalls: random.below(6) == 0,
            outcome,
            has_ended: false,
            granted: None,
            until: 0,
            charged: None,
        }
    }

    pub fn claims(&self) -> [Claim; 7] {
        self.claims_of(self.held)
    }

    /// Its claims when it holds so much.
    pub fn claims_of(&self, held: u64) -> [Claim; 7] {
        let mut scopes = self.row.scopes();
        let (organisation, team, key) =
            (scopes.next().unwrap(), scopes.next().unwrap(), scopes.next().unwrap());
        [
            window(&format!("window-requests:{key}"), LIMITS.requests, 1),
            window(&format!("window:{key}"), LIMITS.tokens, held),
            budget(&format!("budget:{organisation}"), 8 * LIMITS.key, held),
            budget(&format!("budget:{team}"), 5 * LIMITS.key, held),
            budget(&format!("budget:{key}"), LIMITS.key, held),
            slots(&format!("slots:{key}"), LIMITS.concurrent, 1),
            slots(UPSTREAM, LIMITS.upstream, 1),
        ]
    }

    /// Its row if nobody settles it when it holds so much.
    pub fn row_of(&self, held: u64) -> Arc<Entry> {
        Arc::new(Entry { input_tokens: held, output_tokens: held, charge: held, ..Entry::clone(&self.row) })
    }

    /// Units that it counts for in a window of those that were taken after `since`, or in a slot.
    pub fn units(&self, cell: &str, since: u64) -> u64 {
        if !cell.starts_with("window:") {
            return u64::from(self.charged != Some(0));
        }
        let mut rest = self.charged.unwrap_or(self.held);
        let (mut units, last) = (0, self.takes.len().saturating_sub(1));
        for (index, (at, amount)) in self.takes.iter().enumerate() {
            let used = if index == last { rest } else { rest.min(*amount) };
            rest -= used;
            units += if *at > since { used } else { 0 };
        }
        units
    }

    /// Its row once it has ended.
    pub fn ending(&self) -> Arc<Entry> {
        Arc::new(Entry {
            charge: self.real,
            estimated: false,
            outcome: self.outcome,
            duration_ms: self.duration,
            ..Entry::clone(&self.row)
        })
    }
}
