use proptest::prelude::*;
use serde_json::{Value, json};

use super::conversation::Conversation;
use super::trim::{Trimmed, reduced, shortened};
use super::*;
use crate::config::Parameters;
use crate::tests::edited;

/// A message for each word: `s` is a prompt, `d` one of a developer, `u` the user, `a` the model, `c1` a call and `t1` its answer.
fn messages(words: &str) -> Value {
    let message = |word: &str| {
        let (kind, id) = word.split_at(1);
        let content = format!("{word} {}", "x".repeat(39 - word.len()));
        match kind {
            "s" => json!({"role": "system", "content": content}),
            "d" => json!({"role": "developer", "content": content}),
            "u" => json!({"role": "user", "content": [{"type": "text", "text": content}]}),
            "a" => json!({"role": "assistant", "content": content}),
            "c" => json!({"role": "assistant", "content": content, "tool_calls": [{"id": id}]}),
            _ => json!({"role": "tool", "content": content, "tool_call_id": id}),
        }
    };
    words.split(' ').map(message).collect()
}

/// The first words of the messages in a body.
fn words(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let text = |message: &Value| {
        let content = &message["content"];
        let text = content.as_str().or(content[0]["text"].as_str()).expect("a text");
        text.split(' ').next().expect("a word").to_owned()
    };
    body["messages"].as_array().expect("messages").iter().map(text).collect::<Vec<_>>().join(" ")
}

fn left(before: &str, trim: impl Fn(&Conversation<'_>) -> Option<Trimmed>) -> Option<(String, u32, u32)> {
    let body = format!(r#"{{"a": 1, "messages": {:#}, "b": 2}}"#, messages(before));
    let Trimmed { edits, dropped, cut, .. } = trim(&Conversation::read(&body))?;
    Some((words(&edited(body.as_bytes(), &edits)), dropped, cut))
}

/// One token more than these messages have.
fn more_than(chat: &Conversation<'_>, gone: &str) -> u64 {
    let is_gone = |message: &&conversation::Message| {
        let text = &chat.body[message.span.clone()];
        gone.split(' ').any(|word| !word.is_empty() && text.contains(&format!("\"{word} ")))
    };
    chat.messages.iter().filter(is_gone).map(|message| chat.tokens(message)).sum::<u64>() + 1
}

#[test]
fn the_oldest_turns_go_first() {
    for (before, too_few, after, dropped) in [
        ("s u1 a1 u2 a2 u3", "", "s u2 a2 u3", 2),
        ("s u1 a1 u2 a2 u3", "u1 a1", "s u3", 4),
        ("u1 a1 u2 d a2 s u3 a3", "u1 a1", "d s u3 a3", 4),
        // What was said before the user spoke is a turn too, and what the user says in one go is one.
        ("a0 u1 a1 u2", "", "u1 a1 u2", 1),
        ("u1 u2 s u3 a3 u4 u5", "", "s u4 u5", 4),
        // A call and its answer go together, even if the user spoke between them.
        ("u1 c1 t1 a1 u2", "", "u2", 4),
        ("u1 c1 u2 t1 a2 u3", "", "u3", 5),
        // Then what was done since the user spoke, but for the last of it.
        ("s u1 a1 u2 c1 t1 c2 c3 t2 t3 c4 t4", "", "s u2 c1 t1 c2 c3 t2 t3 c4 t4", 2),
        ("s u1 a1 u2 c1 t1 c2 c3 t2 t3 c4 t4", "u1 a1", "s u2 c2 c3 t2 t3 c4 t4", 4),
        ("s u1 a1 u2 c1 t1 c2 c3 t2 t3 c4 t4", "u1 a1 c1 t1", "s u2 c4 t4", 8),
        ("c1 t1 c2 t2", "", "c2 t2", 2),
    ] {
        let left =
            |tokens: &dyn Fn(&Conversation<'_>) -> u64| left(before, |chat| shortened(chat, tokens(chat)));
        let expected = Some((after.to_owned(), dropped, 0));
        assert_eq!(left(&|chat| more_than(chat, too_few)), expected, "{before}: {too_few}");
        assert_eq!(left(&|_| 0), Some((before.to_owned(), 0, 0)));
    }
}

#[test]
fn when_nothing_else_can_go_texts_lose_their_ends() {
    let cut = |before: &str, gone: &str| left(before, |chat| shortened(chat, more_than(chat, gone)));
    assert_eq!(cut("s u1 a1 u2", "u1 a1"), Some(("s u2".to_owned(), 2, 1)));
    assert_eq!(cut("u1 c1 u2 t1", ""), Some(("u1 c1 u2 t1".to_owned(), 0, 1)));
    assert_eq!(cut("s d", ""), None, "prompts are not cut");
    assert_eq!(cut("s u1", "s u1"), None, "there is not so much");
}

#[test]
fn a_reduced_chat_has_its_prompts_and_its_last_messages() {
    for (before, after) in [
        ("s u1 a1 u2 a2 u3", "s u2 a2 u3"),
        ("u1 a1 d u2 a2 s", "a1 d u2 a2 s"),
        ("s u1 a1 u2", "s u1 a1 u2"),
        ("u1", "u1"),
        ("s", "s"),
        // Never half of a call, and always what the user said last.
        ("u1 a1 u2 c1 c2 t1 t2 u3", "c1 c2 t1 t2 u3"),
        ("s u1 a1 u2 c1 t1 c2 t2 c3 t3", "s u2 c2 t2 c3 t3"),
        ("u0 c1 u1 t1 a1 a2 a3 a4", "c1 u1 t1 a2 a3 a4"),
    ] {
        let (left, ..) = left(before, |chat| Some(reduced(chat))).expect("always");
        assert_eq!(left, after, "{before}");
    }
}

/// The text that is left of one of this JSON when it loses so many tokens.
fn cut(text: &str, tokens: u64) -> Option<String> {
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let edits = shortened(&Conversation::read(&body), tokens)?.edits;
    let after: Value = serde_json::from_slice(&edited(body.as_bytes(), &edits)).expect("JSON");
    Some(after["messages"][0]["content"].as_str().expect("a text").to_owned())
}

#[test]
fn texts_are_cut_between_characters() {
    for (text, whole) in [
        ("一二三四五六七八九十", "一二三四五六七八九十"),
        (r"\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b", "一二三四五六七八"),
        (r"\ud83e\udd80\ud83e\udd80\ud83e\udd80\ud83e\udd80\ud83e\udd80", "🦀🦀🦀🦀🦀"),
        (r"é\né\\é\u00e9é\né\\é\u00e9", "é\né\\éé\u{e9}\né\\éé"),
        ("🦀é🦀é🦀é🦀é", "🦀é🦀é🦀é🦀é"),
    ] {
        for tokens in 1..4 {
            let left = cut(text, tokens).expect("there is enough");
            assert!(whole.starts_with(&left) && !left.is_empty() && left != whole, "{text} {tokens}: {left}");
        }
    }
    assert_eq!(cut("", 1), None);
    assert_eq!(cut("a", 1), None);
    let words = "some words of which there are enough, ".repeat(20);
    let tokens = |text: &str| {
        let mut seen = crate::estimate::Text::default();
        seen.add(text.as_bytes());
        seen.tokens()
    };
    let lost = tokens(&words) - tokens(&cut(&words, 50).expect("enough"));
    assert!((50..55).contains(&lost), "as much as it must and little more: {lost}");
}

#[test]
fn edits_in_what_is_left_out_are_left_out_too() {
    let edit = |start, end, text: &str| Edit { start, end, bytes: text.as_bytes().to_vec() };
    let shorter = [edit(10, 20, ""), edit(30, 40, "")];
    let own = [
        edit(5, 10, "a"),
        edit(10, 10, "b"),
        edit(10, 12, "c"),
        edit(15, 15, "d"),
        edit(12, 20, "e"),
        edit(20, 20, "f"),
        edit(25, 30, "g"),
        edit(40, 45, "h"),
    ];
    let kept = joined(own.to_vec(), &shorter);
    let kept: Vec<_> = kept.iter().map(|edit| (edit.start, String::from_utf8_lossy(&edit.bytes))).collect();
    let kept: Vec<_> = kept.iter().map(|(start, text)| (*start, &**text)).collect();
    assert_eq!(kept, [(5, "a"), (10, "b"), (10, ""), (20, "f"), (25, "g"), (30, ""), (40, "h")]);
}

/// A role, a content, the ids of calls, and which call is answered.
type Draft = (&'static str, Value, Option<Vec<u8>>, prop::sample::Index);

/// A chat as it can be: calls are answered by any of the messages after them, or not at all, or twice.
fn any_messages() -> impl Strategy<Value = Vec<Value>> {
    let text = || prop_oneof!["[a-z ]{0,60}", "[あ-ん🦀é\\\\\"\n]{0,20}", Just(String::new())];
    let part = |text: String| json!({"type": "text", "text": text});
    let content = prop_oneof![
        2 => text().prop_map(Value::from),
        1 => prop::collection::vec(text(), 1..3).prop_map(move |texts| texts.into_iter().map(part).collect()),
    ];
    let role = prop::sample::select(vec!["system", "developer", "user", "user", "assistant", "tool", "tool"]);
    let calls = prop::option::of(prop::collection::vec(0..4_u8, 1..3));
    let message = (role, content, calls, any::<prop::sample::Index>());
    prop::collection::vec(message, 1..12).prop_map(|drafts| {
        let mut ids: Vec<Value> = Vec::new();
        let message = |(number, (role, content, calls, answers)): (usize, Draft)| {
            // By its number each is told apart.
            let mut message = json!({"number": number, "role": role, "content": content});
            match (role, calls) {
                ("tool", _) if ids.is_empty() => message["role"] = "user".into(),
                ("tool", _) => message["tool_call_id"] = answers.get(&ids).clone(),
                ("user", Some(_)) if message["content"].is_array() => {
                    let image = json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}});
                    message["content"].as_array_mut().expect("parts").push(image);
                }
                ("assistant", Some(calls)) => {
                    let function = json!({"name": "f", "arguments": "{}"});
                    let call = |id: u8| json!({"function": function, "type": "function", "id": format!("call {id}")});
                    message["tool_calls"] = calls.iter().copied().map(call).collect();
                    ids.extend(calls.into_iter().map(|id| Value::from(format!("call {id}"))));
                    if number % 2 == 0 {
                        message["content"] = Value::Null;
                    }
                }
                _ => {}
            }
            message
        };
        drafts.into_iter().enumerate().map(message).collect()
    })
}

fn any_body() -> impl Strategy<Value = String> {
    (any_messages(), any::<bool>(), any::<bool>()).prop_map(|(messages, pretty, first)| {
        let messages = Value::from(messages);
        let messages = if pretty { format!("{messages:#}") } else { messages.to_string() };
        let messages = if pretty {
            messages.replace('é', "\\u00e9").replace('🦀', "\\ud83e\\udd80")
        } else {
            messages
        };
        match first {
            true => format!(r#"{{"messages":{messages},"model":"m"}}"#),
            false => format!(r#" {{ "model" : "m", "x":{{"messages":[]}}, "messages" : {messages} }}"#),
        }
    })
}

/// Whether this is the same message, or the same with shorter texts.
fn is_cut(after: &Value, before: &Value) -> bool {
    match (after, before) {
        (Value::String(after), Value::String(before)) => before.starts_with(after.as_str()),
        (Value::Array(after), Value::Array(before)) => {
            after.len() == before.len()
                && after.iter().zip(before).all(|(after, before)| is_cut(after, before))
        }
        (Value::Object(after), Value::Object(before)) => {
            after.keys().eq(before.keys())
                && after.values().zip(before.values()).all(|(one, other)| is_cut(one, other))
        }
        _ => after == before,
    }
}

/// For each message its call of a tool, if it answers one: the last with this id, else the last of all.
fn answered(messages: &[Value]) -> Vec<Option<usize>> {
    let calls = |message: &Value, id: Option<&Value>| {
        let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
        calls.iter().any(|call| id.is_none_or(|id| call["id"] == *id))
    };
    let find = |(index, message): (usize, &Value)| {
        let id = (message["role"] == "tool").then(|| &message["tool_call_id"])?;
        let before = messages.get(..index)?;
        before
            .iter()
            .rposition(|caller| calls(caller, Some(id)))
            .or(before.iter().rposition(|one| calls(one, None)))
    };
    messages.iter().enumerate().map(find).collect()
}

fn assert_sound(body: &str, edits: &[Edit], change: Change) -> Result<(), TestCaseError> {
    let before: Value = serde_json::from_str(body)?;
    let after: Value = serde_json::from_slice(&edited(body.as_bytes(), edits))?;
    let (mut old, mut new) = (before.clone(), after.clone());
    prop_assert_eq!(old["messages"].take().is_array(), new["messages"].take().is_array());
    prop_assert_eq!(old, new, "nothing else changes");

    let list = |body: &Value| body["messages"].as_array().cloned().expect("messages");
    let (before, after) = (list(&before), list(&after));
    prop_assert_eq!(before.len(), after.len() + change.dropped as usize);
    let mut kept = Vec::new();
    for message in &after {
        let number = message["number"].as_u64().expect("a number") as usize;
        prop_assert!(kept.last().is_none_or(|last| *last < number), "in the same order");
        prop_assert!(is_cut(message, &before[number]), "{message} was {}", before[number]);
        kept.push(number);
    }
    let is_prompt = |message: &&Value| message["role"] == "system" || message["role"] == "developer";
    prop_assert!(
        after.iter().filter(is_prompt).eq(before.iter().filter(is_prompt)),
        "prompts stay as they are"
    );
    if let Some(last) = before.iter().rposition(|message| message["role"] == "user") {
        let said = after.iter().rfind(|message| message["role"] == "user");
        prop_assert!(said.is_some_and(|said| is_cut(said, &before[last])), "what the user said last stays");
    }
    for (number, call) in answered(&before).into_iter().enumerate() {
        let together = call.is_none_or(|call| kept.contains(&call) == kept.contains(&number));
        prop_assert!(together, "{number} answers {call:?}");
    }
    Ok(())
}

fn read(body: &[u8]) -> Request<'_> {
    let all = Parameters::default();
    Request::read(Kind::Chat, body, |_| Ok(&all)).expect("a sound request")
}

fn gateway(window: u64, overflow: &str) -> crate::Gateway {
    let (before, keys) = crate::tests::CONFIG.split_once("[[keys]]").expect("keys");
    let server = before.split("[[models]]").next().expect("a beginning");
    let model = |name: &str, rest: &str| {
        format!(
            "[[models]]\nname = \"{name}\"\ntargets = [{{ upstream = \"main\" }}]\nprice = \"free\"\n{rest}\n"
        )
    };
    let models = [
        model("m", &format!("context_window = {window}\ncontext_overflow = {overflow}")),
        model("other", &format!("context_window = {}", window * 2)),
        model("local", ""),
    ];
    let config = format!("{server}{}[[keys]]{keys}", models.concat());
    crate::Gateway::load(&crate::tests::settings(&config)).expect("a sound configuration").gateway
}

proptest! {
    #[test]
    fn whatever_is_left_out_the_rest_is_sound_and_fits(body in any_body(), window in 1..200_u64) {
        let request = read(body.as_bytes());
        for overflow in ["\"truncate\"", "\"refuse\"", "{ fallback = \"other\" }"] {
            let gateway = gateway(window, overflow);
            let forms = forms(&gateway.config, &Allowed::All, Kind::Chat, 0, &request, body.as_bytes());
            let Ok(forms) = forms else {
                prop_assert!(request.input_estimate > window);
                continue;
            };
            let spare = forms.spare.iter().filter(|spare| spare.change.is_some());
            if let Some(spare) = forms.spare.as_ref().filter(|spare| spare.model == 0) {
                prop_assert!(spare.input <= forms.first.input - forms.first.input / 4);
            }
            for form in spare.chain([&forms.first]) {
                let unchanged = Change { dropped: 0, cut: 0, input: request.input_estimate };
                assert_sound(&body, &form.edits, form.change.unwrap_or(unchanged))?;
                prop_assert_eq!(form.edits.is_empty(), form.change.is_none());
                let sent = edited(body.as_bytes(), &form.edits);
                let sent = read(&sent).input_estimate;
                prop_assert!(sent <= form.input, "{sent} and not {}", form.input);
                let room = if form.model == 0 { window } else { window * 2 };
                prop_assert!(form.input <= room);
            }
        }
    }

    #[test]
    fn nothing_is_done_to_what_fits(body in any_body()) {
        let request = read(body.as_bytes());
        for overflow in ["\"truncate\"", "\"refuse\"", "{ fallback = \"other\" }"] {
            let gateway = gateway(request.input_estimate, overflow);
            let forms = forms(&gateway.config, &Allowed::All, Kind::Chat, 0, &request, body.as_bytes());
            let first = forms.expect("it fits").first;
            prop_assert_eq!((first.model, first.edits, first.change), (0, vec![], None));
        }
    }
}
