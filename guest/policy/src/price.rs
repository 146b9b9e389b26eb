//! What an exchange costs at a price, and the most that it can.
//!
//! A charge is summed in 128 bits and rounded up once, to nano-units (10^-9). A provider may ask another rate for all
//! tokens of a request whose input is long: the tier is chosen by the input tokens that were really counted, and what
//! is held before is the most that any tier within reach can cost.

pub mod built_in;
pub mod listed;
pub mod rates;

pub use self::rates::{Rates, Tier};
use crate::message;
use crate::meter::Counts;
use crate::money::{Currency, MOST_MONEY};

/// A price, in the currency in which it is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// Of what.
    pub currency: Currency,
    /// Up to the first tier.
    pub rates: Rates,
    /// In the order of their beginnings.
    pub tiers: Vec<Tier>,
    /// From when on the price is known to count: milliseconds since the epoch.
    pub since_ms: Option<u64>,
    /// Where it comes from, in words.
    pub source: Option<String>,
}

/// What so many tokens cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Nano-units.
    pub nano: u64,
    /// The tier whose rates were used; 0: none.
    pub tier: u32,
}

const PICO_IN_NANO: u128 = 1_000;

impl Price {
    /// No charge.
    pub const FREE: Self = Self {
        currency: Currency::NONE,
        rates: Rates { input: 0, cached_input: 0, cache_write: 0, output: 0, reasoning: 0 },
        tiers: Vec::new(),
        since_ms: None,
        source: None,
    };

    /// Whether nothing is ever charged.
    pub fn is_free(&self) -> bool {
        self.currency == Currency::NONE
    }

    /// The rates of a tier; 0 and whatever there is not: those below the first.
    pub fn rates_of(&self, tier: u32) -> &Rates {
        let index = usize::try_from(tier).ok().and_then(|tier| tier.checked_sub(1));
        index.and_then(|index| self.tiers.get(index)).map_or(&self.rates, |tier| &tier.rates)
    }

    /// The rates of a tier, as the books show them.
    pub fn shown(&self, tier: u32) -> message::Price {
        let Rates { input, cached_input, cache_write, output, reasoning } = *self.rates_of(tier);
        let (since_ms, source) = (self.since_ms, self.source.clone());
        message::Price { input, cached_input, cache_write, output, reasoning, since_ms, source }
    }

    /// What was used costs so much. Parts that are more than the whole are cut down to it.
    pub fn charge(&self, counts: &Counts) -> Cost {
        let reached = self.tiers.partition_point(|tier| tier.above < counts.input);
        let tier = u32::try_from(reached).unwrap_or(u32::MAX);
        let rates = self.rates_of(tier);
        let cached = counts.cached_input.min(counts.input);
        let written = counts.cache_write.min(counts.input.saturating_sub(cached));
        let fresh = counts.input.saturating_sub(cached).saturating_sub(written);
        let reasoning = counts.reasoning.min(counts.output);
        let said = counts.output.saturating_sub(reasoning);
        let nano = nano([
            (fresh, rates.input),
            (cached, rates.cached_input),
            (written, rates.cache_write),
            (said, rates.output),
            (reasoning, rates.reasoning),
        ]);
        // Nothing but a provider's nonsense costs more than the books can hold: it is charged as much as they can.
        Cost { nano: nano.min(MOST_MONEY), tier }
    }

    /// The most that so many tokens or fewer can cost, whatever kind of tokens they are. Not cut to what the books can
    /// hold: a ledger must be able to see that no budget covers it.
    ///
    /// INVARIANT (never over-admit): no charge for counts within these bounds is larger.
    pub fn bound(&self, input: u64, output: u64) -> Cost {
        let mut most = Cost { nano: 0, tier: 0 };
        let ends = self.tiers.iter().map(|tier| tier.above).chain([u64::MAX]);
        let begins = [0].into_iter().chain(self.tiers.iter().map(|tier| tier.above));
        for (tier, (begin, end)) in (0_u32..).zip(begins.zip(ends)) {
            if tier > 0 && input <= begin {
                break;
            }
            let rates = self.rates_of(tier);
            let dearest_input = rates.input.max(rates.cached_input).max(rates.cache_write);
            let dearest_output = rates.output.max(rates.reasoning);
            let nano = nano([(input.min(end), dearest_input), (output, dearest_output)]);
            if nano > most.nano {
                most = Cost { nano, tier };
            }
        }
        most
    }
}

fn nano<const N: usize>(parts: [(u64, u64); N]) -> u64 {
    let pico = parts
        .into_iter()
        // A product of two 64-bit numbers fits. Their sum might not, and then is far above every budget.
        .map(|(tokens, rate)| u128::from(tokens).saturating_mul(u128::from(rate)))
        .fold(0, u128::saturating_add);
    u64::try_from(pico.div_ceil(PICO_IN_NANO)).unwrap_or(u64::MAX)
}

/// The prices of a target over time; all of one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    /// The first, which counts from ever.
    first: Price,
    /// Those after it with their beginnings (milliseconds since the epoch), in their order.
    later: Vec<(u64, Price)>,
}

impl Prices {
    /// Free for ever.
    pub const FREE: Self = Self { first: Price::FREE, later: Vec::new() };

    /// From prices with their beginnings, in their order; the first one counts before its beginning too, so that
    /// there is no time without a price. None if there are none, or if they are of several currencies.
    pub fn new(prices: Vec<(u64, Price)>) -> Option<Self> {
        let mut prices = prices.into_iter();
        let (_, first) = prices.next()?;
        let later: Vec<_> = prices.collect();
        let are_one = later.iter().all(|(_, price)| price.currency == first.currency);
        are_one.then_some(Self { first, later })
    }

    /// The price in force at a time: milliseconds since the epoch.
    pub fn at(&self, now_ms: u64) -> &Price {
        let begun = self.later.partition_point(|(since_ms, _)| *since_ms <= now_ms);
        let last = begun.checked_sub(1).and_then(|index| self.later.get(index));
        last.map_or(&self.first, |(_, price)| price)
    }

    /// The currency of all of them.
    pub fn currency(&self) -> Currency {
        self.first.currency
    }

    /// Whether nothing is ever charged.
    pub fn is_free(&self) -> bool {
        self.first.is_free()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(rates: Rates, tiers: &[(u64, Rates)]) -> Price {
        let tiers = tiers.iter().map(|&(above, rates)| Tier { above, rates }).collect();
        Price { rates, tiers, currency: Currency::parse("USD").expect("a currency"), ..Price::FREE }
    }

    fn rates(input: u64, cached_input: u64, cache_write: u64, output: u64, reasoning: u64) -> Rates {
        Rates { input, cached_input, cache_write, output, reasoning }
    }

    fn counts(input: u64, cached_input: u64, cache_write: u64, output: u64, reasoning: u64) -> Counts {
        Counts { input, cached_input, cache_write, output, reasoning, estimated: false }
    }

    #[test]
    fn a_charge_is_rounded_up_once() {
        let price = price(rates(70_000, 1, 90_000, 420_001, 7), &[]);
        let charge = |counts| price.charge(&counts).nano;
        assert_eq!(charge(counts(0, 0, 0, 0, 0)), 0);
        assert_eq!(charge(counts(1, 1, 0, 0, 0)), 1);
        assert_eq!(charge(counts(3, 1, 0, 2, 0)), 981, "140,000 + 1 + 840,002 pico-units");
        assert_eq!(charge(counts(3, 1, 1, 2, 1)), 581, "70,000 + 1 + 90,000 + 420,001 + 7 pico-units");
        assert_eq!(charge(counts(1, 9, 0, 0, 0)), 1, "no more can be cached than was sent");
        assert_eq!(charge(counts(2, 1, 9, 0, 0)), 91, "nor be written to the cache");
        assert_eq!(charge(counts(0, 0, 0, 1, 9)), 1, "nor be reasoning than was said");
    }

    #[test]
    fn a_tier_is_chosen_by_the_tokens_counted() {
        let cheap = rates(1_000, 1_000, 1_000, 1_000, 1_000);
        let dear = rates(2_000, 2_000, 2_000, 5_000, 5_000);
        let middle = rates(3_000, 3_000, 3_000, 3_000, 3_000);
        let price = price(cheap, &[(100, middle), (200, dear)]);
        let charge = |input, output| {
            let Cost { nano, tier } = price.charge(&counts(input, 0, 0, output, 0));
            (nano, tier)
        };
        assert_eq!(charge(100, 10), (110, 0));
        assert_eq!(charge(101, 10), (333, 1), "all of the request is in the tier");
        assert_eq!(charge(200, 10), (630, 1));
        assert_eq!(charge(201, 10), (452, 2), "a later tier may cost less");
        let bound = |input, output| {
            let Cost { nano, tier } = price.bound(input, output);
            (nano, tier)
        };
        assert_eq!(bound(100, 10), (110, 0), "no tier is within reach");
        assert_eq!(bound(201, 10), (630, 1), "200 tokens of the tier before cost more");
        assert_eq!(bound(201, 1_000), (5_402, 2));
        assert_eq!((price.rates_of(2), price.rates_of(9)), (&dear, &cheap));
    }

    #[test]
    fn absurd_counts_are_clamped_and_absurd_bounds_are_not() {
        let most = rates::MOST_RATE;
        let price = price(rates(most, 0, 0, most, 0), &[]);
        assert_eq!(price.charge(&counts(u64::MAX, 0, 0, u64::MAX, 0)).nano, MOST_MONEY);
        assert!(price.bound(u64::MAX, u64::MAX).nano > MOST_MONEY);
        assert_eq!(price.bound(1_000, 1).nano, 1_001_000_000_000, "1,001 tokens at a unit each");
    }

    #[test]
    fn the_price_in_force_is_the_last_that_began() {
        let of = |input| price(rates(input, 0, 0, 0, 0), &[]);
        let prices = Prices::new(vec![(50, of(1)), (100, of(2)), (200, of(3))]).expect("prices");
        let at = |now| prices.at(now).rates.input;
        assert_eq!([at(0), at(50), at(99), at(100), at(199), at(200), at(u64::MAX)], [1, 1, 1, 2, 2, 3, 3]);
        assert_eq!(Prices::new(vec![]), None);
        assert_eq!(Prices::new(vec![(0, of(1)), (1, Price::FREE)]), None, "of two currencies");
    }

    fn any_rates() -> impl Strategy<Value = Rates> {
        let rate = || prop_oneof![Just(0), 0..20_000_u64, 0..=rates::MOST_RATE, Just(1_u64 << 50)];
        (rate(), rate(), rate(), rate(), rate()).prop_map(|(input, cached, written, output, reasoning)| {
            rates(input, cached, written, output, reasoning)
        })
    }

    fn any_price() -> impl Strategy<Value = Price> {
        let above = prop_oneof![1..300_u64, 1..2_000_000_u64];
        let tiers = prop::collection::btree_map(above, any_rates(), 0..4);
        (any_rates(), tiers).prop_map(|(base, tiers)| price(base, &tiers.into_iter().collect::<Vec<_>>()))
    }

    fn count() -> impl Strategy<Value = u64> {
        prop_oneof![0..400_u64, 0..3_000_000_u64, any::<u64>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// INVARIANT (never over-admit): see [`Price::bound`].
        #[test]
        fn never_over_admit_whatever_the_tokens_turn_out_to_be(
            price in any_price(), held in (count(), count()), part in (count(), count(), count(), count(), count()),
            near in any::<bool>(),
        ) {
            let bound = price.bound(held.0, held.1);
            let within = |part: u64, most: u64| if part <= most { part } else { part % most.saturating_add(1).max(1) };
            let mut inputs = vec![within(part.0, held.0)];
            if near {
                let edges = price.tiers.iter().flat_map(|tier| [tier.above, tier.above + 1]);
                inputs.extend(edges.chain([held.0]).filter(|input| *input <= held.0));
            }
            for input in inputs {
                let used = counts(input, part.1, part.2, within(part.3, held.1), part.4);
                let charged = price.charge(&used);
                prop_assert!(charged.nano <= bound.nano, "{:?} is above {:?} for {:?}", charged, bound, used);
            }
        }

        /// A bound is no larger than some charge within it needs, but for one more nano-unit.
        #[test]
        fn a_bound_can_be_reached(price in any_price(), input in 0..400_u64, output in 0..400_u64) {
            let bound = price.bound(input, output);
            let edges = price.tiers.iter().map(|tier| tier.above).chain([input]).filter(|edge| *edge <= input);
            let charges = edges.flat_map(|input| {
                let kinds = [(0, 0), (input, 0), (0, input)];
                let uses = kinds.into_iter().flat_map(move |(cached, written)| {
                    [0, output].map(|reasoning| counts(input, cached, written, output, reasoning))
                });
                uses.map(|used| price.charge(&used).nano).collect::<Vec<_>>()
            });
            prop_assert_eq!(charges.max(), Some(bound.nano.min(MOST_MONEY)));
        }
    }
}
