//! What a client reads about its rate limits: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, as OpenAI
//! sends them.
//!
//! Where several scopes limit one unit, the client is told of the limit that is nearest to its end. Money and
//! exchanges at once have no such header.

use crate::digits;
use crate::limit::Limit;
use crate::message::{Own, OwnHeader, Standing, Unit};

const REQUESTS: [Own; 3] = [Own::LimitRequests, Own::RemainingRequests, Own::ResetRequests];
const TOKENS: [Own; 3] = [Own::LimitTokens, Own::RemainingTokens, Own::ResetTokens];

/// Adds the headers about these limits, each of which stands as its standing says.
pub fn add(headers: &mut Vec<OwnHeader>, limits: &[Limit], standings: &[Standing]) {
    for (unit, names) in [(Unit::Requests, REQUESTS), (Unit::Tokens, TOKENS)] {
        let of_unit = limits.iter().zip(standings).filter(|(limit, _)| limit.unit() == unit);
        let nearest =
            of_unit.min_by_key(|(_, standing)| (standing.remaining, u64::MAX.abs_diff(standing.reset_ms)));
        let Some((limit, standing)) = nearest else { continue };
        let values = [limit.most().to_string(), standing.remaining.to_string(), wait(standing.reset_ms)];
        headers.extend(names.into_iter().zip(values).map(|(name, value)| OwnHeader { name, value }));
    }
}

/// A wait as OpenAI writes it: `6m0s`, `1.5s`, `20ms`.
pub fn wait(wait_ms: u64) -> String {
    let (seconds, rest_ms) = (wait_ms / 1_000, wait_ms % 1_000);
    let mut text = String::with_capacity(16);
    if seconds == 0 && rest_ms > 0 {
        digits::push(&mut text, rest_ms, 1);
        text.push_str("ms");
        return text;
    }
    if seconds >= 3_600 {
        digits::push(&mut text, seconds / 3_600, 1);
        text.push('h');
    }
    if seconds >= 60 {
        digits::push(&mut text, seconds / 60 % 60, 1);
        text.push('m');
    }
    digits::push(&mut text, seconds % 60, 1);
    if rest_ms > 0 {
        text.push('.');
        digits::push(&mut text, rest_ms, 3);
        text.truncate(text.trim_end_matches('0').len());
    }
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(limits: &[Limit], standings: &[(u64, u64)]) -> Vec<String> {
        let standing = |&(remaining, reset_ms): &(u64, u64)| Standing { remaining, reset_ms };
        let standings: Vec<_> = standings.iter().map(standing).collect();
        let mut headers = Vec::new();
        add(&mut headers, limits, &standings);
        headers.iter().map(|header| format!("{}: {}", header.name, header.value)).collect()
    }

    fn limits(scope: &str, most: u64) -> [Limit; 4] {
        [
            Limit::requests(scope, &format!("{most}/1m")),
            Limit::tokens(scope, &format!("{most}000/1m")),
            Limit::concurrent(scope, 3),
            Limit::money(scope, "1000 JPY/month"),
        ]
        .map(|limit| limit.expect("a sound limit"))
    }

    #[test]
    fn standings_become_headers() {
        let expected = [
            "x-ratelimit-limit-requests: 100",
            "x-ratelimit-remaining-requests: 99",
            "x-ratelimit-reset-requests: 600ms",
            "x-ratelimit-limit-tokens: 100000",
            "x-ratelimit-remaining-tokens: 99000",
            "x-ratelimit-reset-tokens: 6m0s",
        ];
        assert_eq!(shown(&limits("a", 100), &[(99, 600), (99_000, 360_000), (0, 1), (5, 6)]), expected);
        assert_eq!(shown(&limits("a", 100)[2..], &[(0, 1), (5, 6)]), [""; 0]);
    }

    #[test]
    fn the_limit_nearest_to_its_end_is_told() {
        let both = [limits("a", 100), limits("a/b", 20)].concat();
        let told =
            |outer, inner| shown(&both, &[outer, (9, 9), (1, 1), (1, 1), inner, (9, 10), (1, 1), (1, 1)]);
        assert_eq!(told((5, 10), (6, 99))[..3], told((5, 10), (500, 0))[..3]);
        assert_eq!(told((5, 10), (6, 99))[0], "x-ratelimit-limit-requests: 100");
        assert_eq!(told((7, 10), (6, 1))[0], "x-ratelimit-limit-requests: 20");
        // As little is left of both: the one that takes longer to recover.
        assert_eq!(told((6, 10), (6, 9))[2], "x-ratelimit-reset-requests: 10ms");
        assert_eq!(told((6, 9), (6, 10))[0], "x-ratelimit-limit-requests: 20");
        assert_eq!(told((6, 9), (6, 10))[3], "x-ratelimit-limit-tokens: 20000");
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
