//! What models do not take: dropped and rewritten bodies are still JSON, and say all the rest.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A model that takes only some of the parameters.
fn picky(rules: &str) -> Gateway {
    let marker = "max_output_tokens = 1000\n";
    let config = CONFIG.replacen(marker, &format!("{marker}[models.parameters]\n{rules}\n"), 1);
    Gateway::load(&settings(&config)).expect("a sound configuration").gateway
}

fn sent(gateway: &Gateway, body: &str) -> Value {
    let admitted = admitted(gateway, body);
    let edits = &admitted.targets.first().expect("a target").edits;
    serde_json::from_slice(&super::edited(body.as_bytes(), edits)).expect("JSON")
}

fn chat(rest: &str) -> String {
    format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"Hello"}}]{rest}}}"#)
}

#[test]
fn a_renamed_limit_keeps_its_value() {
    let gateway = picky("max_tokens = \"rewrite\"");
    assert_eq!(sent(&gateway, &chat(r#","max_tokens" : 7"#))["max_completion_tokens"], 7);
    let both = sent(&gateway, &chat(r#","max_tokens":7,"max_completion_tokens":7"#));
    assert_eq!((both.get("max_tokens"), &both["max_completion_tokens"]), (None, &json!(7)));
    let escaped = sent(&gateway, &chat(r#","max_t\u006fkens":7"#));
    assert_eq!(escaped["max_completion_tokens"], 7);
}

#[test]
fn a_dropped_limit_limits_nothing() {
    let gateway = picky("max_tokens = \"drop\"\nn = \"drop\"");
    let held = |body: &str| admitted(&gateway, body).usage.output_tokens;
    assert_eq!(held(&chat(r#","max_tokens":7,"n":2"#)), 1_000);
}

#[test]
fn a_format_becomes_an_instruction() {
    let gateway = picky("response_format = \"rewrite\"");
    let schema = r#","response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","a":"\"q\""}}}"#;
    let body = sent(&gateway, &chat(schema));
    assert_eq!(body.get("response_format"), None);
    assert_eq!(body["messages"][0]["role"], "system");
    let told = body["messages"][0]["content"].as_str().expect("text");
    assert!(told.ends_with(r#"this JSON Schema: {"type":"object","a":"\"q\""}"#), "{told}");
    assert_eq!(body["messages"][1]["content"], "Hello");
    let plain = sent(&gateway, &chat(r#","response_format":{"type":"text"}"#));
    assert_eq!(plain["messages"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_developer_speaks_as_the_system() {
    let gateway = picky("developer = \"rewrite\"");
    let body = r#"{"messages":[{"content":"a","role":"developer"},{"role":"user","content":"b"},{"role":"developer","content":"c"}],"model":"gpt-4o"}"#;
    let sent = sent(&gateway, body);
    let roles: Vec<_> = sent["messages"].as_array().expect("messages").iter().map(|m| &m["role"]).collect();
    assert_eq!(roles, ["system", "user", "system"]);
}

/// Members of a body: known ones with sound values, and unknown ones.
fn any_members() -> impl Strategy<Value = Vec<(String, Value)>> {
    let optional = prop::sample::subsequence(
        vec![
            ("temperature", json!(0.5)),
            ("top_p", json!(0.25)),
            ("seed", json!(-3)),
            ("stop", json!(["a", "b]}"])),
            ("n", json!(2)),
            ("max_tokens", json!(5)),
            ("user", json!("me, \"you\"")),
            ("tools", json!([{"type":"function","function":{"name":"f"}}])),
            ("stream", json!(true)),
            ("x", json!({"temperature": [1, {"seed": 2}]})),
            ("y", json!(null)),
        ],
        0..=11,
    );
    optional.prop_flat_map(|optional| {
        let mut members: Vec<(String, Value)> =
            optional.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        members.push(("model".into(), json!("gpt-4o")));
        members.push(("messages".into(), json!([{"role": "user", "content": "Hello"}])));
        Just(members).prop_shuffle()
    })
}

const DROPPABLE: [&str; 8] = ["temperature", "top_p", "seed", "stop", "n", "max_tokens", "user", "tools"];

proptest! {
    #[test]
    fn what_is_dropped_is_gone_and_nothing_else(
        members in any_members(), space in "[ \n\t]{0,2}",
        dropped in prop::sample::subsequence(DROPPABLE.to_vec(), 0..=8),
    ) {
        let rules: Vec<_> = dropped.iter().map(|name| format!("{name} = \"drop\"")).collect();
        let gateway = picky(&rules.join("\n"));
        let written: Vec<_> = members
            .iter()
            .map(|(name, value)| format!("{space}{}{space}:{space}{value}{space}", Value::from(name.as_str())))
            .collect();
        let body = format!("{space}{{{}}}{space}", written.join(","));
        let sent = sent(&gateway, &body);
        let mut expected: serde_json::Map<_, _> = members.into_iter().collect();
        for name in dropped {
            expected.remove(name);
        }
        if expected.contains_key("stream") {
            expected.insert("stream_options".into(), json!({"include_usage": true}));
        }
        prop_assert_eq!(sent, Value::Object(expected), "{}", body);
    }
}
