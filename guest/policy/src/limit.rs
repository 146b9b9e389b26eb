//! One limit of a key or of a scope: read from its text, counted in one cell of the ledger.
//!
//! A limit is the same value wherever its text stood, in the configuration or in the shell's store of keys. It knows
//! its cell, its rule and its words; it never knows what is left of it.

use serde::{Deserialize, Serialize};
use tollgate_document::duration;

use crate::amounts::Amounts;
use crate::calendar::{Calendar, Period};
use crate::decimal::{NotDecimal, decimal};
use crate::message::{Claim, Rule, Unit};
use crate::money::{Currency, MONEY_DIGITS, MOST_MONEY};

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Whose it is: the path of a key or of a scope.
    pub scope: String,
    /// As it was written: `100/1m`, `8`, `1000 JPY/month`.
    pub text: String,
    pub bound: Bound,
}

/// What a limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// Requests in any period.
    Requests(Window),
    /// Input and output tokens in any period.
    Tokens(Window),
    /// Exchanges at once.
    Concurrent(u64),
    /// Money in each period of the calendar.
    Money(Budget),
}

/// At most `limit` units in any trailing `period_ms`, as `100/1m` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Units; never 0.
    pub limit: u64,
    /// Milliseconds; never 0.
    pub period_ms: u64,
}

/// At most `limit` in each period of the calendar, as `1000 JPY/month` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Nano-units; never 0.
    pub limit: u64,
    /// Of what.
    pub currency: Currency,
    /// When it starts anew.
    pub period: Period,
}

/// No limit is larger: far above every use, far below 2^53.
const MOST_UNITS: u64 = 1_000_000_000_000;

/// More exchanges at once no ledger must remember one by one.
pub const MOST_AT_ONCE: u64 = 1_000_000;

/// Budgets of one scope, at most: each is a cell that every exchange in it counts in.
pub const MOST_BUDGETS: usize = 16;

impl Limit {
    /// Requests, from a text such as `100/1m`; or what is wrong with it.
    pub fn requests(scope: &str, text: &str) -> Result<Self, String> {
        Ok(Self::new(scope, text, Bound::Requests(Window::parse(text)?)))
    }

    /// Tokens, from a text such as `200000/1m`; or what is wrong with it.
    pub fn tokens(scope: &str, text: &str) -> Result<Self, String> {
        Ok(Self::new(scope, text, Bound::Tokens(Window::parse(text)?)))
    }

    /// Exchanges at once; or what is wrong with the number.
    pub fn concurrent(scope: &str, most: u64) -> Result<Self, String> {
        if !(1..=MOST_AT_ONCE).contains(&most) {
            return Err(format!("must be from 1 to {MOST_AT_ONCE}"));
        }
        Ok(Self::new(scope, &most.to_string(), Bound::Concurrent(most)))
    }

    /// Money, from a text such as `1000 JPY/month`; or what is wrong with it.
    pub fn money(scope: &str, text: &str) -> Result<Self, String> {
        Ok(Self::new(scope, text, Bound::Money(Budget::parse(text)?)))
    }

    fn new(scope: &str, text: &str, bound: Bound) -> Self {
        Self { scope: scope.to_owned(), text: text.to_owned(), bound }
    }

    /// What it counts.
    pub fn unit(&self) -> Unit {
        match self.bound {
            Bound::Requests(_) => Unit::Requests,
            Bound::Tokens(_) => Unit::Tokens,
            Bound::Concurrent(_) => Unit::Concurrent,
            Bound::Money(_) => Unit::Money,
        }
    }

    /// The most there can be, in its unit.
    pub fn most(&self) -> u64 {
        match self.bound {
            Bound::Requests(window) | Bound::Tokens(window) => window.limit,
            Bound::Concurrent(most) => most,
            Bound::Money(budget) => budget.limit,
        }
    }

    /// The currency it is in, if it is of money.
    pub fn currency(&self) -> Option<Currency> {
        match self.bound {
            Bound::Money(budget) => Some(budget.currency),
            _ => None,
        }
    }

    /// Whether both count in one cell of the ledger, at any time.
    pub fn shares_cell(&self, other: &Self) -> bool {
        let same = match (self.bound, other.bound) {
            (Bound::Money(one), Bound::Money(other)) => {
                one.currency == other.currency && one.period == other.period
            }
            _ => self.unit() == other.unit(),
        };
        same && self.scope == other.scope
    }

    /// The claim for these amounts at this time: milliseconds since the epoch.
    pub fn claim(&self, calendar: &Calendar, amounts: &Amounts, now_ms: u64) -> Claim {
        let amount = amounts.of(self.unit());
        let cell = |kind: &str| [kind, ":", &self.scope].concat();
        match self.bound {
            Bound::Requests(window) => Claim { cell: cell("requests"), rule: window.rule(), amount },
            Bound::Tokens(window) => Claim { cell: cell("tokens"), rule: window.rule(), amount },
            Bound::Concurrent(limit) => {
                Claim { cell: cell("concurrent"), rule: Rule::Slots { limit }, amount }
            }
            Bound::Money(Budget { limit, currency, period }) => {
                let span = calendar.around(period, now_ms);
                let rule = Rule::Budget { limit, start_ms: span.start_ms, end_ms: span.end_ms };
                Claim {
                    cell: ["budget:", &self.scope, ":", currency.as_str(), ":", &span.name()].concat(),
                    rule,
                    amount,
                }
            }
        }
    }

    /// How a refusal names it to `key`, whose limit it is or in whose scope it lies: `100 requests in any 1m`,
    /// `8 exchanges at once of acme`, `1000 JPY/month`, `the budget 10 USD/month of acme/ml`.
    pub fn told(&self, key: &str) -> String {
        let period = || self.text.split_once('/').map_or("", |(_, period)| period);
        let is_own = self.scope == key;
        let what = match self.bound {
            Bound::Requests(window) => format!("{} requests in any {}", window.limit, period()),
            Bound::Tokens(window) => format!("{} tokens in any {}", window.limit, period()),
            Bound::Concurrent(1) => "1 exchange at once".to_owned(),
            Bound::Concurrent(most) => format!("{most} exchanges at once"),
            Bound::Money(_) if is_own => self.text.clone(),
            Bound::Money(_) => format!("the budget {}", self.text),
        };
        if is_own { what } else { format!("{what} of {}", self.scope) }
    }
}

impl Window {
    fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "must be a number and a duration such as `100/1m` (units `ms`, `s`, `m`, `h`, `d`; at most 366d)";
        let read = || {
            let (limit, period) = text.split_once('/')?;
            let is_number = limit.bytes().all(|byte| byte.is_ascii_digit());
            let limit = limit.parse().ok().filter(|_| is_number)?;
            Some(Self { limit, period_ms: duration(period)? })
        };
        let window = read().ok_or(FORM)?;
        if !(1..=MOST_UNITS).contains(&window.limit) {
            return Err(format!("the limit must be from 1 to {MOST_UNITS}; to forbid all, remove the key"));
        }
        Ok(window)
    }

    fn rule(self) -> Rule {
        Rule::Window { limit: self.limit, period_ms: self.period_ms }
    }
}

impl Budget {
    fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "must be an amount, a currency and a calendar period such as `1000 JPY/month` \
                            (`day`, `week` or `month`)";
        let read = || {
            let (money, period) = text.split_once('/')?;
            let (amount, currency) = money.split_once(' ')?;
            let currency = Currency::parse(currency).filter(|found| *found != Currency::NONE)?;
            Some((amount, currency, Period::parse(period)?))
        };
        let (amount, currency, period) = read().ok_or(FORM)?;
        match decimal(amount, MONEY_DIGITS) {
            Ok(limit) if (1..=MOST_MONEY).contains(&limit) => Ok(Self { limit, currency, period }),
            Ok(0) => Err("the amount must be more than 0; to forbid all, remove the key".into()),
            Ok(_) | Err(NotDecimal::TooLarge) => Err("the amount must be at most 9000000".into()),
            Err(NotDecimal::Negative) => Err("the amount must not be negative".into()),
            Err(NotDecimal::TooFine) => {
                Err(format!("the amount has more than {MONEY_DIGITS} digits after the point"))
            }
            Err(NotDecimal::Malformed) => Err(FORM.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(scope: &str) -> [Limit; 4] {
        [
            Limit::requests(scope, "100/1m"),
            Limit::tokens(scope, "200000/60s"),
            Limit::concurrent(scope, 8),
            Limit::money(scope, "1000 JPY/month"),
        ]
        .map(|limit| limit.expect("a sound limit"))
    }

    #[test]
    fn cells_are_named_by_kind_path_and_period() {
        let amounts = Amounts { requests: 1, tokens: 20, money: 300 };
        let claims =
            limits("acme/ml").map(|limit| limit.claim(&Calendar::default(), &amounts, 1_795_424_400_000));
        assert_eq!(claims.each_ref().map(|claim| claim.amount), [1, 20, 1, 300]);
        let cells = claims.each_ref().map(|claim| claim.cell.as_str());
        let expected =
            ["requests:acme/ml", "tokens:acme/ml", "concurrent:acme/ml", "budget:acme/ml:JPY:2026-11"];
        assert_eq!(cells, expected);
        assert_eq!(claims[1].rule, Rule::Window { limit: 200_000, period_ms: 60_000 });
        assert_eq!(claims[2].rule, Rule::Slots { limit: 8 });
        let (start_ms, end_ms) = (1_793_491_200_000, 1_796_083_200_000);
        assert_eq!(claims[3].rule, Rule::Budget { limit: 1_000_000_000_000, start_ms, end_ms });
    }

    #[test]
    fn a_limit_of_a_scope_is_told_with_its_name() {
        let told = |key| limits("acme").map(|limit| limit.told(key));
        let own =
            ["100 requests in any 1m", "200000 tokens in any 60s", "8 exchanges at once", "1000 JPY/month"];
        assert_eq!(told("acme"), own);
        assert_eq!(
            told("acme/alice")[2..],
            ["8 exchanges at once of acme", "the budget 1000 JPY/month of acme"]
        );
    }

    #[test]
    fn cells_are_shared_by_kind_currency_and_period() {
        let [requests, tokens, concurrent, month] = limits("a");
        let more = Limit::requests("a", "5/1h").expect("a sound limit");
        assert!(
            requests.shares_cell(&more) && !requests.shares_cell(&tokens) && !tokens.shares_cell(&concurrent)
        );
        let money = |text| Limit::money("a", text).expect("a sound limit");
        assert!(month.shares_cell(&money("1 JPY/month")));
        assert!(!month.shares_cell(&money("1000 JPY/day")) && !month.shares_cell(&money("1000 USD/month")));
        assert!(!month.shares_cell(&limits("b")[3]));
    }
}
