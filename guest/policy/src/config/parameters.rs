//! `parameters` of a model: what it does not take as the endpoint's reference has it.

use std::collections::BTreeMap;

use tollgate_document::{DeValue, Node, Problems, Section, nearest, shown};

use crate::request::{Number, Thousandths, Type, parameter};

/// What is done with a parameter, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, Rule>);

/// What is done with one parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub action: Action,
    /// The least value, in thousandths.
    pub least: Option<Thousandths>,
    /// The largest value, in thousandths.
    pub most: Option<Thousandths>,
}

/// What is done where a parameter is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is sent as it is.
    Allow,
    /// The request is refused.
    Refuse,
    /// It is left out.
    Drop,
    /// It is said in another way.
    Rewrite,
}

/// Parts and roles of messages that have rules like parameters.
const IN_MESSAGES: [&str; 4] = ["developer", "image_url", "input_audio", "file"];

impl Parameters {
    /// Whether everything is sent as it is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rule for a parameter, if it has one.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.0.get(name)
    }
}

/// Reads `parameters` of a model.
pub fn read(section: &Section<'_>, problems: &mut Problems<'_>) -> Parameters {
    let Some(section) = section.get("parameters").and_then(|node| node.section(problems)) else {
        return Parameters::default();
    };
    let mut rules = BTreeMap::new();
    for (name, node) in section.entries() {
        let of = parameter(name).map(|field| &field.of);
        if of.is_none() && !IN_MESSAGES.contains(&name) {
            node.wrong(problems, unknown(name));
            continue;
        }
        let rule = match node.value() {
            DeValue::String(_) => action(name, &node, problems),
            _ => range(of, &node, problems),
        };
        rules.extend(rule.map(|rule| (name.to_owned(), rule)));
    }
    Parameters(rules)
}

fn unknown(name: &str) -> String {
    const SOME: [&str; 24] = [
        "developer",
        "dimensions",
        "encoding_format",
        "file",
        "frequency_penalty",
        "image_url",
        "input_audio",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "modalities",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "service_tier",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
    ];
    match nearest(name, &SOME) {
        Some(near) => format!("there is no parameter `{}`; did you mean `{near}`?", shown(name)),
        None => format!("there is no parameter `{}` that a model could have a rule for", shown(name)),
    }
}

fn action(name: &str, node: &Node<'_>, problems: &mut Problems<'_>) -> Option<Rule> {
    const REWRITTEN: [&str; 4] = ["developer", "max_tokens", "max_completion_tokens", "response_format"];
    let is_in_messages = IN_MESSAGES.contains(&name);
    let action = match node.text(problems)? {
        "refuse" => Action::Refuse,
        "drop" if !is_in_messages => Action::Drop,
        "rewrite" if REWRITTEN.contains(&name) => Action::Rewrite,
        _ => {
            let mut known = vec!["`refuse`"];
            known.extend((!is_in_messages).then_some("`drop`"));
            known.extend(REWRITTEN.contains(&name).then_some("`rewrite`"));
            node.wrong(problems, format!("must be {}", known.join(" or ")));
            return None;
        }
    };
    Some(Rule { action, least: None, most: None })
}

fn range(of: Option<&Type>, node: &Node<'_>, problems: &mut Problems<'_>) -> Option<Rule> {
    if !matches!(of, Some(Type::Integer { .. } | Type::Decimal { .. })) {
        node.wrong(
            problems,
            "must be `\"refuse\"` or another word: this is no number that could have a range",
        );
        return None;
    }
    let section = node.section(problems)?;
    section.only(&["min", "max"], problems);
    let mut limit = |name| section.get(name).map(|node| thousandths(&node, problems));
    let (least, most) = (limit("min"), limit("max"));
    let (least, most) = (least.flatten(), most.flatten());
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        node.wrong(problems, "has a `min` above its `max`");
    }
    Some(Rule { action: Action::Allow, least, most })
}

fn thousandths(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<Thousandths> {
    let text = match node.value() {
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
        DeValue::Float(float) => float.as_str(),
        _ => "",
    };
    let read = Number::read(text).and_then(Number::thousandths);
    if read.is_none() {
        node.wrong(problems, "must be a number with at most three digits after the point");
    }
    read
}
