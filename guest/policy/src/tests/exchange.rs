//! Exchanges that go well, or as well as they can.

use super::*;

const BODY: &str =
    r#"{"model":"gpt-4o","max_tokens":100,"messages":[{"role":"user","content":"Hello there"}]}"#;
const ANSWER: &str = r#"{"id":"c","choices":[{"message":{"content":"Hi"}}],"usage":{"prompt_tokens":20,
    "completion_tokens":7,"prompt_tokens_details":{"cached_tokens":8}}}"#;

fn settled(gateway: &Gateway, ticket: &[u8], ending: Ending) -> (Vec<u64>, Usage) {
    let settlement = gateway.settle(ticket, ending).expect("its own ticket");
    (settlement.amounts, settlement.usage)
}

#[test]
fn a_plain_exchange_is_admitted_relayed_and_charged() {
    let gateway = gateway();
    let admitted = admitted(&gateway, BODY);
    // `user` and `Hello there`; one message; 100 tokens of output.
    let tokens = 3 + 3 + 3 + 100;
    let money = (BODY.len() as u64 * 2_500_000 + 100 * 10_000_000_u64).div_ceil(1_000);
    let cells: Vec<_> = admitted.claims.iter().map(|claim| (claim.cell.as_str(), claim.amount)).collect();
    let expected = [("requests:alice", 1), ("tokens:alice", tokens), ("budget:alice:JPY:2026-11", money)];
    assert_eq!(cells, expected);
    let [main, spare] = &admitted.targets[..] else { panic!("two targets") };
    assert_eq!((main.upstream.as_str(), main.path.as_str()), ("main", "/chat/completions"));
    assert_eq!(main.edits, [], "the client's own bytes");
    let changed = edited(BODY.as_bytes(), &spare.edits);
    assert_eq!(changed, BODY.replace("gpt-4o", "gpt-4o-2024").into_bytes());

    let outcome = answer(200, "application/json; charset=utf-8", Some(ANSWER.as_bytes()));
    let verdict = gateway.judge(&admitted.ticket, &attempt(0, outcome)).expect("its own ticket").verdict;
    let Verdict::Relay { ticket, headers, inspect } = verdict else { panic!("{verdict:?}") };
    assert!(!inspect);
    let headers: Vec<_> = headers.iter().map(|header| format!("{}: {}", header.name, header.value)).collect();
    let expected = [
        "x-tollgate-upstream: main",
        "x-tollgate-attempts: 1",
        "x-ratelimit-limit-requests: 100",
        "x-ratelimit-remaining-requests: 99",
        "x-ratelimit-reset-requests: 600ms",
        "x-ratelimit-limit-tokens: 200000",
        "x-ratelimit-remaining-tokens: 99",
        "x-ratelimit-reset-tokens: 600ms",
    ];
    assert_eq!(headers, expected);

    let (amounts, usage) = settled(&gateway, &ticket, Ending::Completed);
    let charge = 12 * 2_500 + 8 * 1_250 + 7 * 10_000;
    assert_eq!(amounts, [1, 27, charge]);
    let expected = Usage {
        key: "alice".into(),
        model: "gpt-4o".into(),
        upstream: Some("main".into()),
        upstream_model: Some("gpt-4o".into()),
        input_tokens: 20,
        cached_input_tokens: 8,
        cache_write_tokens: 0,
        output_tokens: 7,
        reasoning_tokens: 0,
        estimated: false,
        charge,
        currency: "JPY".into(),
        price: Price {
            input: 2_500_000,
            cached_input: 1_250_000,
            cache_write: 2_500_000,
            output: 10_000_000,
            reasoning: 10_000_000,
            since_ms: None,
            source: None,
        },
    };
    assert_eq!(usage, expected);
}

#[test]
fn embeddings_have_no_output() {
    let gateway = gateway();
    let body = br#"{"model":"embed/small","input":["Hello there",[1,2,3]],"dimensions":8}"#;
    let admission = admission(&gateway, "/v1/embeddings", ALICE, body);
    let Admission::Admitted(admitted) = admission else { panic!("{admission:?}") };
    assert_eq!(admitted.claims[1].amount, 2 + 3);
    assert_eq!(admitted.targets[0].path, "/embeddings");
    let answer = answer(200, "application/json", Some(br#"{"data":[],"model":"x"}"#));
    let (amounts, usage) = settled(&gateway, &relayed(&gateway, &admitted.ticket, answer), Ending::Completed);
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.estimated), (5, 0, true));
    assert_eq!(amounts, [1, 5, 5 * 20]);
}

#[test]
fn models_are_listed_by_key() {
    let gateway = gateway();
    let reply = |path, key| match admission(&gateway, path, key, b"ignored") {
        Admission::Reply(reply) => text(&reply),
        other => panic!("{other:?}"),
    };
    let list = reply("/v1/models", BOB);
    let entry = r#"{"id":"local","object":"model","created":0,"owned_by":"tollgate"}"#;
    assert_eq!(list, format!(r#"200 {{"object":"list","data":[{entry}]}}"#));
    assert_eq!(reply("/v1/models", ALICE).matches("\"id\"").count(), 3);
    assert!(reply("/v1/models/embed%2Fsmall", ALICE).starts_with("200 {\"id\":\"embed/small\""));
    assert_eq!(reply("/v1/models/gpt-4o", BOB), reply("/v1/models/gpt-4p", BOB).replace("4p", "4o"));
}

#[test]
fn the_next_target_is_tried_once() {
    let gateway = gateway();
    for outcome in [
        Outcome::Fault(Fault::Connect),
        Outcome::Fault(Fault::Timeout),
        answer(429, "application/json", Some(b"{\"error\":{}}")),
        answer(503, "text/html", Some(b"<html>")),
        answer(401, "application/json", Some(b"{\"error\":{}}")),
        answer(200, "text/html", Some(b"<html>")),
        answer(200, "application/json", Some(b"{\"half\":")),
        answer(302, "application/json", Some(b"{}")),
    ] {
        let ticket = admitted(&gateway, BODY).ticket;
        let verdict = gateway.judge(&ticket, &attempt(0, outcome.clone())).expect("its own ticket").verdict;
        let Verdict::Retry { ticket, target: 1, after_ms: 0 } = verdict else {
            panic!("{outcome:?}: {verdict:?}")
        };
        let answer = answer(200, "application/json", Some(ANSWER.as_bytes()));
        let verdict = gateway.judge(&ticket, &attempt(1, answer)).expect("its own ticket").verdict;
        let Verdict::Relay { ticket, headers, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(
            headers[..2],
            [OwnHeader::new(Own::TollgateUpstream, "spare"), OwnHeader::new(Own::TollgateAttempts, "2")]
        );
        let (_, usage) = settled(&gateway, &ticket, Ending::Completed);
        assert_eq!(usage.upstream_model.as_deref(), Some("gpt-4o-2024"));
    }
}

#[test]
fn endings_charge_what_they_say() {
    let gateway = gateway();
    let admitted = admitted(&gateway, BODY);
    let held: Vec<_> = admitted.claims.iter().map(|claim| claim.amount).collect();
    let (amounts, usage) = settled(&gateway, &admitted.ticket, Ending::Undispatched);
    assert_eq!((amounts, usage.upstream, usage.charge), (vec![0; 3], None, 0));
    let (amounts, usage) = settled(&gateway, &admitted.ticket, Ending::ClientLeft);
    assert_eq!(amounts, [1, 9, 9 * 2_500]);
    assert_eq!((usage.upstream.as_deref(), usage.estimated, usage.output_tokens), (Some("main"), true, 0));
    let (amounts, usage) = settled(&gateway, &admitted.ticket, Ending::PolicyFailed);
    assert_eq!((&amounts, usage.input_tokens, usage.output_tokens), (&held, 9, 100));

    let verdict = gateway
        .judge(&admitted.ticket, &last_attempt(Outcome::Fault(Fault::Closed)))
        .expect("a ticket")
        .verdict;
    let Verdict::Reply { ticket, reply } = verdict else { panic!("{verdict:?}") };
    assert_eq!(reply.status, 502);
    let (amounts, usage) = settled(&gateway, &ticket, Ending::Completed);
    assert_eq!((amounts, usage.upstream.as_deref(), usage.estimated), (vec![1, 0, 0], Some("spare"), false));

    let json = answer(200, "application/json", None);
    let ticket = relayed(&gateway, &admitted.ticket, json);
    let half = br#"{"choices":[{"message":{"content":"twelve chars"#;
    let (_, ticket) = fed(&gateway, ticket, [&half[..]], Piece::Broken(Fault::Closed));
    let (amounts, usage) = settled(&gateway, &ticket, Ending::UpstreamBroke);
    assert_eq!(amounts[1], 9 + 3);
    assert!(usage.estimated);
}

#[test]
fn a_free_model_costs_nothing() {
    let gateway = gateway();
    let body = br#"{"model":"local","messages":[{"role":"user","content":"x"}]}"#;
    let admission = admission(&gateway, "/v1/chat/completions", ALICE, body);
    let Admission::Admitted(admitted) = admission else { panic!("{admission:?}") };
    assert_eq!(admitted.claims[2].amount, 0);
    let ticket =
        relayed(&gateway, &admitted.ticket, answer(200, "application/json", Some(ANSWER.as_bytes())));
    let (amounts, usage) = settled(&gateway, &ticket, Ending::Completed);
    assert_eq!((amounts, usage.charge, usage.currency.as_str()), (vec![1, 27, 0], 0, "XXX"));
}
