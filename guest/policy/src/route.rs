//! Which targets a request can use, and in which order they are tried.

use crate::config::{By, Config, Model, Target, When};
use crate::message::Priority;
use crate::ticket::Step;

/// What is known of a request when its targets are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'f> {
    /// Which header conditions hold.
    pub headers: u64,
    /// The key's tags.
    pub tags: &'f [String],
    pub priority: Priority,
    pub stream: bool,
    pub tools: bool,
    /// Estimated input tokens.
    pub input: u64,
    /// The most output tokens.
    pub output: u64,
    /// Milliseconds since the epoch.
    pub now_ms: u64,
    /// Uniformly random bits.
    pub random: u64,
    /// Milliseconds for each upstream.
    pub latencies: &'f [Option<u32>],
}

/// The targets of a model that the request can use, the one to try first in front. Empty: none of them.
pub fn plan(config: &Config, model: u32, facts: &Facts<'_>) -> Vec<Step> {
    let Some(found) = config.model(model) else { return Vec::new() };
    let fits = |target: &&(u32, &Target)| facts.fit(&target.1.when);
    let mut targets: Vec<(u32, &Target)> = (0..).zip(&found.targets).collect();
    targets.retain(|target| fits(&target));
    sort(found, &mut targets, facts);
    targets.into_iter().map(|(target, _)| Step { model, target, change: None, spare: false }).collect()
}

fn sort(model: &Model, targets: &mut Vec<(u32, &Target)>, facts: &Facts<'_>) {
    match model.route.by {
        By::Order => {}
        By::Weight => shuffle(targets, facts.random),
        By::Price => {
            order(targets, &|target| target.prices.at(facts.now_ms).bound(facts.input, facts.output).nano);
        }
        // Who was never measured comes first: else it never would be.
        By::Latency => order(targets, &|target| facts.latency(target).into()),
    }
    let regions = &model.route.regions;
    if !regions.is_empty() {
        order(targets, &|target| {
            let region = target.region.as_ref();
            let rank = region.and_then(|own| regions.iter().position(|region| region == own));
            rank.and_then(|rank| u64::try_from(rank).ok()).unwrap_or(u64::MAX)
        });
    }
}

/// Puts targets into the order of a number of theirs; where it is the same they stay as they are. They are few.
fn order(targets: &mut Vec<(u32, &Target)>, number: &dyn Fn(&Target) -> u64) {
    let mut numbers = Vec::with_capacity(targets.len());
    for target in std::mem::take(targets) {
        let own = number(target.1);
        let place = numbers.partition_point(|known| *known <= own);
        numbers.insert(place, own);
        targets.insert(place, target);
    }
}

/// Draws one after another, each with a chance in proportion to its weight among those that are left.
fn shuffle(targets: &mut Vec<(u32, &Target)>, mut random: u64) {
    let mut left = std::mem::take(targets);
    while !left.is_empty() {
        let total: u64 = left.iter().map(|(_, target)| u64::from(target.weight)).sum();
        let mut point = random.checked_rem(total).unwrap_or(0);
        let drawn = left.iter().position(|(_, target)| {
            let weight = u64::from(target.weight);
            let hit = point < weight;
            point = point.saturating_sub(weight);
            hit
        });
        targets.push(left.remove(drawn.unwrap_or(0)));
        // Other bits for the next draw: a step of SplitMix64.
        random = (random ^ (random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        random ^= random >> 27;
    }
}

impl Facts<'_> {
    fn fit(&self, when: &When) -> bool {
        self.headers & when.headers == when.headers
            && when.tag.as_ref().is_none_or(|tag| self.tags.contains(tag))
            && when.stream.is_none_or(|stream| stream == self.stream)
            && when.tools.is_none_or(|tools| tools == self.tools)
            && when.min_input_tokens.is_none_or(|least| self.input >= least)
            && when.max_input_tokens.is_none_or(|most| self.input <= most)
            && when.priority.is_none_or(|priority| priority == self.priority)
    }

    fn latency(&self, target: &Target) -> u32 {
        self.latencies.get(target.upstream_index).copied().flatten().unwrap_or(0)
    }
}
