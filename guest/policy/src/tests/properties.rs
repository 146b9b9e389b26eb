//! What holds for any bytes, at every entry.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Bytes near these: some changed, some gone, some twice; or any bytes at all.
fn near(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<Index>(), any::<u8>(), 0..4_u8);
    let changed = (prop::sample::select(seeds), prop::collection::vec(change, 0..4)).prop_map(
        |(mut bytes, changes)| {
            for (at, other, byte, what) in changes {
                let (at, other) = (at.index(bytes.len() + 1), other.index(bytes.len() + 1));
                let (start, end) = (at.min(other), at.max(other));
                match what {
                    0 => bytes.insert(at, byte),
                    1 => bytes.truncate(at),
                    2 => drop(bytes.drain(start..end.min(start + 8))),
                    _ => {
                        let part = bytes[start..end].to_vec();
                        bytes.splice(at..at, part);
                    }
                }
            }
            bytes
        },
    );
    prop_oneof![4 => changed, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

const CHAT: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi \u00e9"}],"stream":true,"n":2,
    "max_tokens":5,"stream_options":{"include_usage":false},"x":[1.5e3,null,{"y":[]}]}"#;
const EMBED: &str = r#"{"model":"embed/small","input":["Hello",[1,2]]}"#;
const ANSWER: &str = r#"{"choices":[{"message":{"content":"Hi"}}],"usage":{"prompt_tokens":9,"completion_tokens":2},"error":{}}"#;
const USAGE_TWICE: &str = r#"{"usage":null,"us\u0061ge":{"prompt_tokens":99},"x":{"usage":{"prompt_tokens":98}},"usage":
    {"prompt_tokens":9,"completion_tokens":2,"completion_tokens_details":{"reasoning_tokens":1}},"usage":{"prompt_tokens":7}}"#;
const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A ticket of every stage.
fn tickets() -> Vec<Ticket> {
    let gateway = gateway();
    let trying = admitted(&gateway, CHAT).ticket;
    let relaying = relayed(&gateway, &trying, answer(200, "text/event-stream", None));
    let half =
        gateway.feed(&relaying, Piece::Chunk(b"data: {\"usage\":{\"pro")).expect("its own ticket").ticket;
    let json = relayed(&gateway, &trying, answer(200, "application/json", None));
    let stored = gateway.admit(
        &identified(&gateway, "/v1/chat/completions", "tg_stored"),
        Some(&principal()),
        CHAT.as_bytes(),
        &at(NOW),
    );
    let Ok(Admission::Admitted(stored)) = stored else { panic!("{stored:?}") };
    let streamed = relayed(&gateway, &stored.ticket, answer(200, "text/event-stream", None));
    let whole = relayed(&gateway, &trying, answer(200, "application/json", Some(ANSWER.as_bytes())));
    let failed = relayed(&gateway, &trying, answer(400, "application/json", Some(ANSWER.as_bytes())));
    let heads = ["/v1/chat/completions", "/v1/embeddings", "/v1/models", "/v1/models/a%20b"];
    let heads = heads.map(|path| identified(&gateway, path, ALICE));
    heads
        .into_iter()
        .chain([trying, relaying, half.expect("a ticket"), json, whole, failed, stored.ticket, streamed])
        .collect()
}

/// A key of the store with a limit of every kind.
fn principal() -> Principal {
    let limits = || Limits {
        requests: Some("100/1m".into()),
        tokens: Some("200000/1h".into()),
        concurrent: Some(8),
        budgets: vec!["1000 JPY/month".into(), "10 JPY/day".into()],
    };
    let scopes = ["acme", "acme/ml"].map(|name| Scope { name: name.into(), limits: limits() }).to_vec();
    let models = Some(vec!["gpt-4o".into(), "local".into()]);
    Principal { key: "acme/ml/carol".into(), limits: limits(), scopes, models, ..Principal::default() }
}

fn any_text(seeds: &'static [&'static str]) -> impl Strategy<Value = String> {
    near(bytes(seeds)).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let window =
        || prop::option::of(prop_oneof![Just("100/1m".to_owned()), any_text(&["200000/1h", "9/366d"])]);
    let budget = prop_oneof![Just("1 JPY/day".to_owned()), any_text(&["1000 JPY/month", "0.5 JPY/week"])];
    let concurrent = prop_oneof![Just(None), Just(Some(8)), any::<Option<u64>>()];
    (window(), window(), concurrent, prop::collection::vec(budget, 0..3))
        .prop_map(|(requests, tokens, concurrent, budgets)| Limits { requests, tokens, concurrent, budgets })
}

/// A key of the store near a sound one, or sound.
fn any_principal() -> impl Strategy<Value = Principal> {
    let name = || prop_oneof![2 => Just("acme/ml/carol".to_owned()), 1 => any_text(&["acme/ml/carol", "alice", "acme"])];
    let scope_name = prop_oneof![Just("acme".to_owned()), Just("acme/ml".to_owned()), any_text(&["acme/ml"])];
    let scope = (scope_name, any_limits()).prop_map(|(name, limits)| Scope { name, limits });
    let models = prop::collection::vec(prop_oneof![Just("gpt-4o".to_owned()), any_text(&["local"])], 0..3);
    let rest = (prop::option::of(models), any::<Option<u64>>());
    (name(), any_limits(), prop::collection::vec(scope, 0..3), rest).prop_map(
        |(key, limits, scopes, (models, expires_ms))| Principal {
            key,
            limits,
            scopes,
            models,
            priority: Priority::Normal,
            tags: vec![],
            expires_ms,
        },
    )
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![Fault::Connect, Fault::Timeout, Fault::Closed, Fault::Malformed])
}

fn any_ending() -> impl Strategy<Value = Ending> {
    use Ending::*;
    prop::sample::select(vec![Undispatched, Completed, ClientLeft, UpstreamBroke, PolicyFailed])
}

fn any_standings() -> impl Strategy<Value = Vec<Standing>> {
    let standing = (any::<u64>(), any::<u64>());
    let standing = standing.prop_map(|(remaining, reset_ms)| Standing { remaining, reset_ms });
    prop::collection::vec(standing, 0..5)
}

fn any_attempt() -> impl Strategy<Value = Attempt> {
    let types = ["application/json", "text/event-stream", "application/json; charset=utf-8", "text/html", ""];
    let answered = (
        prop_oneof![Just(200), Just(400), Just(401), Just(429), Just(500), any::<u16>()],
        prop::sample::select(types.to_vec()),
        prop::option::of(near(bytes(&[ANSWER, STREAM, "{}"]))),
    );
    let answered =
        answered.prop_map(|(status, content_type, body)| answer(status, content_type, body.as_deref()));
    let outcome = prop_oneof![
        4 => answered,
        1 => any_fault().prop_map(Outcome::Fault),
        1 => any::<u64>().prop_map(Outcome::Tripped),
    ];
    let moment = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>());
    let target = prop_oneof![Just(0), Just(1), any::<u32>()];
    let attempt = (target, prop_oneof![0..5_u32, any::<u32>()], outcome, any_standings(), moment);
    attempt.prop_map(|(target, number, outcome, standings, (now_ms, random, requests, retries))| {
        let load = Load { requests, retries };
        Attempt { target, number, outcome, standings, now_ms, random, load }
    })
}

fn any_limited() -> impl Strategy<Value = Limited> {
    let limited = (prop_oneof![0..4_u32, any::<u32>()], any::<Option<u64>>(), any_standings());
    limited.prop_map(|(claim, retry_after_ms, standings)| Limited { claim, retry_after_ms, standings })
}

fn any_failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        ".{0,40}".prop_map(Failure::Malformed),
        ".{0,40}".prop_map(Failure::HeadTooLarge),
        any::<u64>().prop_map(Failure::BodyTooLarge),
        Just(Failure::RequestTimeout),
        Just(Failure::UnknownKey),
        Just(Failure::LedgerUnavailable),
        ".{0,40}".prop_map(Failure::Unavailable),
        ".{0,40}".prop_map(Failure::Internal),
        any_limited().prop_map(Failure::Limited),
    ]
}

/// Every call with this ticket.
fn everything(
    gateway: &Gateway,
    ticket: &[u8],
    bytes: &[u8],
    attempt: &Attempt,
    failure: &Failure,
    ending: Ending,
) {
    let _ = gateway.admit(ticket, None, bytes, &at(u64::MAX));
    let _ = gateway.admit(ticket, Some(&principal()), bytes, &at(u64::MAX));
    let _ = gateway.judge(ticket, attempt);
    for piece in [Piece::Chunk(bytes), Piece::End, Piece::Broken(Fault::Closed), Piece::Limited] {
        if let Ok(Fed { ticket: Some(ticket), .. }) = gateway.feed(ticket, piece) {
            // Pieces do not look at the exchange inside: a ticket forged there is found out only here.
            let _ = gateway.settle(&ticket, ending);
        }
    }
    let _ = gateway.settle(ticket, ending);
    let _ = gateway.refuse(Some(ticket), failure);
}

proptest! {
    #[test]
    fn no_configuration_panics(config in near(bytes(&[CONFIG, &stored::scoped()]))) {
        let config = String::from_utf8_lossy(&config);
        if let Err(problems) = Gateway::load(&settings(&config)) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn no_head_panics(
        method in prop_oneof![Just("POST".to_owned()), Just("GET".to_owned()), ".{0,8}"],
        path in prop_oneof![".{0,20}", "/v1/models/.{0,20}", Just("/v1/chat/completions".to_owned())],
        headers in prop::collection::vec((prop::sample::select(key_headers()), ".{0,20}"), 0..3),
    ) {
        let headers = headers.iter().map(|(name, value)| header(name, value)).collect();
        let identity = gateway().identify(&Head { method, path, headers });
        if let Identity::Reply(reply) = identity {
            prop_assert!((400..500).contains(&reply.status));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_ok());
        }
    }

    #[test]
    fn no_body_panics(body in near(bytes(&[CHAT, EMBED])), chat in any::<bool>(), now in any::<u64>()) {
        let gateway = gateway();
        let path = if chat { "/v1/chat/completions" } else { "/v1/embeddings" };
        let ticket = identified(&gateway, path, ALICE);
        match gateway.admit(&ticket, None, &body, &at(now)).expect("its own ticket") {
            Admission::Reply(reply) => prop_assert!((400..500).contains(&reply.status)),
            Admission::Admitted(admitted) => {
                for target in admitted.targets {
                    let changed = edited(&body, &target.edits);
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(&changed).is_ok());
                }
                for claim in admitted.claims {
                    if let Rule::Budget { start_ms, end_ms, .. } = claim.rule {
                        prop_assert!(start_ms < end_ms && (start_ms..end_ms).contains(&now.min(end_ms - 1)));
                    }
                }
            }
        }
    }

    #[test]
    fn no_principal_panics_and_its_limits_are_its_claims(
        principal in any_principal(), now in prop_oneof![Just(NOW), any::<u64>()], attempt in any_attempt(),
        failure in any_failure(), ending in any_ending(),
    ) {
        let (gateway, fresh) = (gateway(), gateway());
        let ticket = identified(&gateway, "/v1/chat/completions", "tg_stored");
        let admission = gateway.admit(&ticket, Some(&principal), CHAT.as_bytes(), &at(now)).expect("its own ticket");
        prop_assert_eq!(&fresh.admit(&ticket, Some(&principal), CHAT.as_bytes(), &at(now)), &Ok(admission.clone()));
        let limits = gateway.limits(&principal, now);
        let admitted = match admission {
            Admission::Reply(reply) => {
                // Whoever has sound limits is refused only for what it is or for what it asks.
                prop_assert_eq!(limits.is_err() || matches!(reply.status, 401 | 404), true);
                return Ok(());
            }
            Admission::Admitted(admitted) => admitted,
        };
        if let Ok(limits) = limits {
            let empty = admitted.claims.iter().map(|claim| Claim { amount: 0, ..claim.clone() });
            prop_assert_eq!(limits.into_iter().map(|limit| limit.claim).collect::<Vec<_>>(), empty.collect::<Vec<_>>());
        }
        let cells: std::collections::BTreeSet<_> = admitted.claims.iter().map(|claim| &claim.cell).collect();
        prop_assert_eq!(cells.len(), admitted.claims.len(), "no cell twice");
        let settlement = fresh.settle(&admitted.ticket, ending).expect("its own ticket");
        prop_assert_eq!(settlement.amounts.len(), admitted.claims.len());
        everything(&gateway, &admitted.ticket, STREAM.as_bytes(), &attempt, &failure, ending);
    }

    #[test]
    fn no_answer_panics(attempt in any_attempt(), chunk in near(bytes(&[STREAM, ANSWER])), ending in any_ending()) {
        let gateway = gateway();
        let ticket = admitted(&gateway, CHAT).ticket;
        let Ok(judgement) = gateway.judge(&ticket, &attempt) else { return Ok(()) };
        let ticket = match judgement.verdict {
            Verdict::Relay { ticket, .. } | Verdict::Retry { ticket, .. } | Verdict::Reply { ticket, .. } => ticket,
        };
        everything(&gateway, &ticket, &chunk, &attempt, &Failure::UnknownKey, ending);
        prop_assert_eq!(gateway.settle(&ticket, ending).expect("its own ticket").amounts.len(), 3);
    }

    #[test]
    fn no_ticket_panics(
        ticket in near(tickets()), as_is in any::<bool>(), bytes in near(bytes(&[CHAT, STREAM])),
        attempt in any_attempt(), failure in any_failure(), ending in any_ending(),
    ) {
        let gateway = gateway();
        everything(&gateway, &ticket, &bytes, &attempt, &failure, ending);
        if !as_is {
            // Behind the right version and fingerprint, anything.
            let ticket = [&tickets()[0][..9], &ticket].concat();
            everything(&gateway, &ticket, &bytes, &attempt, &failure, ending);
        }
    }

    #[test]
    fn an_answer_is_metered_alike_whole_and_in_pieces(body in near(bytes(&[ANSWER, USAGE_TWICE])), chat in any::<bool>()) {
        let gateway = gateway();
        let (path, asked) = if chat { ("/v1/chat/completions", CHAT) } else { ("/v1/embeddings", EMBED) };
        let Admission::Admitted(admitted) = admission(&gateway, path, ALICE, asked.as_bytes()) else { panic!("admitted") };
        let outcome = attempt(0, answer(200, "application/json", Some(&body)));
        let judged = gateway.judge(&admitted.ticket, &outcome).map(|judgement| judgement.verdict);
        let Ok(Verdict::Relay { ticket: whole, .. }) = judged else { return Ok(()) };
        let pieces = relayed(&gateway, &admitted.ticket, answer(200, "application/json", None));
        let (_, pieces) = fed(&gateway, pieces, [&body[..]], Piece::End);
        let settle = |ticket: &[u8]| gateway.settle(ticket, Ending::Completed).expect("its own ticket");
        prop_assert_eq!(settle(&whole), settle(&pieces));
    }

    #[test]
    fn no_split_changes_what_the_client_gets_or_pays(
        stream in near(bytes(&[STREAM])), cuts in prop::collection::vec(any::<Index>(), 0..6),
        last in prop_oneof![Just(Piece::End), any_fault().prop_map(Piece::Broken)], asked in any::<bool>(),
    ) {
        let gateway = gateway();
        let body = if asked { CHAT.replace("false", "true") } else { CHAT.to_owned() };
        let ticket = relayed(&gateway, &admitted(&gateway, &body).ticket, answer(200, "text/event-stream", None));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        let (apart, apart_ticket) = fed(&gateway, ticket.clone(), pieces, last);
        let (whole, whole_ticket) = fed(&gateway, ticket, [&stream[..]], last);
        prop_assert_eq!(apart, whole);
        let settle = |ticket: &[u8]| gateway.settle(ticket, Ending::Completed).expect("its own ticket");
        prop_assert_eq!(settle(&apart_ticket), settle(&whole_ticket));
    }

    #[test]
    fn a_fresh_instance_before_each_call_changes_nothing(
        body in near(bytes(&[CHAT])), attempt in any_attempt(), chunk in near(bytes(&[STREAM])), ending in any_ending(),
    ) {
        let exchange = |[first, second, third, fourth, fifth]: [&Gateway; 5]| {
            let mut answers = Vec::new();
            let ticket = identified(first, "/v1/chat/completions", ALICE);
            let admission = second.admit(&ticket, None, &body, &at(NOW));
            answers.push(format!("{admission:?}"));
            let Ok(Admission::Admitted(admitted)) = admission else { return answers };
            let verdict = third.judge(&admitted.ticket, &attempt).map(|judgement| judgement.verdict);
            answers.push(format!("{verdict:?}"));
            let Ok(Verdict::Relay { ticket, .. }) = verdict else { return answers };
            let fed = fourth.feed(&ticket, Piece::Chunk(&chunk));
            answers.push(format!("{fed:?}"));
            let ticket = fed.ok().and_then(|fed| fed.ticket).unwrap_or(ticket);
            answers.push(format!("{:?}", fifth.settle(&ticket, ending)));
            answers
        };
        let fresh = [(); 5].map(|()| gateway());
        let same = gateway();
        prop_assert_eq!(exchange(fresh.each_ref()), exchange([&same; 5]));
    }
}

fn key_headers() -> Vec<&'static str> {
    key::HEADERS.to_vec()
}
