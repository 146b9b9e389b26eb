//! The whole of a file with every oddity that LiteLLM's has, or could have.

use super::*;

const FILE: &str = include_str!("../../../tests/prices/litellm.json");

fn all() -> Import {
    import(FILE, "2026-11-01", &[]).unwrap()
}

/// `input output` of a model, and behind them what else its rates are.
fn price(import: &Import, name: &str) -> String {
    let entry = import.prices.iter().find(|entry| format!("{}/{}", entry.provider, entry.model) == name);
    let entry = entry.unwrap_or_else(|| panic!("{name}"));
    let rates = |rates: &Rates| {
        let Rates { input, output, cached_input, cache_write, reasoning } = rates;
        let rest = [("read", cached_input), ("write", cache_write), ("reason", reasoning)];
        let rest =
            rest.map(|(what, rate)| rate.as_ref().map_or(String::new(), |rate| format!(" {what} {rate}")));
        format!("{input} {output}{}", rest.concat())
    };
    let tier = |tier: &Tier| format!(" | {}: {}", tier.above_input_tokens, rates(&tier.rates));
    let batch = entry.batch_discount.map_or(String::new(), |percent| format!(" -{percent}%"));
    rates(&entry.rates) + &batch + &entry.tiers.iter().map(tier).collect::<String>()
}

#[test]
fn prices_are_taken_over_exactly() {
    let import = all();
    for (name, expected) in [
        ("openai/gpt-4o", "2.5 10 read 1.25 -50%"),
        ("openai/gpt-4o-mini", "0.15 0.6 read 0.075 -50%"),
        ("anthropic/claude-sonnet-4-5", "3 15 read 0.3 write 3.75 | 200000: 6 22.5 read 0.6 write 7.5"),
        ("gemini/gemini-1.5-pro", "3.5 10.5 | 128000: 7 21"),
        ("gemini/gemini-2.5-flash", "0.3 2.5 read 0.075 reason 2.5"),
        ("gemini/two-tiers", "1 4 read 0.1 | 32000: 2 4 read 0.1 | 128000: 3 8 read 0.1"),
        ("deepseek/deepseek-chat", "0.28 0.42 read 0.028 write 0"),
        ("mistral/mistral-large-latest", "2 6"),
        ("openai/text-embedding-3-small", "0.02 0 -50%"),
        ("azure/text-embedding-no-output", "0.1 0"),
        ("azure/eu/gpt-4o", "3.025 12.1"),
        ("vertex_ai-vision-models/gemini-1.0-pro-vision", "0.5 1.5"),
        ("openrouter/free-model", "0 0"),
        ("openrouter/anthropic/claude-3.5-sonnet", "3 15"),
        ("replicate/fine-enough", "0.000125 0.000001"),
        ("other/a-number-as-text", "1.5 3"),
        ("other/null-costs", "1 1"),
        ("other/uneven-batches", "1 3"),
        ("openai/o-flex", "1.1 4.4"),
        ("dashscope/qwen-plus", "0.4 1.2 | 256000: 1.2 3.6"),
        ("dashscope/qwen-turbo", "2 3 | 32000: 5 4 reason 9"),
    ] {
        assert_eq!(price(&import, name), expected, "{name}");
    }
}

#[test]
fn nothing_is_lost_silently() {
    let import = all();
    let mut told = Vec::new();
    for (model, why) in [
        ("gpt-4o", "without `cache_read_input_token_cost_priority` (2.125e-06): it is for another class"),
        ("gpt-4o", "without `input_cost_per_token_priority` (4.25e-06)"),
        ("gpt-4o", "without `output_cost_per_token_priority` (1.7e-05)"),
        ("gpt-4o-mini", "without `search_context_cost_per_query` ({ \"search_context_size_high\": 0.03"),
        ("openai/gpt-4o", "left out: is the model of `gpt-4o`, with another price"),
        ("claude-sonnet-4-5", "without `cache_creation_input_token_cost_above_1hr` (6e-06): what is written"),
        ("gemini/gemini-2.5-flash", "without `input_cost_per_audio_token` (1e-06): it is no rate for text"),
        (
            "deepseek/deepseek-chat",
            "without `input_cost_per_token_cache_hit` (2.8e-08): a price list has nothing",
        ),
        ("dall-e-3", "left out: it has no `input_cost_per_token`; it is charged by `input_cost_per_image`"),
        ("whisper-1", "left out: it has no `input_cost_per_token`; it is charged by `input_cost_per_second`"),
        ("tts-1", "left out: it has no `input_cost_per_token`; it is charged by `input_cost_per_character`"),
        ("gemini-1.0-pro-vision", "without `input_cost_per_image` (0.0025)"),
        ("vertex/chat-bison", "without `input_cost_per_character` (2.5e-07)"),
        ("vertex/chat-bison", "without `output_cost_per_character` (5e-07)"),
        ("replicate/too-fine", "left out: `input_cost_per_token` (3.3333333333333335e-07) is finer"),
        ("replicate/fine-cache", "left out: `cache_read_input_token_cost` (1e-14) is finer"),
        ("a-negative-one", "left out: `input_cost_per_token` (-1e-06) is negative"),
        ("a-word-for-a-number", "left out: `input_cost_per_token` (cheap) is not a number"),
        ("only-input", "left out: it has no `output_cost_per_token`"),
        ("only-output", "left out: it has no `input_cost_per_token`"),
        ("uneven-batches", "without `input_cost_per_token_batches` (5e-07): batches are not"),
        ("uneven-batches", "without `output_cost_per_token_batches` (1e-06): batches are not"),
        ("half-batches", "without `input_cost_per_token_batches` (5e-07): batches are not"),
        (
            "dashscope/qwen-turbo",
            "without `tiered_pricing.cache_creation_input_token_cost_above_1hr` (9e-06)",
        ),
        ("dashscope/a-gap", "left out: `tiered_pricing` is no list of ranges that follow each other"),
        ("dashscope/told-twice", "left out: it tells its tiers in two ways"),
        ("us/with-a-factor", "without `provider_specific_entry` ({ \"us\": 1.1 })"),
        ("perplexity/sonar", "without `citation_cost_per_token` (2e-06)"),
        ("perplexity/sonar", "without `input_cost_per_request` (0.005)"),
        ("twice", "left out: `input_cost_per_token` is there twice"),
        ("o-flex", "without `input_cost_per_token_flex` (5.5e-07): it is for another class"),
        ("o-flex", "without `output_cost_per_token_flex` (2.2e-06)"),
        ("no-provider", "left out: it has no `litellm_provider`"),
        ("not-an-object", "left out: it has no `litellm_provider`"),
        ("line\\nbreak", "left out: its name, or its provider's, is empty, too long or no text"),
    ] {
        let line = import.lost.iter().find(|line| line.starts_with(&format!("{model}: {why}")));
        told.push(line.unwrap_or_else(|| panic!("{model}: {why}\n{:#?}", import.lost)));
    }
    let rest: Vec<_> = import.lost.iter().filter(|line| !told.contains(line)).collect();
    assert!(rest.is_empty(), "{rest:#?}");
    assert_eq!((import.prices.len(), import.left_out), (26, 16));
}

#[test]
fn only_the_models_that_are_wanted_are_read() {
    let patterns = ["gpt-4o*".to_owned(), "azure/*".to_owned(), "nothing-like-it".to_owned()];
    let import = import(FILE, "2026-11-01", &patterns).unwrap();
    let names: Vec<_> = import.prices.iter().map(|entry| entry.model.as_str()).collect();
    assert_eq!(names, ["gpt-4o", "gpt-4o-mini", "gpt-4o", "eu/gpt-4o"]);
    assert_eq!(import.lost[0], "no model is like `nothing-like-it`");
    for (name, pattern, expected) in [
        ("gpt-4o", "gpt-4o", true),
        ("gpt-4o", "gpt-4?", true),
        ("gpt-4o", "gpt-4", false),
        ("gpt-4", "gpt-4?", false),
        ("gpt-4o", "*", true),
        ("", "*", true),
        ("", "", true),
        ("a/b/c", "a*c", true),
        ("a/b/c", "*b*", true),
        ("a/b/c", "**c", true),
        ("a/b/c", "a*b", false),
        ("aaa", "a*a*a*a", false),
        ("größe", "gr??e", true),
    ] {
        assert_eq!(is_like(name, pattern), expected, "{name} {pattern}");
    }
}

#[test]
fn a_file_that_is_something_else_is_refused() {
    for text in ["", "[]", "5", "{", "{}", r#"{"a": 1}"#, r#"{"prices": []}"#, r#"{"m": {"mode": "chat"}}"#] {
        assert!(import(text, "2026-11-01", &[]).is_err(), "{text}");
    }
}
