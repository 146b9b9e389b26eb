//! Fits a request to a model that does not take all of it: refuses, drops and rewrites parameters as configured.
//!
//! Everything is said as edits of the client's body, which is valid JSON before and after.

use super::fields::{Fields, Member};
use super::number::{Number, shown};
use super::{Span, WHITE};
use crate::config::{Action, Parameters, Rule};
use crate::message::Edit;
use crate::refusal::{Refusal, brief};

/// The edits for a model with these parameters. What is dropped is gone from the fields too.
pub fn edits(fields: &mut Fields<'_>, body: &str, parameters: &Parameters) -> Result<Vec<Edit>, Refusal> {
    if parameters.is_empty() {
        return Ok(Vec::new());
    }
    let mut edits = Vec::new();
    let mut dropped = Vec::new();
    for member in &fields.members {
        let name = member.field.name;
        let Some(rule) = parameters.rule(name) else { continue };
        check_range(member, rule)?;
        match rule.action {
            Action::Allow => {}
            Action::Refuse => return Err(unsupported(name)),
            Action::Drop => dropped.push(*member),
            Action::Rewrite => match name {
                "max_tokens" => {
                    rename(fields, body, member, "max_completion_tokens", &mut edits, &mut dropped)
                }
                "max_completion_tokens" => {
                    rename(fields, body, member, "max_tokens", &mut edits, &mut dropped)
                }
                _ => {
                    edits.extend(instruction(fields, member));
                    dropped.push(*member);
                }
            },
        }
    }
    for media in &fields.media {
        if parameters.rule(media).is_some_and(|rule| rule.action == Action::Refuse) {
            let (param, value) = ("messages".into(), format!("parts of type '{media}'"));
            return Err(Refusal::UnsupportedValue { param, value });
        }
    }
    match parameters.rule("developer").map(|rule| rule.action) {
        Some(Action::Refuse) if !fields.developers.is_empty() => {
            let (param, value) = ("messages".into(), "the role 'developer'".into());
            return Err(Refusal::UnsupportedValue { param, value });
        }
        Some(Action::Rewrite) => edits.extend(fields.developers.iter().map(|role| role.replaced("system"))),
        _ => {}
    }
    remove(fields.count, body, &dropped, &mut edits);
    for member in &dropped {
        forget(fields, member.field.name);
    }
    Ok(edits)
}

fn check_range(member: &Member<'_>, rule: &Rule) -> Result<(), Refusal> {
    let Some(number) = Number::read(member.text) else { return Ok(()) };
    let (param, got) = (member.field.name.into(), brief(member.text));
    match (rule.least, rule.most) {
        (Some(least), _) if number.is_below(least) => {
            Err(Refusal::DecimalBelow { param, least: shown(least), got })
        }
        (_, Some(most)) if number.is_above(most) => {
            Err(Refusal::DecimalAbove { param, most: shown(most), got })
        }
        _ => Ok(()),
    }
}

fn unsupported(param: &'static str) -> Refusal {
    let instead = match param {
        "max_tokens" => Some("max_completion_tokens"),
        "max_completion_tokens" => Some("max_tokens"),
        _ => None,
    };
    Refusal::Unsupported { param, instead }
}

/// Sends a parameter under another name, or not at all if that is there too: both are alike then.
fn rename<'b>(
    fields: &Fields<'b>,
    body: &str,
    member: &Member<'b>,
    name: &str,
    edits: &mut Vec<Edit>,
    dropped: &mut Vec<Member<'b>>,
) {
    if fields.member(name).is_some() {
        dropped.push(*member);
    } else {
        edits.extend(key(body, member).map(|key| key.replaced(format!("\"{name}\""))));
    }
}

/// A message in place of `response_format`.
fn instruction(fields: &Fields<'_>, member: &Member<'_>) -> Option<Edit> {
    #[derive(serde::Deserialize)]
    struct Format<'f> {
        #[serde(borrow, rename = "type")]
        kind: std::borrow::Cow<'f, str>,
        #[serde(borrow)]
        json_schema: Option<Described<'f>>,
    }
    #[derive(serde::Deserialize)]
    struct Described<'f> {
        #[serde(borrow)]
        schema: Option<&'f serde_json::value::RawValue>,
    }
    let format: Format<'_> = serde_json::from_str(member.text).ok()?;
    let mut text = match &*format.kind {
        "json_object" | "json_schema" => "Answer with one JSON object and nothing else.".to_owned(),
        _ => return None,
    };
    if let Some(schema) = format.json_schema.and_then(|described| described.schema) {
        text.push_str(" It must match this JSON Schema: ");
        text.push_str(schema.get());
    }
    let content = serde_json::to_string(&text).ok()?;
    // Behind the bracket; an array of messages is never empty.
    let first = fields.messages_at?.after();
    Some(first.replaced(format!(r#"{{"role":"system","content":{content}}},"#)))
}

/// Takes members out of the body, each with one of the commas around it.
fn remove(count: usize, body: &str, dropped: &[Member<'_>], edits: &mut Vec<Edit>) {
    let mut end = count;
    // Those at the end of the object have no comma behind: the one before the first of them goes.
    let at_end = dropped.iter().rev().take_while(|member| {
        let is_last = member.order.checked_add(1) == Some(end);
        end = if is_last { member.order } else { end };
        is_last
    });
    let tail = at_end.count();
    let (middle, tail) = dropped.split_at(dropped.len().saturating_sub(tail));
    for member in middle {
        edits.extend(key(body, member).and_then(|key| {
            let rest = body.get(usize::try_from(member.value.end).ok()?..)?;
            let behind = rest.trim_start_matches(WHITE).strip_prefix(',')?;
            Some(Span { start: key.start, end: Span::of(behind, body)?.start }.replaced(""))
        }));
    }
    if let (Some(first), Some(last)) = (tail.first(), tail.last()) {
        edits.extend(key(body, first).and_then(|key| {
            let before = body.get(..usize::try_from(key.start).ok()?)?.trim_end_matches(WHITE);
            let comma = before.strip_suffix(',').and_then(|kept| u32::try_from(kept.len()).ok());
            Some(Span { start: comma.unwrap_or(key.start), end: last.value.end }.replaced(""))
        }));
    }
}

/// Where a member's key stands, with its quotes. None of the known names has a quote in it, however it is written.
fn key(body: &str, member: &Member<'_>) -> Option<Span> {
    let before = body.get(..usize::try_from(member.value.start).ok()?)?;
    let quoted = before.trim_end_matches(WHITE).strip_suffix(':')?.trim_end_matches(WHITE);
    let start = quoted.strip_suffix('"')?.rfind('"')?;
    Span::of(quoted.get(start..)?, body)
}

/// What is not sent says nothing.
fn forget(fields: &mut Fields<'_>, name: &str) {
    match name {
        "n" => fields.choices = None,
        "max_tokens" => fields.max_tokens = None,
        "max_completion_tokens" => fields.max_completion_tokens = None,
        "tools" => fields.has_tools = false,
        _ => {}
    }
}
