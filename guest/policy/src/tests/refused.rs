//! Requests that are refused, and what the client reads then.

use super::*;

fn refused(path: &str, key: &str, body: &[u8]) -> String {
    match admission(&gateway(), path, key, body) {
        Admission::Reply(reply) => text(&reply),
        other => panic!("{other:?}"),
    }
}

fn shown(reply: &Reply) -> Vec<String> {
    reply.headers.iter().map(|header| format!("{}: {}", header.name, header.value)).collect()
}

#[test]
fn unknown_places_come_before_unknown_keys() {
    let gateway = gateway();
    let reply = |method, path, key| match gateway.identify(&head(method, path, key)) {
        Identity::Reply(reply) => reply,
        other => panic!("{other:?}"),
    };
    let unknown = text(&reply("POST", "/v1/foo?key=secret", ""));
    assert!(unknown.starts_with(r#"404 {"error":{"message":"Invalid URL (POST /v1/foo)""#), "{unknown}");
    assert!(unknown.contains(r#""code":"unknown_url""#));
    let method = reply("GET", "/v1/chat/completions", "");
    assert_eq!((method.status, &shown(&method)[1..]), (405, &["allow: POST".to_owned()][..]));
    let keyless = text(&reply("POST", "/v1/embeddings", ""));
    assert!(keyless.starts_with("401 ") && keyless.contains(r#""code":"invalid_api_key""#), "{keyless}");
}

#[test]
fn a_key_the_configuration_has_not_may_do_nothing() {
    let gateway = gateway();
    let Identity::Caller(caller) = gateway.identify(&head("POST", "/v1/embeddings", "tg_secret")) else {
        panic!("a caller");
    };
    assert!(!caller.configured);
    let refused = gateway.refuse(Some(&caller.ticket), &Failure::UnknownKey).expect("its own ticket");
    assert_eq!(gateway.admit(&caller.ticket, None, b"{}", &at(NOW)), Ok(Admission::Reply(refused.clone())));
    assert!(text(&refused).starts_with("401 ") && !text(&refused).contains("secret"));
}

#[test]
fn a_model_the_key_may_not_use_is_as_unknown_as_one_that_is_not() {
    let body =
        |model| format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":""}}]}}"#).into_bytes();
    let forbidden = refused("/v1/chat/completions", BOB, &body("gpt-4o"));
    let unknown = refused("/v1/chat/completions", BOB, &body("gpt-4p"));
    assert!(
        forbidden.starts_with("404 ") && forbidden.contains(r#""param":"model","code":"model_not_found""#)
    );
    assert_eq!(forbidden, unknown.replace("4p", "4o"));
    let elsewhere = refused("/v1/chat/completions", ALICE, &body("embed/small"));
    assert!(elsewhere.contains(r#""param":"model","code":"model_not_supported""#), "{elsewhere}");
}

#[test]
fn the_ledgers_no_is_told_by_what_it_limits() {
    let gateway = gateway();
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":""}]}"#;
    let ticket = admitted(&gateway, body).ticket;
    let refuse = |claim, retry_after_ms| {
        let standings = vec![Standing { remaining: 0, reset_ms: 61_000 }; 3];
        let limited = Failure::Limited(Limited { claim, retry_after_ms, standings });
        gateway.refuse(Some(&ticket), &limited)
    };
    let requests = refuse(0, Some(1_200)).expect("a reply");
    assert!(
        text(&requests).contains("100 requests in any 1m. Please try again in 1.2s."),
        "{}",
        text(&requests)
    );
    assert!(text(&requests).contains(r#""type":"requests","param":null,"code":"rate_limit_exceeded""#));
    let headers = shown(&requests);
    assert_eq!(headers[1..3], ["retry-after: 2", "retry-after-ms: 1200"]);
    assert!(headers.contains(&"x-ratelimit-reset-tokens: 1m1s".to_owned()), "{headers:?}");
    let never = refuse(1, None).expect("a reply");
    assert!(text(&never).contains(r#""type":"tokens","param":null,"code":"rate_limit_exceeded""#));
    assert_eq!(shown(&never)[1], "x-should-retry: false");
    let budget = refuse(2, Some(5)).expect("a reply");
    assert!(
        text(&budget).contains(r#""type":"insufficient_quota","param":null,"code":"insufficient_quota""#)
    );
    assert!(text(&budget).contains("1000 JPY/month"));
    assert_eq!(shown(&budget)[1], "x-should-retry: false");
    assert_eq!(refuse(3, None), Err(BadTicket));
    assert!(
        gateway
            .refuse(None, &Failure::Limited(Limited { claim: 0, retry_after_ms: None, standings: vec![] }))
            .is_err()
    );
}

#[test]
fn the_shells_failures_have_a_status_each() {
    let gateway = gateway();
    for (failure, status, code) in [
        (Failure::Malformed("x".into()), 400, "malformed_request"),
        (Failure::HeadTooLarge("x".into()), 431, "request_header_fields_too_large"),
        (Failure::BodyTooLarge(5), 413, "request_too_large"),
        (Failure::RequestTimeout, 408, "request_timeout"),
        (Failure::UnknownKey, 401, "invalid_api_key"),
        (Failure::LedgerUnavailable, 503, "ledger_unavailable"),
        (Failure::Unavailable("x".into()), 503, "unavailable"),
        (Failure::Internal("r-9".into()), 500, "internal_error"),
    ] {
        let reply = gateway.refuse(None, &failure).expect("a reply");
        assert_eq!(reply.status, status);
        assert!(text(&reply).contains(&format!("\"code\":\"{code}\"")), "{}", text(&reply));
        assert_eq!(shown(&reply)[0], "content-type: application/json");
        assert_eq!(shown(&reply).contains(&"retry-after: 1".to_owned()), status == 503);
    }
    let internal = gateway.refuse(None, &Failure::Internal("r-9".into())).expect("a reply");
    assert!(text(&internal).contains("your request r-9"));
}
