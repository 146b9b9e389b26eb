//! Conversations that are too long, through whole exchanges: whatever upstreams say, there is an end.

use proptest::prelude::*;

use super::*;

const MODELS: &str = r#"
[[models]]
name = "gpt-4o"
targets = [{ upstream = "main" }, { upstream = "spare" }]
price = { currency = "JPY", input = 2.5, output = 10 }
context_window = WINDOW
context_overflow = OVERFLOW

[[models]]
name = "large"
targets = [{ upstream = "spare" }, { upstream = "main", when = { min_input_tokens = 20 } }]
price = { currency = "JPY", input = 5, output = 10 }
context_window = 80
context_overflow = "truncate"

[[models]]
name = "local"
targets = [{ upstream = "main" }]
price = "free"
"#;

fn gateway_with(window: u64, overflow: &str) -> Gateway {
    let (before, keys) = CONFIG.split_once("[[keys]]").expect("keys");
    let server = before.split("[[models]]").next().expect("a beginning");
    let models = MODELS.replace("WINDOW", &window.to_string()).replace("OVERFLOW", overflow);
    let config = format!("{server}{models}[[keys]]{keys}");
    Gateway::load(&settings(&config)).expect("a sound configuration").gateway
}

const BODY: &str = r#"{"model":"gpt-4o","messages":[{"role":"system","content":"Be brief."},
    {"role":"user","content":"one two three four five six seven eight nine ten"},
    {"role":"assistant","content":"eleven twelve thirteen fourteen fifteen"},
    {"role":"user","content":"and then?"}]}"#;

fn too_long() -> Outcome {
    let body =
        br#"{"error":{"message":"too long","type":"x","param":"messages","code":"context_length_exceeded"}}"#;
    answer(400, "application/json", Some(body))
}

/// Every reply that is not an answer of a provider.
fn any_trouble() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(too_long()),
        2 => Just(answer(500, "application/json", Some(b"{}"))),
        1 => Just(Outcome::Fault(Fault::Closed)),
        1 => Just(Outcome::Tripped(5)),
    ]
}

#[test]
fn a_shorter_conversation_is_sent_once() {
    let gateway = gateway_with(1_000, "\"truncate\"");
    let admitted = admitted(&gateway, BODY);
    let sent = |index: usize| edited(BODY.as_bytes(), &admitted.targets[index].edits);
    assert_eq!(admitted.targets.len(), 4, "each target for the whole and for the shorter conversation");
    assert!(sent(0) == BODY.as_bytes() && sent(2).len() < BODY.len() && sent(2) == sent(3));

    // The target that has said so comes first.
    let verdict = gateway.judge(&admitted.ticket, &attempt(1, too_long())).expect("its own ticket").verdict;
    let Verdict::Retry { ticket, target: 3, after_ms: 0 } = verdict else { panic!("{verdict:?}") };
    let again = Attempt { number: 2, ..attempt(3, too_long()) };
    let verdict = gateway.judge(&ticket, &again).expect("its own ticket").verdict;
    let Verdict::Relay { headers, .. } = verdict else { panic!("{verdict:?}") };
    assert!(headers.contains(&OwnHeader::new(Own::TollgateContext, "truncated; dropped=2")), "{headers:?}");
}

#[test]
fn the_dearest_of_all_targets_is_held() {
    let money = |admitted: &Admitted| admitted.claims[2].amount;
    let alone = admitted(&gateway_with(1_000, "\"refuse\""), BODY);
    let both = admitted(&gateway_with(1_000, "{ fallback = \"large\" }"), BODY);
    let input = BODY.len() as u64;
    assert_eq!(money(&alone), (input * 2_500_000 + 4096 * 10_000_000_u64).div_ceil(1_000));
    assert_eq!(money(&both), (input * 5_000_000 + 4096 * 10_000_000_u64).div_ceil(1_000));
}

proptest! {
    #[test]
    fn every_exchange_ends(
        window in 1..120_u64, kind in 0..4_usize, words in 0..40_usize, tokens in prop::option::of(1..30_u64),
        troubles in prop::collection::vec(any_trouble(), 12), ending in 0..2_usize,
    ) {
        let overflow = ["\"refuse\"", "\"truncate\"", "{ fallback = \"large\" }", "{ fallback = \"local\" }"][kind];
        let gateway = gateway_with(window, overflow);
        let tokens = tokens.map_or(String::new(), |tokens| format!(r#""max_tokens":{tokens},"#));
        let body = BODY.replace("and then?", &"word ".repeat(words));
        let body = body.replace(r#""messages":"#, &format!(r#"{tokens}"messages":"#));
        let admitted = match admission(&gateway, "/v1/chat/completions", ALICE, body.as_bytes()) {
            Admission::Admitted(admitted) => admitted,
            Admission::Reply(reply) => {
                prop_assert!(text(&reply).contains("context_length_exceeded"), "{}", text(&reply));
                return Ok(());
            }
        };
        let (mut ticket, mut target, mut number, mut overflows) = (admitted.ticket, 0, 0, 0);
        for outcome in troubles {
            prop_assert!((target as usize) < admitted.targets.len());
            number += u32::from(!matches!(outcome, Outcome::Tripped(_)));
            let attempt = Attempt { number, ..attempt(target, outcome.clone()) };
            match gateway.judge(&ticket, &attempt).expect("its own ticket").verdict {
                Verdict::Retry { ticket: next, target: chosen, after_ms } => {
                    ticket = next;
                    if outcome == too_long() {
                        overflows += 1;
                        prop_assert!(chosen > target && after_ms == 0 && overflows == 1, "once, and at once");
                    }
                    target = chosen;
                }
                Verdict::Relay { ticket, .. } | Verdict::Reply { ticket, .. } => {
                    let ending = [Ending::Completed, Ending::Undispatched][ending];
                    let settled = gateway.settle(&ticket, ending).expect("its own ticket");
                    prop_assert_eq!(settled.amounts[1..].to_vec(), vec![0; 2], "nobody answered");
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "it goes on for ever");
    }
}
