//! Calling a tool: when, which one, and with which arguments.

use serde_json::{Map, Value, json};

use crate::ask::{self, Fields};

/// Nested schemas are followed this far.
const DEPTH: u32 = 8;

/// A call the answer consists of.
pub struct Call {
    /// The tool's name.
    pub name: String,
    /// JSON that fits the tool's schema.
    pub arguments: String,
}

/// The tool to call: the one that `tool_choice` demands, or that the last message, a user's, mentions by name.
pub fn call(fields: &Fields, messages: &[Value]) -> Option<Call> {
    let functions: Vec<&Value> =
        fields.get("tools")?.as_array()?.iter().filter_map(|tool| tool.get("function")).collect();
    let chosen = match fields.get("tool_choice") {
        Some(Value::String(choice)) if choice == "none" => None,
        Some(Value::String(choice)) if choice == "required" => functions.first().copied(),
        Some(Value::Object(choice)) => {
            let wanted = choice.get("function").and_then(|function| function.get("name"));
            functions.iter().copied().find(|function| function.get("name") == wanted)
        }
        _ => {
            let last =
                messages.last().filter(|message| message.get("role").is_some_and(|role| role == "user"))?;
            let mut text = String::new();
            ask::text_of(last, &mut text);
            let mentioned = |function: &&Value| name(function).is_some_and(|name| text.contains(name));
            functions.iter().copied().find(mentioned)
        }
    }?;
    let arguments = chosen.get("parameters").map_or_else(|| json!({}), |schema| example(schema, DEPTH));
    Some(Call { name: name(chosen)?.to_owned(), arguments: arguments.to_string() })
}

fn name(function: &Value) -> Option<&str> {
    function.get("name")?.as_str().filter(|name| !name.is_empty())
}

/// A value that a JSON schema of the usual kind allows.
fn example(schema: &Value, depth: u32) -> Value {
    let given = schema.get("const").or_else(|| schema.get("default"));
    let listed = || schema.get("enum").and_then(Value::as_array).and_then(|values| values.first());
    if let Some(value) = given.or_else(listed) {
        return value.clone();
    }
    let branches = ["anyOf", "oneOf"].into_iter().filter_map(|name| schema.get(name)?.as_array()?.first());
    if let (Some(branch), true) = (branches.into_iter().next(), depth > 0) {
        return example(branch, depth - 1);
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        kind => kind.and_then(Value::as_str),
    };
    match kind {
        Some("string") => text(schema),
        Some("integer" | "number") => number(schema),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        Some("array") => {
            let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0).min(16);
            let item = schema.get("items").filter(|_| depth > 0);
            (0..least).map(|_| item.map_or(Value::Null, |item| example(item, depth - 1))).collect()
        }
        _ => object(schema, depth),
    }
}

/// Only what is required.
fn object(schema: &Value, depth: u32) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let names = required.filter_map(Value::as_str).filter(|_| depth > 0);
    let value =
        |name| properties.and_then(|all| all.get(name)).map_or(json!("example"), |of| example(of, depth - 1));
    Value::Object(names.map(|name| (name.to_owned(), value(name))).collect::<Map<_, _>>())
}

fn text(schema: &Value) -> Value {
    match schema.get("format").and_then(Value::as_str) {
        Some("date") => json!("2026-01-01"),
        Some("date-time") => json!("2026-01-01T00:00:00Z"),
        Some("email") => json!("someone@example.com"),
        Some("uri") => json!("https://example.com/"),
        _ => json!("example"),
    }
}

fn number(schema: &Value) -> Value {
    match (schema.get("minimum"), schema.get("maximum").and_then(Value::as_i64)) {
        (Some(least), _) => least.clone(),
        (None, Some(most)) => json!(most.min(1)),
        (None, None) => json!(1),
    }
}
