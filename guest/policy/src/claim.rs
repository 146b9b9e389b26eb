//! What an exchange takes from the ledger: one claim for each limit of the caller's key, always in the same order.
//!
//! A limit names the cell, the unit and the rule. Claims, the real amounts at the end, standings and the headers
//! about them all follow from the list of limits, so that no ticket needs to repeat it.

use crate::calendar::Period;
use crate::config::{Budget, Window};
use crate::message::{Claim, Header, Rule, Standing};

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Requests that reached an upstream.
    Requests,
    /// Input and output tokens.
    Tokens,
    /// Nano-units of a currency.
    Money,
}

/// One limit of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What it counts.
    pub unit: Unit,
    /// The ledger's cell; for a calendar, without the period.
    cell: String,
    rule: LimitRule,
    /// As the configuration says it, for messages: `100 requests in any 1m`.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LimitRule {
    Window { limit: u64, period_ms: u64 },
    Calendar { limit: u64, period: Period },
}

/// An amount in each unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Requests.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
    /// Nano-units.
    pub money: u64,
}

impl Limit {
    /// Requests in a window.
    pub fn requests(key: &str, window: Window) -> Self {
        Self::window(Unit::Requests, "requests", key, window)
    }

    /// Tokens in a window.
    pub fn tokens(key: &str, window: Window) -> Self {
        Self::window(Unit::Tokens, "tokens", key, window)
    }

    /// Money in a calendar period.
    pub fn money(key: &str, budget: Budget) -> Self {
        Self {
            unit: Unit::Money,
            cell: format!("budget:{key}:{}", budget.currency.as_str()),
            rule: LimitRule::Calendar { limit: budget.limit, period: budget.period },
            text: budget.text,
        }
    }

    fn window(unit: Unit, name: &str, key: &str, window: Window) -> Self {
        Self {
            unit,
            cell: format!("{name}:{key}"),
            rule: LimitRule::Window { limit: window.limit, period_ms: window.period_ms },
            text: format!("{} {name} in any {}", window.limit, window.period),
        }
    }

    /// The claim for these amounts at this time.
    pub fn claim(&self, amounts: &Amounts, now_ms: u64) -> Claim {
        let amount = amounts.of(self.unit);
        match self.rule {
            LimitRule::Window { limit, period_ms } => {
                Claim { cell: self.cell.clone(), rule: Rule::Window { limit, period_ms }, amount }
            }
            LimitRule::Calendar { limit, period } => {
                let span = period.around(now_ms);
                let rule = Rule::Budget { limit, start_ms: span.start_ms, end_ms: span.end_ms };
                Claim { cell: format!("{}:{span}", self.cell), rule, amount }
            }
        }
    }
}

impl Amounts {
    /// The amount in one unit.
    pub fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.requests,
            Unit::Tokens => self.tokens,
            Unit::Money => self.money,
        }
    }
}

/// `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, as OpenAI sends them. Money has no such header.
pub fn headers(limits: &[Limit], standings: &[Standing]) -> Vec<Header> {
    let mut headers = Vec::new();
    for (limit, standing) in limits.iter().zip(standings) {
        let names = match limit.unit {
            Unit::Requests => {
                ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]
            }
            Unit::Tokens => {
                ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]
            }
            Unit::Money => continue,
        };
        let (LimitRule::Window { limit: most, .. } | LimitRule::Calendar { limit: most, .. }) = limit.rule;
        let values = [most.to_string(), standing.remaining.to_string(), wait(standing.reset_ms)];
        headers.extend(
            names.into_iter().zip(values).map(|(name, value)| Header { name: name.to_owned(), value }),
        );
    }
    headers
}

/// A wait as OpenAI writes it: `6m0s`, `1.5s`, `20ms`.
pub fn wait(wait_ms: u64) -> String {
    let (seconds, rest_ms) = (wait_ms / 1_000, wait_ms % 1_000);
    if seconds == 0 && rest_ms > 0 {
        return format!("{rest_ms}ms");
    }
    let fraction = format!("{rest_ms:03}");
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, _) => format!("{minutes}m{seconds}{fraction}s"),
        _ => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    fn limits() -> [Limit; 3] {
        let window = |limit| Window { limit, period_ms: 60_000, period: "1m".into() };
        let budget = Budget {
            limit: 1_000_000_000_000,
            currency: Currency::parse("JPY").expect("a currency"),
            period: Period::Month,
            text: "1000 JPY/month".into(),
        };
        [
            Limit::requests("alice", window(100)),
            Limit::tokens("alice", window(200_000)),
            Limit::money("alice", budget),
        ]
    }

    #[test]
    fn cells_are_named_by_key_and_period() {
        let amounts = Amounts { requests: 1, tokens: 20, money: 300 };
        let claims = limits().map(|limit| limit.claim(&amounts, 1_795_424_400_000));
        assert_eq!(claims.each_ref().map(|claim| claim.amount), [1, 20, 300]);
        let cells = claims.each_ref().map(|claim| claim.cell.as_str());
        assert_eq!(cells, ["requests:alice", "tokens:alice", "budget:alice:JPY:2026-11"]);
        let (start_ms, end_ms) = (1_793_491_200_000, 1_796_083_200_000);
        assert_eq!(claims[2].rule, Rule::Budget { limit: 1_000_000_000_000, start_ms, end_ms });
    }

    #[test]
    fn standings_become_headers() {
        let standings = [(99, 600), (199_000, 360_000), (5, 6)];
        let standings = standings.map(|(remaining, reset_ms)| Standing { remaining, reset_ms });
        let headers = headers(&limits(), &standings);
        let shown: Vec<_> =
            headers.iter().map(|header| format!("{}: {}", header.name, header.value)).collect();
        let expected = [
            "x-ratelimit-limit-requests: 100",
            "x-ratelimit-remaining-requests: 99",
            "x-ratelimit-reset-requests: 600ms",
            "x-ratelimit-limit-tokens: 200000",
            "x-ratelimit-remaining-tokens: 199000",
            "x-ratelimit-reset-tokens: 6m0s",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn waits_are_written_as_openai_writes_them() {
        let cases = [
            (0, "0s"),
            (20, "20ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (86_405, "1m26.405s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
            (90_061_001, "25h1m1.001s"),
        ];
        for (wait_ms, expected) in cases {
            assert_eq!(wait(wait_ms), expected);
        }
    }
}
