//! The catalogue that is built in: `prices/catalogue.json`, as the build script wrote it out.
//!
//! It is a table of constants, sorted by name and day. Nothing is read or allocated for it when an instance starts.

use std::borrow::Cow;

use super::listed::Listed;
use super::rates::{Rates, Tier};

/// Every price of the catalogue.
pub static CATALOGUE: &[Listed<'static>] = &include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::listed::read;

    const FILE: &str = include_str!("../../../../prices/catalogue.json");

    #[test]
    fn the_table_is_the_file() {
        assert_eq!(read(FILE).expect("the catalogue is well-formed"), CATALOGUE);
    }

    #[test]
    fn the_catalogue_is_plausible() {
        assert!(CATALOGUE.len() >= 40, "a few dozen models");
        let mut providers: Vec<&str> =
            CATALOGUE.iter().filter_map(|listed| listed.name.split('/').next()).collect();
        providers.dedup();
        for provider in ["anthropic", "deepseek", "google", "mistral", "openai"] {
            assert!(providers.contains(&provider), "{provider}");
        }
        for listed in CATALOGUE {
            let Rates { input, cached_input, cache_write, output, reasoning } = listed.rates;
            assert!(input > 0 && cached_input <= input && input <= cache_write, "{}", listed.name);
            assert!(output == 0 || input <= output && output == reasoning, "{}", listed.name);
            assert!(listed.tiers.iter().all(|tier| tier.rates.input > input), "{}", listed.name);
            assert!(output <= 1_000_000_000, "a thousand units for a million tokens: {}", listed.name);
        }
        let discounts = CATALOGUE.iter().filter(|listed| listed.batch_discount > 0).count();
        assert!(discounts > 10 && CATALOGUE.iter().any(|listed| !listed.tiers.is_empty()));
        let names = CATALOGUE.windows(2).filter(|pair| pair[0].name == pair[1].name);
        assert!(names.count() > 0, "a model whose price has changed");
    }
}
