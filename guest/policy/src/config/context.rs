//! How much a model's context holds, and what becomes of a conversation that is longer.

use std::collections::BTreeSet;

use tollgate_document::{DeValue, Node, Problems, Section};

use super::keys::no_model;
use super::models::{Declared, Model};
use crate::endpoint::Kind;
use crate::estimate::MOST_OUTPUT;

/// The context of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Tokens that input and output have together; at least 1.
    pub window: u64,
    /// What becomes of a conversation that is longer.
    pub overflow: Overflow,
}

/// What becomes of a conversation that is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It is refused.
    #[default]
    Refuse,
    /// Its oldest turns are left out.
    Truncate,
    /// It is sent to another model, known by its index.
    Fallback(u32),
}

/// `context_overflow` as it was read: another model may come later in the file.
pub struct Draft<'d> {
    node: Node<'d>,
    window: u64,
    overflow: Drafted<'d>,
}

enum Drafted<'d> {
    Sound(Overflow),
    Fallback(Node<'d>),
}

/// Reads `context_window` and `context_overflow` of a model.
pub fn read<'d>(section: &Section<'d>, problems: &mut Problems<'_>) -> Option<Draft<'d>> {
    let window = section.get("context_window");
    let overflow = section.get("context_overflow");
    if let (None, Some(node)) = (&window, &overflow) {
        node.wrong(problems, "needs `context_window`: without one nothing is too long");
    }
    let overflow = match overflow {
        Some(node) => drafted(&node, problems),
        None => Some(Drafted::Sound(Overflow::default())),
    };
    let node = window?;
    let window = node.whole(1, MOST_OUTPUT, problems);
    Some(Draft { node, window: window?, overflow: overflow? })
}

fn drafted<'d>(node: &Node<'d>, problems: &mut Problems<'_>) -> Option<Drafted<'d>> {
    const FORM: &str =
        "must be `\"refuse\"`, `\"truncate\"` or a table such as `{ fallback = \"another-model\" }`";
    match node.value() {
        DeValue::String(text) => match &**text {
            "refuse" => Some(Drafted::Sound(Overflow::Refuse)),
            "truncate" => Some(Drafted::Sound(Overflow::Truncate)),
            _ => {
                node.wrong(problems, FORM);
                None
            }
        },
        DeValue::Table(_) => {
            let section = node.section(problems)?;
            section.only(&["fallback"], problems);
            section.need("fallback", "the name of another model", problems).map(Drafted::Fallback)
        }
        _ => {
            node.wrong(problems, FORM);
            None
        }
    }
}

/// Gives each of the models its context; a draft is known by the index of its model. Every model is known now.
pub fn resolve(
    drafts: Vec<(usize, Draft<'_>)>,
    declared: &Declared<'_>,
    models: &mut [Model],
    problems: &mut Problems<'_>,
) {
    let mut fallbacks = Vec::new();
    for (index, draft) in drafts {
        let overflow = match draft.overflow {
            Drafted::Sound(overflow) => Some(overflow),
            Drafted::Fallback(node) => {
                let other = fallback(&node, declared, models, problems);
                fallbacks.push((index, node));
                other.map(Overflow::Fallback)
            }
        };
        let Some(model) = models.get_mut(index) else { continue };
        if !model.endpoints.contains(&Kind::Chat) {
            draft.node.wrong(problems, "is about conversations, and the model does not serve `chat`");
        }
        model.context = overflow.map(|overflow| Context { window: draft.window, overflow });
    }
    for (index, node) in fallbacks {
        if leads_back(index, models) {
            node.wrong(
                problems,
                "leads back to this model: a conversation that is too long would go in circles",
            );
        }
    }
}

fn fallback(
    node: &Node<'_>,
    declared: &Declared<'_>,
    models: &[Model],
    problems: &mut Problems<'_>,
) -> Option<u32> {
    let name = node.text(problems)?;
    let Some(index) = declared.get(name) else {
        let known: Vec<&str> = declared.keys().copied().collect();
        node.wrong(problems, no_model(name, &known));
        return None;
    };
    // One that has a problem itself is not a second one.
    let index = (*index)?;
    let model = usize::try_from(index).ok().and_then(|index| models.get(index))?;
    if !model.endpoints.contains(&Kind::Chat) {
        node.wrong(problems, "does not serve `chat`");
        return None;
    }
    Some(index)
}

/// Whether the fallbacks of a model come back to it.
fn leads_back(start: usize, models: &[Model]) -> bool {
    let mut seen = BTreeSet::new();
    let mut at = start;
    while let Some(Overflow::Fallback(next)) =
        models.get(at).and_then(|model| model.context).map(|context| context.overflow)
    {
        let Ok(next) = usize::try_from(next) else { return false };
        if next == start {
            return true;
        }
        if !seen.insert(next) {
            // A circle of others, which is their problem.
            return false;
        }
        at = next;
    }
    false
}
