//! The fields that limit a key or a scope, and whether the currencies of budgets are those of the models' prices.

use std::collections::BTreeSet;

use super::models::Model;
use crate::limit::{Limit, MOST_AT_ONCE, MOST_BUDGETS};
use crate::message::Priority;
use crate::money::Currency;
use tollgate_document::{DeValue, Node, Problems, Section, shown};

/// The names of the fields.
pub const FIELDS: [&str; 4] = ["requests", "tokens", "concurrent", "budget"];

/// The limits of a table.
#[derive(Default)]
pub struct Drafted<'d> {
    /// Those that are sound, in the order of their claims.
    pub limits: Vec<Limit>,
    /// Where each budget stands.
    budgets: Vec<(Node<'d>, Currency)>,
}

/// Reads the limits of a table, which are those of `scope`.
pub fn read<'d>(section: &Section<'d>, scope: &str, problems: &mut Problems<'_>) -> Drafted<'d> {
    let mut drafted = Drafted::default();
    for (name, parse) in [("requests", Limit::requests as fn(&str, &str) -> _), ("tokens", Limit::tokens)] {
        if let Some(node) = section.get(name) {
            let limit = node.text(problems).and_then(|text| sound(&node, parse(scope, text), problems));
            drafted.limits.extend(limit);
        }
    }
    if let Some(node) = section.get("concurrent") {
        let most = node.whole(1, MOST_AT_ONCE, problems);
        drafted.limits.extend(most.and_then(|most| sound(&node, Limit::concurrent(scope, most), problems)));
    }
    for node in section.get("budget").map_or_else(Vec::new, |node| one_or_more(node, problems)) {
        let limit = node.text(problems).and_then(|text| sound(&node, Limit::money(scope, text), problems));
        let Some((limit, currency)) = limit.and_then(|limit| limit.currency().map(|found| (limit, found)))
        else {
            continue;
        };
        if drafted.limits.iter().any(|known| known.shares_cell(&limit)) {
            node.wrong(problems, "is a second budget of this currency and period");
            continue;
        }
        drafted.limits.push(limit);
        drafted.budgets.push((node, currency));
    }
    drafted
}

impl Drafted<'_> {
    /// Notes every budget that would meet a price in another currency.
    pub fn meet(&self, models: &[Model], allowed: &Allowed, problems: &mut Problems<'_>) {
        for (node, currency) in &self.budgets {
            for message in clashes(*currency, models, allowed) {
                node.wrong(problems, message);
            }
        }
    }
}

/// Which models may be used, by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// Every model.
    #[default]
    All,
    /// These.
    Only(BTreeSet<u32>),
}

impl Allowed {
    /// Whether the model with this index is among them.
    pub fn contains(&self, model: u32) -> bool {
        match self {
            Self::All => true,
            Self::Only(models) => models.contains(&model),
        }
    }

    /// These and those.
    pub fn join(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Only(models), Self::Only(more)) => models.extend(more),
            _ => *self = Self::All,
        }
    }
}

/// A budget counts one currency: what is wrong with each model it may meet that is priced in another.
pub fn clashes(currency: Currency, models: &[Model], allowed: &Allowed) -> impl Iterator<Item = String> {
    let met = (0_u32..).zip(models).filter(|(index, _)| allowed.contains(*index));
    met.filter_map(move |(_, model)| {
        let mut prices = model.targets.iter().map(|target| &target.prices);
        let price = prices.find(|price| !price.is_free() && price.currency() != currency)?;
        let (budget, priced, name) = (currency.as_str(), price.currency(), shown(&model.name));
        let priced = priced.as_str();
        Some(format!(
            "the budget is in {budget}, but model `{name}` is priced in {priced}: give it `charge_in = \"{budget}\"` \
             and `[[exchange_rates]]` a rate from {priced} to {budget}"
        ))
    })
}

/// A value, or those of an array.
fn one_or_more<'d>(node: Node<'d>, problems: &mut Problems<'_>) -> Vec<Node<'d>> {
    if !matches!(node.value(), DeValue::Array(_)) {
        return vec![node];
    }
    let nodes = node.list(problems).unwrap_or_default();
    if nodes.is_empty() {
        node.wrong(problems, "needs at least one budget; leave `budget` out to set none");
    }
    if nodes.len() > MOST_BUDGETS {
        node.wrong(problems, format!("must be at most {MOST_BUDGETS} budgets"));
        return Vec::new();
    }
    nodes
}

fn sound(node: &Node<'_>, limit: Result<Limit, String>, problems: &mut Problems<'_>) -> Option<Limit> {
    limit.map_err(|message| node.wrong(problems, message)).ok()
}

/// So many tags a key can have.
pub const MOST_TAGS: usize = 16;

/// Whether a text is a tag: 1 to 64 of `A-Z a-z 0-9 . _ : -`.
pub fn is_tag(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(is_known)
}

/// A tag of a key.
pub fn tag(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<String> {
    let text = node.text(problems)?;
    if !is_tag(text) {
        node.wrong(problems, "a tag has 1 to 64 of `A-Z a-z 0-9 . _ : -`");
        return None;
    }
    Some(text.to_owned())
}

/// How urgent a key's requests are.
pub fn priority(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<Priority> {
    match node.text(problems)? {
        "urgent" => Some(Priority::Urgent),
        "normal" => Some(Priority::Normal),
        "batch" => Some(Priority::Batch),
        _ => {
            node.wrong(problems, "must be `urgent`, `normal` or `batch`");
            None
        }
    }
}
