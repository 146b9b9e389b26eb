//! The `retry` and `breaker` tables: what is done when an upstream does not answer.

use tollgate_document::{DeValue, Node, Problems, Section, duration};

use crate::message::Breaker;

/// How often, how soon and how much is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries of one exchange that send something, the first included; at least 1.
    pub attempts: u32,
    /// Milliseconds before a target is tried again for the first time; doubled each time after.
    pub backoff_ms: u64,
    /// Milliseconds that are never exceeded, unless the provider itself asks for more.
    pub max_backoff_ms: u64,
    /// Tries after the first that all exchanges together may add, in percent of the first ones.
    pub extra_load: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 3, backoff_ms: 2_000, max_backoff_ms: 10_000, extra_load: 20 }
    }
}

const FAILURES: u32 = 5;
const OPEN_MS: u64 = 60_000;
/// More tries than these only keep the client waiting.
const MOST_ATTEMPTS: u64 = 10;
/// Nobody waits longer for another try: ten minutes.
const LONGEST_BACKOFF_MS: u64 = 600_000;
const MOST_FAILURES: u64 = 1_000_000;

/// Reads `[retry]`.
pub fn retry(root: &Section<'_>, problems: &mut Problems<'_>) -> Retry {
    let usual = Retry::default();
    let Some(section) = root.get("retry").and_then(|node| node.section(problems)) else { return usual };
    section.only(&["attempts", "backoff", "max_backoff", "extra_load"], problems);
    let mut number = |name: &str, least, most, otherwise: u32| {
        let read = section.get(name).and_then(|node| node.whole(least, most, problems));
        read.and_then(|number| u32::try_from(number).ok()).unwrap_or(otherwise)
    };
    let attempts = number("attempts", 1, MOST_ATTEMPTS, usual.attempts);
    let extra_load = number("extra_load", 0, 1_000, usual.extra_load);
    let mut span = |name: &str, otherwise| {
        section.get(name).and_then(|node| span(&node, LONGEST_BACKOFF_MS, problems)).unwrap_or(otherwise)
    };
    let backoff_ms = span("backoff", usual.backoff_ms);
    let max_backoff_ms = span("max_backoff", usual.max_backoff_ms.max(backoff_ms));
    if let Some(node) = section.get("max_backoff").filter(|_| max_backoff_ms < backoff_ms) {
        node.wrong(problems, "must not be less than `backoff`");
    }
    Retry { attempts, backoff_ms, max_backoff_ms, extra_load }
}

/// Reads `[breaker]`, or `breaker = "off"`.
pub fn breaker(root: &Section<'_>, problems: &mut Problems<'_>) -> Option<Breaker> {
    let usual = Breaker { failures: FAILURES, open_ms: OPEN_MS, probe_ms: OPEN_MS };
    let Some(node) = root.get("breaker") else { return Some(usual) };
    if let DeValue::String(text) = node.value() {
        if text != "off" {
            node.wrong(problems, "must be `\"off\"` or a table such as `{ failures = 5, open = \"60s\" }`");
        }
        return None;
    }
    let section = node.section(problems)?;
    section.only(&["failures", "open"], problems);
    let failures = section.get("failures").and_then(|node| node.whole(1, MOST_FAILURES, problems));
    let failures = failures.and_then(|number| u32::try_from(number).ok()).unwrap_or(FAILURES);
    let open_ms = section.get("open").and_then(|node| span(&node, 86_400_000, problems)).unwrap_or(OPEN_MS);
    // A probe that is not heard of for as long as the breaker was open is lost.
    Some(Breaker { failures, open_ms, probe_ms: open_ms })
}

fn span(node: &Node<'_>, most_ms: u64, problems: &mut Problems<'_>) -> Option<u64> {
    let read = duration(node.text(problems)?);
    let sound = read.filter(|span| *span <= most_ms);
    if sound.is_none() {
        let message = format!(
            "must be a duration such as `250ms`, `2s` or `1m` (at most {}s)",
            most_ms.checked_div(1_000).unwrap_or_default()
        );
        node.wrong(problems, message);
    }
    sound
}
