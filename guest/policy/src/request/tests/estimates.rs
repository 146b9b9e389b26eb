//! What counts as input, and how much.

use super::*;

fn estimate(kind: Kind, body: &str) -> u64 {
    read(kind, body.as_bytes()).expect("a request").input_estimate
}

/// A message with parts beside a text.
fn with_parts(parts: &str) -> String {
    let text = r#"{"type":"text","text":"Hello there"}"#;
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{text}{parts}]}}]}}"#)
}

#[test]
fn all_that_a_model_reads_is_estimated() {
    // `user` and `Hello there`.
    let plain = estimate(Kind::Chat, &chat(""));
    assert_eq!(plain, 3 + 3 + 3);
    for other in ["x", "user"] {
        let other = format!(",\"{other}\":\"{}\"", "word ".repeat(1_000));
        assert_eq!(estimate(Kind::Chat, &chat(&other)), plain, "what no model reads");
    }
    let tools = r#","tools":[{"type":"function","function":{"name":"get_weather","description":"Tells the weather.",
        "parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":1}}}}}]"#;
    let schema = estimate(Kind::Chat, &chat(tools)) - plain;
    assert!((36..=46).contains(&schema), "names and values of a schema: {schema}");
    let functions = tools.replace("tools", "functions");
    assert_eq!(estimate(Kind::Chat, &chat(&functions)) + 12, estimate(Kind::Chat, &chat(tools)));
    let before = format!(r#"{{"model":"m"{tools},{MESSAGES}}}"#);
    assert_eq!(estimate(Kind::Chat, &before), estimate(Kind::Chat, &chat(tools)), "in any order");
    let calls = r#"{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":
        {"name":"get_weather","arguments":"{\"city\":\"Oslo\"}"}}]}],"model":"m"}"#;
    assert!((12..=21).contains(&estimate(Kind::Chat, calls)));
    let wide = r#"{"messages":[{"role":"user","content":"\u3042い"}],"model":"m"}"#;
    assert!((8..=9).contains(&estimate(Kind::Chat, wide)));
    assert_eq!(estimate(Kind::Embeddings, r#"{"model":"m","input":"Hello there"}"#), 2);
    assert_eq!(estimate(Kind::Embeddings, r#"{"model":"m","input":[[1,2],[3]],"x":9}"#), 3);
}

#[test]
fn an_image_is_no_text() {
    // A PNG of 1024 x 1024 pixels and much more.
    let url = format!("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAYAAAA{}", "b".repeat(40_000));
    let plain = estimate(Kind::Chat, &with_parts(r#",{"type":"text","text":""}"#));
    // More than a text without this part: about, and at most beyond the bytes that are read.
    let cost = |part: &str, unread: usize| {
        let body = with_parts(&format!(",{part}"));
        let request = read(Kind::Chat, body.as_bytes()).expect("a request");
        (request.input_estimate - plain, request.input_bound - (body.len() - unread) as u64)
    };
    let image =
        |url: &str, more: &str| format!(r#"{{"type":"image_url","image_url":{{"url":"{url}"{more}}}}}"#);
    let named = cost(&image("https://x.test/a.png", ""), 0);
    // `image_url` as the type is read as text, for who knows.
    let kind = named.0 - 1_445;
    assert!(kind <= 3 && named.1 == 48_169);
    for (more, (estimate, bound)) in [
        ("", (765, 48_169)),
        (r#","detail":"high""#, (765, 48_169)),
        (r#","detail":"auto","x":"more""#, (765, 48_169)),
        (r#","detail":"low""#, (85, 3_779)),
    ] {
        assert_eq!(cost(&image(&url, more), url.len()), (estimate + kind, bound), "{more}");
        let escaped = image(&url.replace('/', "\\/"), more);
        assert_eq!(cost(&escaped, url.len()), (estimate + kind, bound), "{more}");
    }
    let strange = url.replace("iVBOR", "iVBOX");
    assert_eq!(
        cost(&image(&strange, ""), 0),
        (1_445 + kind, 48_169),
        "it may be no image: all of it is held for"
    );
    let sound = r#"{"type":"input_audio","input_audio":{"data":"AAAA","format":"mp3"}}"#;
    assert!((1..=4).contains(&cost(sound, 0).0));
    let file = r#"{"type":"file","file":{"file_id":"file-abc"}}"#;
    assert!((3_000..3_010).contains(&cost(file, 0).0));
    assert_eq!(cost(file, 0).1, 1_047_576);
    // What only looks like one is a text, and so is everything in a tool's schema.
    let function = format!(r#"{{"name":"f","parameters":{{"image_url":{{"url":"{url}"}}}}}}"#);
    let text = chat(&format!(r#","tools":[{{"type":"function","function":{function}}}]"#));
    assert!(estimate(Kind::Chat, &text) > 5_000);
}

#[test]
fn a_message_alone_costs_what_it_adds() {
    // All of a body is read up to some length, and a sample of a longer one.
    for sentences in [1, 2_000] {
        check_sum(&"She keeps the books, and at dusk she shuts them. ".repeat(sentences));
    }
}

fn check_sum(said: &str) {
    let messages = [
        r#"{"role":"user","content":"Is the gate open?"}"#.to_owned(),
        format!(r#"{{"role":"assistant","content":"{said}"}}"#),
        r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}"#.to_owned(),
        r#"{"role":"tool","tool_call_id":"c","content":"It is."}"#.to_owned(),
        r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x.test/a.png"}}],"x":[1,{"y":"z"}]}"#.to_owned(),
    ];
    let all = format!(r#"{{"model":"m","messages":[{}]}}"#, messages.join(","));
    let whole = estimate(Kind::Chat, &all) - 3;
    let parts: u64 = messages.iter().map(|text| message(text, all.len()).tokens()).sum();
    assert!(whole.abs_diff(parts) <= messages.len() as u64 / 2, "{whole} {parts}");
}
