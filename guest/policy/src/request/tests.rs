mod estimates;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::tests::edited;

const MESSAGES: &str = r#""messages":[{"role":"user","content":"Hello there"}]"#;

fn chat(rest: &str) -> String {
    format!(r#"{{"model":"m",{MESSAGES}{rest}}}"#)
}

/// Reads a body for a model that takes everything.
fn read(kind: Kind, body: &[u8]) -> Result<Request<'_>, Refusal> {
    let all = Parameters::default();
    Request::read(kind, body, |_| Ok(&all))
}

fn refusal(kind: Kind, body: impl AsRef<[u8]>) -> Refusal {
    read(kind, body.as_ref()).expect_err("a refusal")
}

#[test]
fn what_is_not_an_object_is_not_read() {
    for body in ["", " ", "null", "[]", "\"x\"", "5", "hello", "\u{feff}{}"] {
        assert_eq!(refusal(Kind::Chat, body), Refusal::NotJson("it is not a JSON object".into()), "{body}");
    }
    assert_eq!(refusal(Kind::Chat, b"{\"model\":\"\xff\"}"), Refusal::NotUtf8);
    for body in
        ["{", "{}}", "{} {}", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "{\"a\":01}", "{\"a\":\"\n\"}"]
    {
        assert!(matches!(refusal(Kind::Chat, body), Refusal::NotJson(_)), "{body}");
    }
}

#[test]
fn a_key_twice_is_refused_at_any_depth() {
    for (body, path) in [
        (chat(r#","model":"n""#), "model"),
        (chat(r#","x":1,"y":2,"x":1"#), "x"),
        (chat(r#","x":1,"\u0078":1"#), "x"),
        (chat(r#","tools":[{"type":"x"},{"type":"x","a":{"b":1,"b":1}}]"#), "tools[1].a.b"),
        (
            chat(r#","stream_options":{"include_usage":true,"include_usage":true}"#),
            "stream_options.include_usage",
        ),
        (chat(r#","stream":true,"stream_options":{"x":{"":1,"":2}}"#), "stream_options.x."),
        (
            r#"{"model":"m","messages":[{"content":"a","role":"user","content":"b"}]}"#.into(),
            "messages[0].content",
        ),
    ] {
        assert_eq!(refusal(Kind::Chat, &body), Refusal::DuplicateKey(path.into()), "{body}");
    }
    let fine = chat(r#","a":{"x":1},"b":{"x":1},"c":[{"x":1},{"x":1}]"#);
    assert!(read(Kind::Chat, fine.as_bytes()).is_ok());
}

#[test]
fn a_known_key_in_another_case_is_refused() {
    for (rest, key, meant) in [
        (r#","Model":"n""#, "Model", "model"),
        (r#","STREAM":true"#, "STREAM", "stream"),
        (r#","\u017ftream":true"#, "ſtream", "stream"),
        (r#","max_to\u212aens":1"#, "max_to\u{212A}ens", "max_tokens"),
        (r#","stream_options":{"Include_Usage":true}"#, "stream_options.Include_Usage", "include_usage"),
    ] {
        assert_eq!(refusal(Kind::Chat, chat(rest)), Refusal::FoldedKey { key: key.into(), meant }, "{rest}");
    }
    let elsewhere = chat(r#","Thinking":1,"x":{"MODEL":1}"#);
    assert!(read(Kind::Chat, elsewhere.as_bytes()).is_ok());
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |levels: usize| chat(&format!(",\"x\":{}{}", "[".repeat(levels), "]".repeat(levels)));
    assert!(read(Kind::Chat, nested(MOST_DEPTH - 1).as_bytes()).is_ok());
    assert_eq!(refusal(Kind::Chat, nested(MOST_DEPTH)), Refusal::TooDeep);
    assert_eq!(refusal(Kind::Chat, nested(100_000)), Refusal::TooDeep);
    let open = |start: &str| format!("{{\"model\":\"m\",\"messages\":[{{\"x\":{}", start.repeat(100_000));
    assert_eq!(refusal(Kind::Chat, open("[")), Refusal::TooDeep);
    assert_eq!(refusal(Kind::Chat, open("{\"a\":")), Refusal::TooDeep);
    // Where a value is read as text, its depth is the parser's matter, which does not recurse.
    let model = format!("{{\"model\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(refusal(Kind::Chat, model), Refusal::WrongType { param, .. } if param == "model"));
}

#[test]
fn too_many_keys_are_refused() {
    let keys = |count: usize| {
        let keys: Vec<_> = (0..count).map(|key| format!("\"{key}\":0")).collect();
        chat(&format!(",\"x\":{{{}}}", keys.join(",")))
    };
    assert!(read(Kind::Chat, keys(60_000).as_bytes()).is_ok());
    assert_eq!(refusal(Kind::Chat, keys(100_000)), Refusal::TooManyKeys);
}

#[test]
fn typed_fields_are_what_they_must_be() {
    let wrong = |param: &'static str, expected| Refusal::WrongType { param: param.into(), expected };
    let low = |param: &'static str| Refusal::BelowMinimum { param: param.into(), least: 1 };
    for (rest, expected) in [
        (r#","stream":1"#, wrong("stream", "a boolean")),
        (r#","stream":"true""#, wrong("stream", "a boolean")),
        (r#","stream_options":[]"#, wrong("stream_options", "an object")),
        (r#","stream_options":true"#, wrong("stream_options", "an object")),
        (r#","stream_options":{"include_usage":1}"#, wrong("stream_options.include_usage", "a boolean")),
        (r#","max_tokens":"5""#, wrong("max_tokens", "an integer")),
        (r#","max_tokens":5.0"#, wrong("max_tokens", "an integer")),
        (r#","max_tokens":1e3"#, wrong("max_tokens", "an integer")),
        (r#","max_tokens":0"#, low("max_tokens")),
        (r#","max_tokens":-0"#, low("max_tokens")),
        (r#","max_completion_tokens":-99999999999999999999"#, low("max_completion_tokens")),
        (
            r#","max_completion_tokens":99999999999999999999"#,
            Refusal::AboveMaximum { param: "max_completion_tokens".into(), most: 1_000_000_000 },
        ),
        (r#","n":0"#, low("n")),
        (r#","n":129"#, Refusal::AboveMaximum { param: "n".into(), most: 128 }),
        (r#","n":[1]"#, wrong("n", "an integer")),
    ] {
        assert_eq!(refusal(Kind::Chat, chat(rest)), expected, "{rest}");
    }
    for (body, expected) in [
        ("{}".to_owned(), Refusal::Missing("model".into())),
        (r#"{"model":"m"}"#.into(), Refusal::Missing("messages".into())),
        (format!("{{{MESSAGES}}}"), Refusal::Missing("model".into())),
        (format!(r#"{{"model":5,{MESSAGES}}}"#), wrong("model", "a string")),
        (format!(r#"{{"model":null,{MESSAGES}}}"#), wrong("model", "a string")),
        (
            format!(r#"{{"model":"",{MESSAGES}}}"#),
            Refusal::Empty { param: "model".into(), what: "the string" },
        ),
        (r#"{"model":"m","messages":"x"}"#.into(), wrong("messages", "an array")),
        (r#"{"model":"m","messages":null}"#.into(), wrong("messages", "an array")),
        (
            r#"{"model":"m","messages":[]}"#.into(),
            Refusal::Empty { param: "messages".into(), what: "the array" },
        ),
    ] {
        assert_eq!(refusal(Kind::Chat, &body), expected, "{body}");
    }
    for (body, expected) in [
        (r#"{"model":"m"}"#, Refusal::Missing("input".into())),
        (r#"{"model":"m","input":[]}"#, Refusal::Empty { param: "input".into(), what: "the array" }),
        (r#"{"model":"m","input":5}"#, wrong("input", "a string or an array")),
    ] {
        assert_eq!(refusal(Kind::Embeddings, body), expected, "{body}");
    }
    let nulls = chat(r#","stream":null,"stream_options":null,"max_tokens":null,"n":null"#);
    assert!(read(Kind::Chat, nulls.as_bytes()).is_ok());
}

#[test]
fn bounds_multiply() {
    let bound = |rest: &str, otherwise| {
        let body = chat(rest);
        read(Kind::Chat, body.as_bytes()).expect("a request").output_bound(Kind::Chat, otherwise)
    };
    assert_eq!(bound("", 4096), Ok(4096));
    assert_eq!(bound(r#","n":3"#, 4096), Ok(3 * 4096));
    assert_eq!(bound(r#","max_tokens":7,"max_completion_tokens":7,"n":2"#, 4096), Ok(14));
    let above = Refusal::AboveMaximum { param: "n".into(), most: 2 };
    assert_eq!(bound(r#","max_tokens":500000000,"n":3"#, 4096), Err(above));
}

#[test]
fn usage_is_asked_for_by_the_smallest_edit() {
    let edit = |rest: &str| {
        let body = chat(rest);
        let request = read(Kind::Chat, body.as_bytes()).expect("a request");
        let result = String::from_utf8(edited(body.as_bytes(), &request.edits("m"))).expect("text");
        let prefix = chat("");
        let prefix = prefix.strip_suffix('}').expect("an object");
        (result.strip_prefix(prefix).expect("the same start").to_owned(), request.hides_usage())
    };
    let on = r#""include_usage":true"#;
    for (rest, expected, hides) in [
        ("", "}".to_owned(), false),
        (r#", "stream" : true "#, format!(r#", "stream" : true,"stream_options":{{{on}}} }}"#), true),
        (
            r#","stream_options":null,"stream":true"#,
            format!(r#","stream_options":{{{on}}},"stream":true}}"#),
            true,
        ),
        (
            r#","stream":true,"stream_options":{ }"#,
            format!(r#","stream":true,"stream_options":{{{on} }}}}"#),
            true,
        ),
        (
            r#","stream":true,"stream_options":{ "x":1}"#,
            format!(r#","stream":true,"stream_options":{{{on}, "x":1}}}}"#),
            true,
        ),
        (
            r#","stream":true,"stream_options":{"include_usage": false}"#,
            r#","stream":true,"stream_options":{"include_usage": true}}"#.into(),
            true,
        ),
        (
            r#","stream":true,"stream_options":{"include_usage":true}"#,
            r#","stream":true,"stream_options":{"include_usage":true}}"#.into(),
            false,
        ),
    ] {
        assert_eq!(edit(rest), (expected, hides), "{rest}");
    }
}

#[test]
fn a_name_is_compared_as_it_reads() {
    let body = format!(r#"{{"model":"gpt\u002d4o",{MESSAGES}}}"#);
    let request = read(Kind::Chat, body.as_bytes()).expect("a request");
    assert_eq!(request.model, "gpt-4o");
    assert_eq!(request.edits("gpt-4o"), []);
    let changed = edited(body.as_bytes(), &request.edits("a\"b"));
    assert_eq!(String::from_utf8(changed).expect("text"), format!(r#"{{"model":"a\"b",{MESSAGES}}}"#));
}

/// Any JSON, with keys that are unlike the known ones.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("x.{0,4}", inner, 0..5).prop_map(Value::from_iter),
        ]
    })
}

/// A sound message, with fields that nobody knows.
fn any_message() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        ".{0,12}".prop_map(Value::from),
        ".{0,12}".prop_map(|text| json!([{ "type": "text", "text": text }])),
    ];
    let role = prop::sample::select(vec!["user", "system", "developer", "assistant"]);
    (role, text, any_json())
        .prop_map(|(role, content, other)| json!({ "role": role, "content": content, "x": other }))
}

/// A sound request as text: members in any order, any space between them.
fn any_request() -> impl Strategy<Value = String> {
    let options = prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        Just(json!({"include_usage": true})),
        Just(json!({"include_usage": false})),
        any_json().prop_map(|other| json!({ "include_usage": null, "x": other })),
        any_json().prop_map(|other| json!({ "x": other })),
    ];
    let members = (
        "[^m]{1,9}",
        prop::option::of(any::<bool>()),
        prop::option::of(options),
        prop::collection::vec(any_message(), 1..4),
        prop::collection::btree_map("x.{0,6}", any_json(), 0..4),
    );
    let shuffled = members.prop_flat_map(|(model, stream, options, messages, others)| {
        let mut members =
            vec![("model".to_owned(), Value::from(model)), ("messages".into(), messages.into())];
        members.extend(stream.map(|stream| ("stream".into(), stream.into())));
        // Without a stream there are no options.
        let options = options.filter(|options| stream == Some(true) || options.is_null());
        members.extend(options.map(|options| ("stream_options".into(), options)));
        members.extend(others);
        Just(members).prop_shuffle()
    });
    (shuffled, "[ \t\r\n]{0,2}", any::<bool>()).prop_map(|(members, space, pretty)| {
        let write = |value: &Value| if pretty { format!("{value:#}") } else { value.to_string() };
        let member = |(key, value): &(String, Value)| {
            format!("{space}{}{space}:{space}{}", Value::from(key.as_str()), write(value))
        };
        let members: Vec<_> = members.iter().map(member).collect();
        format!("{space}{{{}{space}}}{space}", members.join(","))
    })
}

proptest! {
    #[test]
    fn edits_change_what_they_must_and_nothing_else(body in any_request(), target in "[^m]{1,9}") {
        let before: Value = serde_json::from_str(&body)?;
        let request = read(Kind::Chat, body.as_bytes()).expect("a request");
        let edits = request.edits(&target);
        let after: Value = serde_json::from_slice(&edited(body.as_bytes(), &edits))?;

        let mut expected = before.clone();
        expected["model"] = target.as_str().into();
        let streams = before["stream"] == true;
        let asked = before["stream_options"]["include_usage"] == true;
        if streams && before["stream_options"].is_object() {
            expected["stream_options"]["include_usage"] = true.into();
        } else if streams {
            expected["stream_options"] = json!({ "include_usage": true });
        }
        prop_assert_eq!(&after, &expected);
        prop_assert_eq!(request.hides_usage(), streams && !asked);
        prop_assert_eq!(edits.is_empty(), before == expected, "an untouched body is the client's own bytes");
        let kept: usize = edits.iter().map(|edit| (edit.end - edit.start) as usize).sum();
        prop_assert!(kept <= request.model.len() * 6 + 7, "no more is replaced than a name and a value");
    }

    #[test]
    fn what_another_reader_cannot_read_is_refused(
        body in any_request(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        if read(Kind::Chat, &body).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&body).is_ok());
        }
    }

    #[test]
    fn a_key_made_double_is_found(tree in any_json(), key in "x.{0,4}") {
        let name = Value::from(key.as_str());
        let body = chat(&format!(r#","y":[{tree},{{"z":{{{name}:1,"a":{tree},{name}:{tree}}}}}]"#));
        prop_assert_eq!(refusal(Kind::Chat, body), Refusal::DuplicateKey(format!("y[1].z.{key}")));
    }

    #[test]
    fn no_estimate_is_above_the_bound(texts in prop::collection::vec(any::<String>(), 1..5)) {
        let input = Value::from(texts.clone());
        let body = format!(r#"{{"model":"m","input":{input}}}"#);
        let request = read(Kind::Embeddings, body.as_bytes()).expect("a request");
        prop_assert!(request.input_estimate <= texts.concat().len() as u64 + 1);
        prop_assert_eq!(request.input_bound, body.len() as u64);
    }
}
