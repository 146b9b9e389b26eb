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
