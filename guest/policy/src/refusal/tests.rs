use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::*;

fn shown(refusal: &Refusal) -> (u16, String, Vec<String>) {
    let reply = refusal.reply(Vec::new());
    let headers = reply.headers.iter().map(|header| format!("{}: {}", header.name, header.value)).collect();
    (reply.status, String::from_utf8(reply.body).expect("text"), headers)
}

#[test]
fn refusals_have_the_shape_of_openai() {
    let (status, body, headers) = shown(&Refusal::UnknownModel("gp\"t".into()));
    assert_eq!(status, 404);
    let message = r#"The model `gp\"t` does not exist or you do not have access to it."#;
    let rest = r#""type":"invalid_request_error","param":"model","code":"model_not_found""#;
    assert_eq!(body, format!(r#"{{"error":{{"message":"{message}",{rest}}}}}"#));
    assert_eq!(headers, ["content-type: application/json"]);
}

#[test]
fn waits_are_exact_and_whole_seconds_are_rounded_up() {
    let limited = |retry_after_ms| {
        shown(&Refusal::RateLimited {
            unit: Unit::Tokens,
            limit: "5 tokens in any 1m".into(),
            retry_after_ms,
        })
    };
    let (status, body, headers) = limited(1_001);
    assert_eq!(status, 429);
    assert!(body.contains(r#""type":"tokens","param":null,"code":"rate_limit_exceeded""#), "{body}");
    assert!(body.contains("5 tokens in any 1m. Please try again in 1.001s."), "{body}");
    assert_eq!(headers, ["content-type: application/json", "retry-after: 2", "retry-after-ms: 1001"]);
    assert_eq!(limited(0).2[1..], ["retry-after: 1", "retry-after-ms: 0"]);
}

#[test]
fn what_waiting_cannot_mend_is_not_retried() {
    let limit = || "1000 JPY/month".to_owned();
    for refusal in
        [Refusal::QuotaSpent { budget: limit() }, Refusal::NeverFits { unit: Unit::Tokens, limit: limit() }]
    {
        let (status, _, headers) = shown(&refusal);
        assert_eq!(status, 429);
        assert_eq!(headers[1..], ["x-should-retry: false"]);
    }
}

#[test]
fn an_upstream_status_stays_a_client_error_or_becomes_502() {
    assert_eq!(shown(&Refusal::UpstreamStatus(422)).0, 422);
    assert_eq!(shown(&Refusal::UpstreamStatus(503)).0, 502);
}

#[test]
fn what_a_client_sent_is_cut() {
    let (_, body, _) = shown(&Refusal::UnknownModel("é".repeat(100_000)));
    assert!(body.len() < 1_000);
}

#[test]
fn an_event_is_one_line_of_data() {
    let event = Refusal::Upstream(Fault::Closed).event();
    let text = String::from_utf8(event).expect("text");
    assert!(text.starts_with("data: {\"error\":{") && text.ends_with("}}\n\n"));
    assert_eq!(text.lines().count(), 2);
}

/// One of each, with marks where a client's, an operator's or a provider's own words and numbers stand; and its number.
/// The match has no other arm: whoever adds a refusal is sent here, and from here to the vectors.
fn one_of_each() -> Vec<Refusal> {
    let word = || "☃".to_owned();
    let param = || Param::from("☃");
    let (unit, count) = (Unit::Tokens, 77_777_u64);
    let all = vec![
        Refusal::KeyMissing,
        Refusal::KeyMisplaced,
        Refusal::KeyAmbiguous,
        Refusal::KeyUnknown,
        Refusal::KeyExpired,
        Refusal::KeyUnusable(word()),
        Refusal::UnknownUrl { method: word(), path: word() },
        Refusal::WrongMethod { method: word(), path: word(), allow: "☃" },
        Refusal::UnknownModel(word()),
        Refusal::WrongEndpoint { model: word(), path: "☃" },
        Refusal::NoRoute(word()),
        Refusal::NotUtf8,
        Refusal::NotJson(word()),
        Refusal::TooDeep,
        Refusal::TooManyKeys,
        Refusal::DuplicateKey(word()),
        Refusal::FoldedKey { key: word(), meant: "☃" },
        Refusal::Missing(param()),
        Refusal::WrongType { param: param(), expected: "☃" },
        Refusal::Empty { param: param(), what: "☃" },
        Refusal::BelowMinimum { param: param(), least: 77_777 },
        Refusal::AboveMaximum { param: param(), most: 77_777 },
        Refusal::DecimalBelow { param: param(), least: word(), got: word() },
        Refusal::DecimalAbove { param: param(), most: word(), got: word() },
        Refusal::TooMany { param: param(), most: 77_777, got: 77_777 },
        Refusal::TooLong { param: param(), most: 77_777 },
        Refusal::NoChoice { param: param(), got: word(), known: &["☃"] },
        Refusal::Invalid { param: param(), why: word() },
        Refusal::Unsupported { param: "☃", instead: None },
        Refusal::UnsupportedValue { param: param(), value: word() },
        Refusal::ContextExceeded { window: count, input: count, output: None },
        Refusal::ContextRefused { window: count },
        Refusal::RateLimited { unit, limit: word(), retry_after_ms: 1_000 },
        Refusal::NeverFits { unit, limit: word() },
        Refusal::QuotaSpent { budget: word() },
        Refusal::Malformed(word()),
        Refusal::HeadTooLarge(word()),
        Refusal::BodyTooLarge(count),
        Refusal::RequestTimeout,
        Refusal::LedgerUnavailable,
        Refusal::Unavailable(word()),
        Refusal::Internal(word()),
        Refusal::Upstream(Fault::Connect),
        Refusal::UpstreamKey,
        Refusal::UpstreamStatus(418),
        Refusal::UpstreamsTripped { retry_after_ms: 1_000 },
    ];
    let numbers: Vec<usize> = all.iter().map(number).collect();
    assert_eq!(numbers, (0..all.len()).collect::<Vec<_>>(), "one of each, in the order of the enum");
    all
}

fn number(refusal: &Refusal) -> usize {
    match refusal {
        Refusal::KeyMissing => 0,
        Refusal::KeyMisplaced => 1,
        Refusal::KeyAmbiguous => 2,
        Refusal::KeyUnknown => 3,
        Refusal::KeyExpired => 4,
        Refusal::KeyUnusable(_) => 5,
        Refusal::UnknownUrl { .. } => 6,
        Refusal::WrongMethod { .. } => 7,
        Refusal::UnknownModel(_) => 8,
        Refusal::WrongEndpoint { .. } => 9,
        Refusal::NoRoute(_) => 10,
        Refusal::NotUtf8 => 11,
        Refusal::NotJson(_) => 12,
        Refusal::TooDeep => 13,
        Refusal::TooManyKeys => 14,
        Refusal::DuplicateKey(_) => 15,
        Refusal::FoldedKey { .. } => 16,
        Refusal::Missing(_) => 17,
        Refusal::WrongType { .. } => 18,
        Refusal::Empty { .. } => 19,
        Refusal::BelowMinimum { .. } => 20,
        Refusal::AboveMaximum { .. } => 21,
        Refusal::DecimalBelow { .. } => 22,
        Refusal::DecimalAbove { .. } => 23,
        Refusal::TooMany { .. } => 24,
        Refusal::TooLong { .. } => 25,
        Refusal::NoChoice { .. } => 26,
        Refusal::Invalid { .. } => 27,
        Refusal::Unsupported { .. } => 28,
        Refusal::UnsupportedValue { .. } => 29,
        Refusal::ContextExceeded { .. } => 30,
        Refusal::ContextRefused { .. } => 31,
        Refusal::RateLimited { .. } => 32,
        Refusal::NeverFits { .. } => 33,
        Refusal::QuotaSpent { .. } => 34,
        Refusal::Malformed(_) => 35,
        Refusal::HeadTooLarge(_) => 36,
        Refusal::BodyTooLarge(_) => 37,
        Refusal::RequestTimeout => 38,
        Refusal::LedgerUnavailable => 39,
        Refusal::Unavailable(_) => 40,
        Refusal::Internal(_) => 41,
        Refusal::Upstream(_) => 42,
        Refusal::UpstreamKey => 43,
        Refusal::UpstreamStatus(_) => 44,
        Refusal::UpstreamsTripped { .. } => 45,
    }
}

/// Those of a shell alone, which no exchange of a vector can bring about: `tests/tests/bad_input.rs` and
/// `tests/tests/gateway/hostile.rs` do.
fn is_of_a_shell_alone(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Malformed(_)
            | Refusal::HeadTooLarge(_)
            | Refusal::RequestTimeout
            | Refusal::Unavailable(_)
            | Refusal::Internal(_)
    )
}

#[test]
fn every_refusal_has_a_vector() {
    let told = messages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors"));
    let is_told = |refusal: &Refusal| {
        let message = refusal.message();
        let is_open = |c: char| c == '☃' || c == ',' || c.is_ascii_digit();
        let fixed: Vec<&str> = message.split(is_open).collect();
        let follow =
            |text: &str| fixed.iter().try_fold(text, |text, part| Some(text.split_once(part)?.1)).is_some();
        told.iter().any(|(code, text)| code == refusal.row().code && follow(text))
    };
    let faults = [Fault::Connect, Fault::Timeout, Fault::Closed, Fault::Malformed].map(Refusal::Upstream);
    let missing: Vec<Refusal> = one_of_each()
        .into_iter()
        .chain(faults)
        .filter(|one| !is_told(one) && !is_of_a_shell_alone(one))
        .collect();
    assert!(missing.is_empty(), "no vector has {missing:?}");
}

/// Code and message of every error that a client gets in a vector.
#[expect(clippy::disallowed_methods, reason = "only what decides must not read files")]
fn messages(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(messages(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).expect("a text");
            let vector: Told = serde_json::from_str(&text).expect("JSON");
            let client = vector.expect.and_then(|expect| expect.client);
            client.iter().for_each(|client| errors(&client.body, &mut found));
        }
    }
    found
}

/// What a vector says that a client gets.
#[derive(Deserialize)]
struct Told {
    expect: Option<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    client: Option<Client>,
}

#[derive(Deserialize)]
struct Client {
    #[serde(default)]
    body: Value,
}

fn errors(value: &Value, found: &mut Vec<(String, String)>) {
    if let (Some(code), Some(message)) = (value["error"]["code"].as_str(), value["error"]["message"].as_str())
    {
        found.push((code.to_owned(), message.to_owned()));
    }
    match value {
        Value::Array(values) => values.iter().for_each(|value| errors(value, found)),
        Value::Object(members) => members.values().for_each(|value| errors(value, found)),
        _ => {}
    }
}
