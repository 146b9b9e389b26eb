//! Keys that the shell's store knows: what they may do, and what makes them useless.

use super::*;

const BODY: &str =
    r#"{"model":"gpt-4o","max_tokens":100,"messages":[{"role":"user","content":"Hello there"}]}"#;

/// A configuration with a scope, a key in it, and a model priced in another currency.
pub fn scoped() -> String {
    let scopes = r#"
[calendar]
time_zone = "UTC"

[[scopes]]
name = "acme"
concurrent = 8
budget = ["10 JPY/day", "100 JPY/month"]

[[scopes]]
name = "acme/ml"
requests = "50/1m"

[[keys]]
name = "acme/ml/alice"
digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
tokens = "1000/1m"
budget = "1 JPY/week"
priority = "urgent"
models = ["local", "gpt-4o"]
expires = 2027-01-01T09:00:00+09:00
"#;
    format!("{CONFIG}{scopes}")
}

fn dollars() -> String {
    format!(
        "{}\n[[models]]\nname = \"dear\"\ntargets = [{{ upstream = \"main\" }}]\n\
         price = {{ currency = \"USD\", input = 1, output = 1 }}\n",
        CONFIG.replace("budget = \"1000 JPY/month\"\n", "")
    )
}

fn loaded(config: &str) -> Gateway {
    Gateway::load(&settings(config)).expect("a sound configuration").gateway
}

fn stored(key: &str) -> Principal {
    Principal { key: key.into(), ..Principal::default() }
}

fn budgets(texts: &[&str]) -> Limits {
    Limits { budgets: texts.iter().map(|text| (*text).to_owned()).collect(), ..Limits::default() }
}

fn admit(gateway: &Gateway, principal: &Principal, now: u64) -> Result<Admitted, String> {
    let ticket = identified(gateway, "/v1/chat/completions", "tg_stored");
    match gateway.admit(&ticket, Some(principal), BODY.as_bytes(), &at(now)).expect("its own ticket") {
        Admission::Admitted(admitted) => Ok(admitted),
        Admission::Reply(reply) => Err(text(&reply)),
    }
}

fn cells(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.cell.as_str()).collect()
}

#[test]
fn a_stored_key_counts_in_the_scopes_of_file_and_store() {
    let gateway = loaded(&scoped());
    let mut carol = stored("acme/ml/carol");
    carol.limits = Limits { requests: Some("5/1m".into()), concurrent: Some(2), ..budgets(&["7 JPY/day"]) };
    // The file's own limits of the same cells are those that count.
    let acme =
        Limits { concurrent: Some(1), tokens: Some("9/1m".into()), ..budgets(&["1 JPY/day", "5 JPY/week"]) };
    carol.scopes = vec![Scope { name: "acme".into(), limits: acme }];
    let admitted = admit(&gateway, &carol, NOW).expect("admitted");
    let expected = [
        "tokens:acme",
        "concurrent:acme",
        "budget:acme:JPY:2026-11-23",
        "budget:acme:JPY:2026-11",
        "budget:acme:JPY:2026-W48",
        "requests:acme/ml",
        "requests:acme/ml/carol",
        "concurrent:acme/ml/carol",
        "budget:acme/ml/carol:JPY:2026-11-23",
    ];
    assert_eq!(cells(&admitted.claims), expected);
    assert_eq!(admitted.claims[1].rule, Rule::Slots { limit: 8 });
    assert!(matches!(admitted.claims[2].rule, Rule::Budget { limit: 10_000_000_000, .. }));
    assert_eq!(admitted.usage.key, "acme/ml/carol");

    // Every later call knows the caller from the ticket.
    let limited = |claim| {
        let standings = vec![Standing { remaining: 3, reset_ms: 50 }; 9];
        let failure = Failure::Limited(Limited { claim, retry_after_ms: Some(400_000), standings });
        gateway.refuse(Some(&admitted.ticket), &failure).expect("its own ticket")
    };
    assert!(text(&limited(2)).contains("what is left of the budget 10 JPY/day of acme does not cover"));
    assert!(text(&limited(5)).contains("50 requests in any 1m of acme/ml. Please try again in 6m40s."));
    assert!(text(&limited(6)).contains("5 requests in any 1m. Please"));
    assert!(text(&limited(8)).contains("what is left of 7 JPY/day does not cover"));
    let slots = limited(1);
    assert!(
        text(&slots).contains("8 exchanges at once of acme. Please try again in 1s."),
        "{}",
        text(&slots)
    );
    assert!(text(&slots).contains(r#""type":"requests","param":null,"code":"rate_limit_exceeded""#));
    assert_eq!(
        slots.headers[1..3],
        [OwnHeader::new(Own::RetryAfter, "1"), OwnHeader::new(Own::RetryAfterMs, "1000")]
    );
}

#[test]
fn a_stored_key_is_charged_like_any_other() {
    let gateway = gateway();
    let mut carol = stored("carol");
    carol.limits = Limits { concurrent: Some(2), ..budgets(&["7 JPY/day"]) };
    let admitted = admit(&gateway, &carol, NOW).expect("admitted");
    let usage = br#"{"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":7}}"#;
    let ticket = relayed(&gateway, &admitted.ticket, answer(200, "application/json", Some(usage)));
    let settlement = gateway.settle(&ticket, Ending::Completed).expect("its own ticket");
    assert_eq!(settlement.amounts, [1, 20 * 2_500 + 7 * 10_000]);
    assert_eq!(settlement.usage.key, "carol");
    let streamed = BODY.replace("\"max_tokens\":100", "\"stream\":true");
    let ticket = identified(&gateway, "/v1/chat/completions", "tg_stored");
    let Ok(Admission::Admitted(admitted)) =
        gateway.admit(&ticket, Some(&carol), streamed.as_bytes(), &at(NOW))
    else {
        panic!("admitted")
    };
    let ticket = relayed(&gateway, &admitted.ticket, answer(200, "text/event-stream", None));
    let pieces = [&b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\n"[..]];
    let (_, ticket) = fed(&gateway, ticket, pieces, Piece::End);
    assert_eq!(gateway.settle(&ticket, Ending::Completed).expect("its own ticket").usage.input_tokens, 3);
}

#[test]
fn an_expired_key_may_do_nothing() {
    let gateway = loaded(
        &scoped()
            .replace("2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90", &"1".repeat(64))
            .replace(&"0".repeat(64), "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"),
    );
    let end = 1_798_761_600_000;
    let configured = |path: &str, now| {
        let ticket = identified(&gateway, path, ALICE);
        gateway.admit(&ticket, None, BODY.as_bytes(), &at(now)).expect("its own ticket")
    };
    assert!(matches!(configured("/v1/chat/completions", end - 1), Admission::Admitted(_)));
    for path in ["/v1/chat/completions", "/v1/models"] {
        let Admission::Reply(reply) = configured(path, end) else { panic!("expired") };
        assert!(text(&reply).starts_with("401 ") && text(&reply).contains("invalid_api_key"));
        assert!(text(&reply).contains("has expired"), "{}", text(&reply));
    }
    let carol = Principal { expires_ms: Some(5), ..stored("carol") };
    assert!(admit(&gateway, &carol, 4).is_ok());
    assert!(admit(&gateway, &carol, 5).expect_err("expired").starts_with("401 "));
}

/// Everything that is wrong with a principal, as `place: message`.
fn wrong(gateway: &Gateway, principal: &Principal) -> Vec<String> {
    let problems = gateway.limits(principal, NOW).expect_err("problems");
    assert!(problems.iter().all(|found| found.line.is_none()));
    problems.iter().map(|found| format!("{}: {}", found.at, found.message)).collect()
}

#[test]
fn a_key_that_cannot_be_read_may_do_nothing() {
    let gateway = loaded(&scoped());
    let with = |limits: Limits| Principal { limits, ..stored("carol") };
    let in_scope = |name: &str, limits| Principal {
        scopes: vec![Scope { name: name.into(), limits }],
        ..stored("acme/ml/carol")
    };
    let fast = || Limits { requests: Some("fast".into()), ..Limits::default() };
    for (principal, place) in [
        (with(fast()), "limits.requests: must be a number and a duration"),
        (
            with(Limits { tokens: Some("0/1m".into()), ..Limits::default() }),
            "limits.tokens: the limit must be",
        ),
        (with(Limits { concurrent: Some(0), ..Limits::default() }), "limits.concurrent: must be from 1 to"),
        (with(budgets(&["1 JPY/day", "5 yen/day"])), "limits.budgets[1]: must be an amount"),
        (with(budgets(&["1 JPY/day"; 17])), "limits.budgets: must be at most 16"),
        (with(budgets(&["1 JPY/day", "2 JPY/day"])), "limits.budgets[1]: is a second budget"),
        (
            with(budgets(&["1 USD/day"])),
            "limits.budgets[0]: the budget is in USD, but model `gpt-4o` is priced in JPY",
        ),
        (in_scope("acme", fast()), "scopes[0].limits.requests: must be"),
        (in_scope("acme", budgets(&["1 USD/day"])), "scopes[0].limits.budgets[0]: the budget is in USD"),
        (in_scope("other", Limits::default()), "scopes[0].name: must be a scope around the key"),
        (in_scope("acme/ml/carol", Limits::default()), "scopes[0].name: must be a scope around the key"),
        (stored(""), "key: a key's name has 1 to 3 parts"),
        (stored("a/b/c/d"), "key: a key's name has 1 to 3 parts"),
        (stored("acme/ml"), "key: `acme/ml` is a scope of the configuration"),
        (stored("alice/laptop"), "key: `alice` is a key of the configuration"),
        (Principal { models: Some(vec![]), ..stored("carol") }, "models: none of these models is there"),
    ] {
        let problems = wrong(&gateway, &principal);
        assert!(problems[0].starts_with(place), "{problems:?} for {place}");
        let refused = admit(&gateway, &principal, NOW).expect_err("refused");
        assert!(refused.starts_with("503 ") && refused.contains(r#""code":"key_unusable""#), "{refused}");
        let ticket = identified(&gateway, "/v1/models", "tg_stored");
        let list = gateway.admit(&ticket, Some(&principal), b"", &at(NOW)).expect("its own ticket");
        assert!(
            matches!(list, Admission::Reply(reply) if reply.status == 503 && reply.headers[1].value == "false")
        );
    }
    // The file's budgets meet the models of stored keys as well.
    let config = format!("{}\n[[scopes]]\nname = \"org\"\nbudget = \"1 JPY/day\"\n", dollars());
    let gateway = loaded(&config);
    let problems = wrong(&gateway, &stored("org/carol"));
    assert!(
        problems[0].starts_with("key: the budget 1 JPY/day of org: the budget is in JPY, but model `dear`")
    );
    let models = Some(vec!["gpt-4o".to_owned()]);
    assert!(gateway.limits(&Principal { models, ..stored("org/carol") }, NOW).is_ok());
}

#[test]
fn models_that_are_gone_allow_nothing_and_are_told_before_a_key_is_kept() {
    let gateway = gateway();
    let named = |names: &[&str]| {
        let models = Some(names.iter().map(|name| (*name).to_owned()).collect());
        Principal { models, ..stored("carol") }
    };
    let some = named(&["gone", "local"]);
    assert_eq!(
        wrong(&gateway, &named(&["local", "lokal"])),
        ["models[1]: there is no model `lokal`; did you mean `local`?"]
    );
    assert!(admit(&gateway, &some, NOW).expect_err("another model").starts_with("404 "));
    let list = gateway.admit(&identified(&gateway, "/v1/models", "tg_stored"), Some(&some), b"", &at(NOW));
    let Ok(Admission::Reply(list)) = list else { panic!("a list") };
    assert_eq!(text(&list).matches("\"id\"").count(), 1);
    assert!(admit(&gateway, &named(&["gone"]), NOW).expect_err("useless").starts_with("503 "));
}

#[test]
fn the_configurations_keys_are_told_as_principals() {
    let gateway = loaded(&scoped());
    let callers = gateway.callers();
    assert_eq!(
        callers.iter().map(|caller| caller.key.as_str()).collect::<Vec<_>>(),
        ["alice", "bob", "acme/ml/alice"]
    );
    let alice = &callers[2];
    assert_eq!(alice.limits, Limits { tokens: Some("1000/1m".into()), ..budgets(&["1 JPY/week"]) });
    assert_eq!(
        alice.scopes[0].limits,
        Limits { concurrent: Some(8), ..budgets(&["10 JPY/day", "100 JPY/month"]) }
    );
    assert_eq!(alice.scopes[1].name, "acme/ml");
    assert_eq!((alice.priority, alice.expires_ms), (Priority::Urgent, Some(1_798_761_600_000)));
    assert_eq!(alice.models.as_deref(), Some(&["gpt-4o".to_owned(), "local".to_owned()][..]));
    let limits = gateway.limits(alice, NOW).expect("limits");
    let shown: Vec<_> =
        limits.iter().map(|limit| (limit.scope.as_str(), limit.text.as_str(), limit.unit)).collect();
    let expected = [
        ("acme", "8", Unit::Concurrent),
        ("acme", "10 JPY/day", Unit::Money),
        ("acme", "100 JPY/month", Unit::Money),
        ("acme/ml", "50/1m", Unit::Requests),
        ("acme/ml/alice", "1000/1m", Unit::Tokens),
        ("acme/ml/alice", "1 JPY/week", Unit::Money),
    ];
    assert_eq!(shown, expected);
    assert_eq!(limits[5].claim.cell, "budget:acme/ml/alice:JPY:2026-W48");
    assert!(limits.iter().all(|limit| limit.claim.amount == 0));
    assert_eq!(callers[1], Principal { models: Some(vec!["local".into()]), ..stored("bob") });
}

#[test]
fn the_worst_case_is_what_nobody_settles() {
    let gateway = gateway();
    let admitted = admitted(&gateway, BODY);
    let money = admitted.claims[2].amount;
    let row = Usage {
        key: "alice".into(),
        model: "gpt-4o".into(),
        upstream: None,
        upstream_model: None,
        input_tokens: 9,
        cached_input_tokens: 0,
        cache_write_tokens: 0,
        output_tokens: 100,
        reasoning_tokens: 0,
        estimated: true,
        charge: money,
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
    assert_eq!(admitted.usage, row);
    let settled = gateway.settle(&admitted.ticket, Ending::PolicyFailed).expect("its own ticket").usage;
    assert_eq!(
        settled,
        Usage { upstream: Some("main".into()), upstream_model: Some("gpt-4o".into()), ..row }
    );
}
