//! Upstreams that fail, and tickets that are not ours.

use super::*;

const BODY: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hello there"}]}"#;

/// The verdict on the last target.
fn last(outcome: Outcome) -> Verdict {
    let gateway = gateway();
    gateway.judge(&admitted(&gateway, BODY).ticket, &last_attempt(outcome)).expect("its own ticket").verdict
}

fn replied(outcome: Outcome) -> (u16, String) {
    match last(outcome) {
        Verdict::Reply { reply, .. } => {
            assert!(reply.headers.iter().any(|header| header.name == Own::RemainingTokens));
            (reply.status, String::from_utf8(reply.body).expect("text"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn faults_of_the_last_target_are_told_apart() {
    for (fault, status, code) in [
        (Fault::Connect, 502, "upstream_unreachable"),
        (Fault::Timeout, 504, "upstream_timeout"),
        (Fault::Closed, 502, "upstream_closed"),
        (Fault::Malformed, 502, "upstream_malformed"),
    ] {
        let (found, body) = replied(Outcome::Fault(fault));
        assert_eq!(found, status);
        assert!(body.contains(&format!(r#""type":"upstream_error","param":null,"code":"{code}""#)), "{body}");
    }
}

#[test]
fn a_refused_credential_is_not_the_clients_fault() {
    for status in [401, 403] {
        let (found, body) =
            replied(answer(status, "application/json", Some(b"{\"error\":{\"message\":\"key\"}}")));
        assert_eq!(found, 502);
        assert!(body.contains("\"code\":\"upstream_auth\"") && body.contains("Your key is fine"), "{body}");
    }
}

#[test]
fn a_providers_error_is_relayed_when_clients_can_read_it() {
    let error = br#" {"error":{"message":"bad temperature","type":"invalid_request_error"}}"#;
    for status in [400, 404, 422, 429, 500, 503] {
        let verdict = last(answer(status, "application/json", Some(error)));
        assert!(matches!(verdict, Verdict::Relay { inspect: false, .. }), "{status}: {verdict:?}");
    }
    for body in [&b"<html>"[..], b"{\"error\":\"x\"}", b"{}", b"[]", b"", b"{\"error\":{}", b"\xff"] {
        assert_eq!(replied(answer(400, "application/json", Some(body))).0, 400);
        assert_eq!(replied(answer(500, "application/json", Some(body))).0, 502);
    }
    assert_eq!(replied(answer(429, "application/json", None)).0, 429);
}

#[test]
fn a_providers_wait_is_passed_on() {
    let headers = vec![
        header("content-type", "text/html"),
        header("retry-after", "7"),
        header("retry-after-ms", "6500"),
    ];
    let outcome = Outcome::Answer(Answer { status: 429, headers, body: Some(b"<html>".to_vec()) });
    let verdict = last(outcome);
    let Verdict::Reply { reply, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(reply.status, 429);
    assert_eq!(
        reply.headers[1..3],
        [OwnHeader::new(Own::RetryAfter, "7"), OwnHeader::new(Own::RetryAfterMs, "6500")]
    );
}

#[test]
fn a_clients_error_is_not_tried_elsewhere() {
    let gateway = gateway();
    let ticket = admitted(&gateway, BODY).ticket;
    let outcome = answer(400, "application/json", Some(br#"{"error":{"message":"x"}}"#));
    let verdict = gateway.judge(&ticket, &attempt(0, outcome)).expect("its own ticket").verdict;
    let Verdict::Relay { ticket, .. } = verdict else { panic!("{verdict:?}") };
    let settlement = gateway.settle(&ticket, Ending::Completed).expect("its own ticket");
    assert_eq!(settlement.amounts, [1, 0, 0]);
}

#[test]
fn answers_of_another_form_are_malformed() {
    let outcome = |headers: &[(&str, &str)], body: &[u8]| {
        let headers = headers.iter().map(|(name, value)| header(name, value)).collect();
        Outcome::Answer(Answer { status: 200, headers, body: Some(body.to_vec()) })
    };
    for (headers, body) in [
        (&[][..], &b"{}"[..]),
        (&[("content-type", "text/plain")], b"{}"),
        (&[("content-type", "text/event-stream")], b"data: {}\n\n"),
        (&[("content-type", "application/json"), ("content-type", "application/json")], b"{}"),
        (&[("content-type", "application/json"), ("content-encoding", "gzip")], b"{}"),
        (&[("content-type", "application/json")], b""),
        (&[("content-type", "application/json")], b"[]"),
        (&[("content-type", "application/json")], b"{}{}"),
        (&[("content-type", "application/json")], b"{"),
        (&[("content-type", "application/json")], b"{'a':1}"),
    ] {
        let (status, error) = replied(outcome(headers, body));
        assert_eq!(status, 502, "{headers:?}");
        assert!(error.contains("upstream_malformed"), "{error}");
    }
    let fine = [("content-type", "Application/JSON ; charset=x"), ("content-encoding", "Identity")];
    assert!(matches!(last(outcome(&fine, b" {} ")), Verdict::Relay { .. }));
}

#[test]
fn tickets_of_another_time_or_configuration_are_refused() {
    let gateway = gateway();
    let config = CONFIG.replace("100/1m", "101/1m");
    let other = Gateway::load(&settings(&config)).expect("a sound configuration").gateway;
    let identified = identified(&gateway, "/v1/embeddings", ALICE);
    let trying = admitted(&gateway, BODY).ticket;
    let fault = || attempt(0, Outcome::Fault(Fault::Closed));
    assert_eq!(other.admit(&identified, None, b"{}", &at(NOW)), Err(BadTicket));
    assert_eq!(other.judge(&trying, &fault()), Err(BadTicket));
    assert_eq!(other.refuse(Some(&trying), &Failure::RequestTimeout), Err(BadTicket));
    assert_eq!(gateway.admit(&trying, None, b"{}", &at(NOW)), Err(BadTicket));
    assert_eq!(gateway.judge(&identified, &fault()), Err(BadTicket));
    assert_eq!(gateway.judge(&trying, &attempt(2, Outcome::Fault(Fault::Closed))), Err(BadTicket));
    assert_eq!(gateway.feed(&trying, Piece::End), Err(BadTicket));
    assert_eq!(gateway.settle(&identified, Ending::Completed), Err(BadTicket));
    assert_eq!(gateway.settle(&[], Ending::Completed), Err(BadTicket));
    let longer = [&trying[..], b"x"].concat();
    assert_eq!(gateway.settle(&longer, Ending::Completed), Err(BadTicket));
    let shorter = &trying[..trying.len() - 1];
    assert_eq!(gateway.settle(shorter, Ending::Completed), Err(BadTicket));
}
