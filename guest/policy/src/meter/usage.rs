//! The usage that a provider reports, and what is counted in case it reports none.
//!
//! `members` reads it. What the provider's cache had to do with the input is told in three ways:
//!
//! | who | names | |
//! |---|---|---|
//! | OpenAI, and whoever answers like it | `prompt_tokens_details.cached_tokens`, and there `cache_write_tokens` (OpenRouter) or `cache_creation_tokens` (LiteLLM) | parts of the input |
//! | DeepSeek, Moonshot | `prompt_cache_hit_tokens`, `cached_tokens` | parts of the input |
//! | Anthropic | `cache_read_input_tokens`, `cache_creation_input_tokens` | beside `input_tokens`; whoever repeats them beside `prompt_tokens` counts them in it, unless the total says that it does not |

use serde::{Deserialize, Serialize};

use crate::estimate::Text;

/// Token counts as the provider reported them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub total: Option<u64>,
    pub cached_input: Option<u64>,
    pub cache_write: Option<u64>,
    pub reasoning: Option<u64>,
    /// Anthropic's counts of its cache.
    pub anthropic: Option<Cache>,
    /// Whether the input was told as `prompt_tokens`.
    pub as_prompt: bool,
}

/// What Anthropic tells of its cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    pub read: u64,
    pub written: u64,
}

/// All that is known about the tokens of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// What the provider says.
    pub reported: Tokens,
    /// What the model wrote.
    pub text: Text,
    /// How many JSON documents had choices: a provider puts at least one token in each.
    pub answers: u64,
}

/// Token counts in the sense of OpenTelemetry: input includes cached, output includes reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub input: u64,
    pub cached_input: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
    /// Whether some of them are estimated.
    pub estimated: bool,
}

/// A usage object longer than this is nonsense.
pub const LONGEST_USAGE: usize = 4096;

impl Tally {
    /// Output tokens so far, as far as they are known.
    pub fn written(&self) -> u64 {
        self.text.tokens().max(self.answers).max(self.reported.output.unwrap_or(0))
    }

    /// The counts, with estimates for what was not reported. `writes` tells whether the answer has output at all.
    pub fn counts(&self, input_estimate: u64, writes: bool) -> Counts {
        let Tokens { input, output, total, cached_input, cache_write, reasoning, anthropic, as_prompt } =
            self.reported;
        let cache = anthropic.unwrap_or_default();
        let input = input.map(|input| {
            let with_cache = input.saturating_add(cache.read).saturating_add(cache.written);
            let is_beside = !as_prompt || total == Some(with_cache.saturating_add(output.unwrap_or(0)));
            if is_beside { with_cache } else { input }
        });
        let rest = |part: Option<u64>| total?.checked_sub(part?);
        let known_input = input.or_else(|| rest(output));
        let known_output = output.or_else(|| rest(input)).or((!writes).then_some(0));

        let input = known_input.unwrap_or(input_estimate);
        let mut output = known_output.unwrap_or_else(|| self.text.tokens().max(self.answers));
        let reasoning = reasoning.unwrap_or(0);
        // Some providers count reasoning beside the output; their total tells.
        let beside = input.saturating_add(output).saturating_add(reasoning);
        if total == Some(beside) {
            output = output.saturating_add(reasoning);
        }
        let cached_input = cached_input.unwrap_or(0).max(cache.read).min(input);
        let cache_write = cache_write.unwrap_or(0).max(cache.written);
        Counts {
            input,
            cached_input,
            cache_write: cache_write.min(input.saturating_sub(cached_input)),
            output,
            reasoning: reasoning.min(output),
            estimated: known_input.is_none() || known_output.is_none(),
        }
    }
}

impl Tokens {
    /// Whether nothing must be estimated.
    pub fn are_all(&self, writes: bool) -> bool {
        self.input.is_some() && (self.output.is_some() || !writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_in(texts: &[&str]) -> Tokens {
        let mut tokens = Tokens::default();
        for text in texts {
            tokens.take_in(text.as_bytes());
        }
        tokens
    }

    fn read(texts: &[&str]) -> [Option<u64>; 5] {
        let tokens = taken_in(texts);
        [tokens.input, tokens.output, tokens.total, tokens.cached_input, tokens.reasoning]
    }

    #[test]
    fn both_spellings_are_read() {
        let chat = r#"{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21,"prompt_tokens_details":
            {"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":5}}"#;
        assert_eq!(read(&[chat]), [Some(9), Some(12), Some(21), Some(4), Some(5)]);
        let responses = r#"{"input_tokens":9,"output_tokens":0,"input_tokens_details":{"cached_tokens":4}}"#;
        assert_eq!(read(&[responses]), [Some(9), Some(0), None, Some(4), None]);
    }

    #[test]
    fn nonsense_is_not_there() {
        let text = r#"{"prompt_tokens":-1,"completion_tokens":1.5,"total_tokens":"7","prompt_tokens_details":null,
            "completion_tokens_details":[1]}"#;
        assert_eq!(read(&[text]), [None; 5]);
        assert_eq!(read(&[r#"{"prompt_tokens":9007199254740993,"completion_tokens":null}"#]), [None; 5]);
        assert_eq!(read(&[r#"{"prompt_tokens":9007199254740992}"#])[0], Some(1 << 53));
        assert_eq!(
            read(&["", "{", "[]", "{\"prompt_tokens\":5", "{\"prompt_tokens\":5}}", "null"]),
            [None; 5]
        );
    }

    #[test]
    fn each_field_is_the_largest_seen() {
        let chunks = [
            r#"{"prompt_tokens":9,"completion_tokens":1}"#,
            r#"{"prompt_tokens":0,"completion_tokens":7}"#,
            r#"{"prompt_tokens":9,"completion_tokens":null}"#,
        ];
        assert_eq!(read(&chunks), [Some(9), Some(7), None, None, None]);
    }

    #[test]
    fn counts_are_inclusive() {
        let tally = |input, output, total, cached_input, reasoning| Tally {
            reported: Tokens { input, output, total, cached_input, reasoning, ..Tokens::default() },
            ..Tally::default()
        };
        let counts = |tally: Tally| {
            let counts = tally.counts(100, true);
            (counts.input, counts.cached_input, counts.output, counts.reasoning, counts.estimated)
        };
        let (cached, reasoning) = (Some(4), Some(5));
        assert_eq!(counts(tally(Some(9), Some(12), Some(21), cached, reasoning)), (9, 4, 12, 5, false));
        assert_eq!(
            counts(tally(Some(9), Some(12), Some(26), cached, reasoning)),
            (9, 4, 17, 5, false),
            "beside"
        );
        assert_eq!(counts(tally(Some(9), None, Some(21), None, None)), (9, 0, 12, 0, false));
        assert_eq!(counts(tally(None, Some(12), Some(21), None, None)), (9, 0, 12, 0, false));
        assert_eq!(counts(tally(Some(0), Some(0), None, None, None)), (0, 0, 0, 0, false), "zero is zero");
        assert_eq!(counts(tally(Some(3), Some(2), None, Some(9), Some(9))), (3, 3, 2, 2, false));
        assert_eq!(counts(tally(None, None, None, None, None)), (100, 0, 0, 0, true));
        assert_eq!(
            counts(tally(Some(9), None, Some(8), None, None)),
            (9, 0, 0, 0, true),
            "a total too small"
        );
    }

    #[test]
    fn what_the_cache_took_part_in_is_input() {
        let counts = |texts: &[&str]| {
            let tally = Tally { reported: taken_in(texts), ..Tally::default() };
            let Counts { input, cached_input, cache_write, output, .. } = tally.counts(100, true);
            (input, cached_input, cache_write, output)
        };
        for (why, usage, expected) in [
            (
                "Anthropic's own words: beside",
                r#"{"input_tokens":3,"cache_read_input_tokens":40,"cache_creation_input_tokens":500,"output_tokens":7}"#,
                (543, 40, 500, 7),
            ),
            (
                "repeated by whoever answers like OpenAI: in it",
                r#"{"prompt_tokens":543,"completion_tokens":7,"total_tokens":550,"cache_read_input_tokens":40,
                "cache_creation_input_tokens":500,"prompt_tokens_details":{"cached_tokens":40,"cache_creation_tokens":500}}"#,
                (543, 40, 500, 7),
            ),
            (
                "unless the total says that they are beside it",
                r#"{"prompt_tokens":3,"completion_tokens":7,"total_tokens":550,"cache_read_input_tokens":40,
                "cache_creation_input_tokens":500}"#,
                (543, 40, 500, 7),
            ),
            (
                "zeros are beside and in it alike",
                r#"{"prompt_tokens":3,"completion_tokens":7,"total_tokens":10,"cache_read_input_tokens":0,
                "cache_creation_input_tokens":0}"#,
                (3, 0, 0, 7),
            ),
            (
                "OpenRouter",
                r#"{"prompt_tokens":543,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":40,"cache_write_tokens":500}}"#,
                (543, 40, 500, 7),
            ),
            (
                "DeepSeek",
                r#"{"prompt_tokens":50,"completion_tokens":7,"prompt_cache_hit_tokens":40,"prompt_cache_miss_tokens":10}"#,
                (50, 40, 0, 7),
            ),
            ("Moonshot", r#"{"prompt_tokens":50,"completion_tokens":7,"cached_tokens":40}"#, (50, 40, 0, 7)),
            (
                "more than the input: cut down",
                r#"{"prompt_tokens":50,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":40,"cache_write_tokens":500}}"#,
                (50, 40, 10, 7),
            ),
            (
                "no counts",
                r#"{"input_tokens":3,"output_tokens":7,"cache_read_input_tokens":null,"cache_creation_input_tokens":-1}"#,
                (3, 0, 0, 7),
            ),
        ] {
            assert_eq!(counts(&[usage]), expected, "{why}");
        }
        // A stream of Anthropic's: the input at its beginning, the output at its end.
        let begin = r#"{"input_tokens":3,"cache_read_input_tokens":40,"output_tokens":1}"#;
        assert_eq!(counts(&[begin, r#"{"output_tokens":7}"#]), (43, 40, 0, 7));
    }

    #[test]
    fn what_was_written_is_the_estimate() {
        let mut tally = Tally { answers: 2, ..Tally::default() };
        tally.text.add(b"Hello there");
        assert_eq!(tally.counts(100, true).output, 2);
        tally.answers = 8;
        assert_eq!(tally.counts(100, true).output, 8);
        assert_eq!(tally.counts(100, false).output, 0);
    }
}
