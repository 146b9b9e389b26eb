//! The meter against a slow reader that holds the whole stream, and against itself in other pieces.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::*;

const HIDING: Form = Form::Events { hide_usage: true };
const SHOWING: Form = Form::Events { hide_usage: false };

/// Everything the client gets, and the meter at the end. Each piece goes through the encoded state.
fn metered(form: Form, pieces: &[&[u8]]) -> (Vec<u8>, Tally, Finish) {
    let (client, tally, finish, _) = metered_to_its_last(form, pieces);
    (client, tally, finish)
}

/// The same, and the events with which it could be ended.
fn metered_to_its_last(form: Form, pieces: &[&[u8]]) -> (Vec<u8>, Tally, Finish, String) {
    let mut meter = Meter::new(form);
    meter.remember_chunks(64);
    let mut state = postcard::to_allocvec(&meter).expect("a state");
    let mut client = Vec::new();
    for piece in pieces {
        let mut meter: Meter<'_> = postcard::from_bytes(&state).expect("a state");
        client.extend(meter.read(piece).unwrap_or_else(|| piece.to_vec()));
        state = postcard::to_allocvec(&meter).expect("a state");
    }
    let mut meter: Meter<'_> = postcard::from_bytes(&state).expect("a state");
    let finish = meter.end();
    match &finish {
        Finish::Whole(held) => client.extend_from_slice(held),
        Finish::Half => client.extend_from_slice(meter.break_off()),
    }
    let last = String::from_utf8(meter.last_events("m", None)).expect("text");
    (client, meter.tally, finish, last)
}

fn split<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// The slow reader: the HTML standard, line by line, and serde_json for each event.
fn naive(stream: &str, hide: bool) -> (String, Tally, BTreeSet<u64>) {
    let mut tally = Tally::default();
    let mut unfinished = (0..64).collect();
    let mut client = String::new();
    let mut event = String::new();
    let mut data: Option<String> = None;
    let mut rest = stream;
    let mut first = true;
    while !rest.is_empty() {
        let length = rest.find(['\r', '\n']).unwrap_or(rest.len());
        let ending = [("\r\n", 2), ("\r", 1), ("\n", 1), ("", 0)];
        let (_, ending) =
            ending.into_iter().find(|(ending, _)| rest[length..].starts_with(ending)).expect("one");
        let line = &rest[..length];
        let line = line.strip_prefix('\u{feff}').filter(|_| first).unwrap_or(line);
        first = false;
        event.push_str(&rest[..length + ending]);
        rest = &rest[length + ending..];
        if let Some(value) = line.strip_prefix("data:") {
            let value = value.strip_prefix(' ').unwrap_or(value);
            data = Some(data.map_or(String::new(), |data| data + "\n") + value);
        }
        if line.is_empty() {
            let only_usage = data.take().is_some_and(|data| {
                naive_choices(&data, &mut unfinished);
                naive_event(&data, &mut tally)
            });
            if !(hide && only_usage && event.len() as u64 <= MOST_HELD) {
                client.push_str(&event);
            }
            event.clear();
        }
    }
    (client + &event, tally, unfinished)
}

/// Takes out the choices that the event finishes.
fn naive_choices(data: &str, unfinished: &mut BTreeSet<u64>) {
    if data == "[DONE]" {
        unfinished.clear();
    }
    let value = serde_json::from_str::<Value>(data).unwrap_or_default();
    for choice in value["choices"].as_array().into_iter().flatten() {
        let index = match choice.get("index") {
            Some(Value::Number(index)) => index.as_u64(),
            Some(Value::Bool(_) | Value::Null) => None,
            _ => Some(0),
        };
        if choice["finish_reason"].is_string() {
            index.map(|index| unfinished.remove(&index));
        }
    }
}

/// Whether the event has usage and nothing else.
fn naive_event(data: &str, tally: &mut Tally) -> bool {
    let Ok(value) = serde_json::from_str::<Value>(data) else { return false };
    naive_text("", &value, tally);
    let choices = value["choices"].as_array();
    tally.answers += u64::from(choices.is_some_and(|choices| !choices.is_empty()));
    let usage = &value["usage"];
    let count = |value: &Value| value.as_u64().filter(|count| *count <= 1 << 53);
    let reported = &mut tally.reported;
    for (into, from) in [
        (&mut reported.input, &usage["prompt_tokens"]),
        (&mut reported.output, &usage["completion_tokens"]),
        (&mut reported.total, &usage["total_tokens"]),
        (&mut reported.cached_input, &usage["prompt_tokens_details"]["cached_tokens"]),
        (&mut reported.reasoning, &usage["completion_tokens_details"]["reasoning_tokens"]),
    ] {
        *into = (*into).max(count(from));
    }
    reported.as_prompt |= count(&usage["prompt_tokens"]).is_some();
    usage.is_object() && choices.is_some_and(Vec::is_empty)
}

fn naive_text(key: &str, value: &Value, tally: &mut Tally) {
    match value {
        Value::String(text) if ["content", "reasoning_content", "arguments", "text"].contains(&key) => {
            tally.text.add(text.as_bytes());
        }
        Value::Array(values) => values.iter().for_each(|value| naive_text("", value, tally)),
        Value::Object(members) => members.iter().for_each(|(key, value)| naive_text(key, value, tally)),
        _ => {}
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,20}", "[a-z \"\\\\\n]{0,30}", Just("usage".to_owned()), Just("あ🦀".to_owned())]
}

fn any_usage() -> impl Strategy<Value = Value> {
    let count = || {
        prop_oneof![
            6 => (0_u64..3_000).prop_map(Value::from),
            1 => Just(Value::Null),
            1 => Just(json!(-1)),
            1 => Just(json!(1.5)),
            1 => Just(json!("7")),
            1 => Just(json!(u64::MAX)),
        ]
    };
    let object = (count(), count(), count(), count(), count()).prop_map(
        |(input, output, total, cached, reasoning)| {
            json!({
                "prompt_tokens": input, "completion_tokens": output, "total_tokens": total,
                "prompt_tokens_details": { "cached_tokens": cached, "x": "}" },
                "completion_tokens_details": { "reasoning_tokens": reasoning },
            })
        },
    );
    prop_oneof![5 => object, 1 => Just(Value::Null), 1 => Just(json!({})), 1 => Just(json!([{}])), 1 => Just(json!(5))]
}

fn any_event() -> impl Strategy<Value = Value> {
    let odd =
        prop::sample::select(vec![json!(null), json!(true), json!(-1), json!(1.5), json!("7"), json!([3])]);
    let index = prop_oneof![4 => (0..200_u64).prop_map(Value::from), 1 => odd];
    let reasons = vec![json!(null), json!("stop"), json!(""), json!(["stop"]), json!(0)];
    let end = (index, prop::sample::select(reasons));
    let delta = (any_text(), any_text(), any_text(), any_usage(), end).prop_map(
        |(content, thought, arguments, usage, (index, reason))| {
            json!({
                "index": index, "usage": usage, "choices": [{ "index": 5, "finish_reason": "stop" }],
                "finish_reason": reason,
                "delta": {
                    "content": content, "reasoning_content": thought, "role": "assistant",
                    "tool_calls": [{ "function": { "arguments": arguments, "name": "content" } }],
                },
            })
        },
    );
    let choices = prop_oneof![
        3 => prop::collection::vec(delta, 1..3).prop_map(Value::from),
        2 => Just(json!([])),
        1 => prop_oneof![Just(json!(null)), Just(json!({})), Just(json!(["text"])), Just(json!([[]])), Just(json!([0]))],
    ];
    let members = (prop::option::of(choices), prop::option::of(any_usage()), any_text(), any::<bool>());
    members.prop_map(|(choices, usage, text, nested)| {
        let mut event = json!({ "id": text, "text": ["not counted", { "text": text }], "x": { "usage": { "prompt_tokens": 9 } } });
        if let Some(choices) = choices {
            event["choices"] = choices;
        }
        if let Some(usage) = usage {
            event["usage"] = usage;
        }
        if nested { json!({ "choices": [event], "usage": null }) } else { event }
    })
}

/// A stream of events in every way that the HTML standard allows.
fn any_stream() -> impl Strategy<Value = String> {
    let ending = || prop_oneof![3 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\r")];
    let data = prop_oneof![
        8 => (any_event(), any::<bool>(), any::<bool>()).prop_map(|(event, pretty, escaped)| {
            let text = if pretty { format!("{event:#}") } else { event.to_string() };
            if escaped { escape(&text) } else { text }
        }),
        1 => Just("[DONE]".to_owned()),
        1 => Just("not json".to_owned()),
    ];
    let before = prop_oneof![4 => Just(""), 1 => Just(": ping"), 1 => Just("event: x"), 1 => Just("data"), 1 => Just(" "),
        1 => Just("datax: {\"usage\":{\"prompt_tokens\":5000}}")];
    let event = (data, before, ending(), ending(), prop_oneof![Just("data: "), Just("data:")]);
    let event = event.prop_map(|(data, before, ending, last, field)| {
        let mut event = String::new();
        if !before.is_empty() {
            event.extend([before, ending]);
        }
        for line in data.split('\n') {
            event.extend([field, line, ending]);
        }
        // A LF after a CR would belong to it.
        event + if ending == "\r" { "\r" } else { last }
    });
    let mark = prop_oneof![4 => Just(""), 1 => Just("\u{feff}")];
    (mark, prop::collection::vec(event, 0..6)).prop_map(|(mark, events)| mark.to_owned() + &events.concat())
}

/// The same JSON with an escape for every character that is not ASCII, and for some letters.
fn escape(json: &str) -> String {
    let mut escaped = String::new();
    for character in json.chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            let mut units = [0; 2];
            character.encode_utf16(&mut units).iter().for_each(|unit| escaped += &format!("\\u{unit:04X}"));
        }
    }
    escaped
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_slow_reader_agrees(
        stream in any_stream(), cuts in prop::collection::vec(any::<Index>(), 0..8), hide in any::<bool>(),
    ) {
        let form = Form::Events { hide_usage: hide };
        let (client, tally, finish, last) = metered_to_its_last(form, &split(stream.as_bytes(), &cuts));
        let (expected, expected_tally, unfinished) = naive(&stream, hide);
        let ends: Vec<Value> =
            last.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
        let ended: BTreeSet<u64> =
            ends.iter().filter_map(|chunk| chunk["choices"][0]["index"].as_u64()).collect();
        prop_assert_eq!((ends.len(), ended), (unfinished.len(), unfinished));
        prop_assert_eq!(String::from_utf8(client).expect("text"), expected);
        prop_assert_eq!(tally, expected_tally);
        prop_assert!(matches!(finish, Finish::Whole(_)));
    }

    #[test]
    fn no_split_of_an_event_changes_anything(stream in any_stream(), hide in any::<bool>()) {
        let form = Form::Events { hide_usage: hide };
        let whole = metered_to_its_last(form, &[stream.as_bytes()]);
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        let apart = metered_to_its_last(form, &bytes);
        prop_assert_eq!((whole.0, whole.1, whole.3), (apart.0, apart.1, apart.3));
    }

    #[test]
    fn no_split_of_any_bytes_changes_anything(
        pieces in prop::collection::vec(prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            prop::sample::select(vec![
                "\n", "\r", "\n\n", "data: ", "data", "{", "}", "[", "]", "\"", "\\", "\\u00e9", ":", ",", " ",
                "\"usage\":{", "\"choices\":[", "\"content\":\"", "\"prompt_tokens\":5", "\u{feff}", "\"index\":1", "2", "\"finish_reason\":\"", "\"id\":\"c\"", "\"model\":\"m\"", "[DONE]", "あ",
            ]).prop_map(|text| text.as_bytes().to_vec()),
        ], 0..60),
        cuts in prop::collection::vec(any::<Index>(), 0..8),
        form in prop_oneof![Just(Form::Json), Just(HIDING), Just(SHOWING)],
    ) {
        let bytes = pieces.concat();
        let (client, tally, finish, last) = metered_to_its_last(form, &split(&bytes, &cuts));
        let (whole, whole_tally, whole_finish, whole_last) = metered_to_its_last(form, &[&bytes]);
        prop_assert_eq!(last, whole_last);
        prop_assert_eq!(&client, &whole);
        prop_assert_eq!(tally, whole_tally);
        prop_assert_eq!(finish == Finish::Half, whole_finish == Finish::Half);
        if form != HIDING {
            let ending: &[u8] = if finish == Finish::Half { b"\n\n" } else { b"" };
            prop_assert_eq!(client, [&bytes, ending].concat(), "the upstream's own bytes");
        }
    }

    #[test]
    fn a_document_is_metered_as_an_event_is(
        event in any_event(), pretty in any::<bool>(), cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let text = if pretty { format!("{event:#}") } else { event.to_string() };
        let (client, tally, _) = metered(Form::Json, &split(text.as_bytes(), &cuts));
        prop_assert_eq!(client, text.as_bytes());
        let mut expected = Tally::default();
        naive_event(&text, &mut expected);
        prop_assert_eq!(tally, expected);
    }
}

#[test]
fn the_state_between_two_events_is_small() {
    let mut meter = Meter::new(HIDING);
    assert_eq!(meter.read(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\r\n\r\n"), None);
    assert_eq!(meter.open, None);
    assert!(postcard::to_allocvec(&meter).expect("a state").len() < 20);
}

#[test]
fn a_usage_object_too_long_is_nonsense_in_any_split() {
    let pad = "x".repeat(5_000);
    let text = format!("{{\"usage\":{{\"prompt_tokens\":5,\"pad\":\"{pad}\"}},\"x\":1}}");
    for size in [1, 100, 5_000, 10_000] {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        assert_eq!(metered(Form::Json, &pieces).1, Tally::default());
    }
}

#[test]
fn memory_is_bounded_whatever_comes() {
    for start in
        ["data: {\"usage\":{\"a\":\"", "data: {\"choices\":[", ": ", "data: \"", "data: {\"usage\":[{"]
    {
        let mut meter = Meter::new(HIDING);
        meter.read(start.as_bytes());
        for _ in 0..200 {
            meter.read(&[b'x'; 1_000]);
            let open = meter.open.as_ref().expect("an open event");
            assert!(open.held.len() as u64 <= MOST_HELD);
        }
        assert!(postcard::to_allocvec(&meter).expect("a state").len() < 5_000);
    }
}

#[test]
fn a_line_feed_goes_where_its_carriage_return_went() {
    let usage = "data: {\"choices\":[],\"usage\":{}}\r\n\r\n";
    let stream = format!("data: 1\r\n\r\n{usage}data: 2\r\n\r\n");
    for size in 1..stream.len() {
        let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
        let (client, _, _) = metered(HIDING, &pieces);
        assert_eq!(String::from_utf8(client).expect("text"), "data: 1\r\n\r\ndata: 2\r\n\r\n");
    }
}
