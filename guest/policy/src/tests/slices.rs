//! Streams whose output is held for slice by slice.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use super::*;

/// Slices of 100 tokens, 300 in all; a second target that is dearer by its input.
const SLICED: &str = r#"
[server]

[[models]]
name = "gpt-4o"
targets = [
  { upstream = "main" },
  { upstream = "spare", price = { currency = "JPY", input = 9, output = 11 } },
]
price = { currency = "JPY", input = 2.5, output = 10 }
max_output_tokens = 300
output_slice = 100

[[keys]]
name = "alice"
digest = "sha256:2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"
requests = "100/1m"
tokens = "200000/1m"
concurrent = 8
budget = "1000 JPY/month"

[[keys]]
name = "bob"
digest = "sha256:81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9"
requests = "100/1m"
"#;

const BODY: &str = r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Tell me all"}]}"#;
/// `user`, `Tell me all`, and what frames a message and a chat.
const INPUT: u64 = 1 + 3 + 3 + 3;

fn sliced() -> Gateway {
    Gateway::load(&settings(SLICED)).expect("a sound configuration").gateway
}

fn streaming(gateway: &Gateway, body: &str) -> Ticket {
    relayed(gateway, &admitted(gateway, body).ticket, answer(200, "text/event-stream", None))
}

/// A text of so many tokens; exactly so behind one of an even number of them.
fn text(tokens: usize) -> String {
    ["a", "\\n"].into_iter().cycle().take(tokens).collect()
}

/// An event with so many tokens of text.
fn event(choice: usize, tokens: usize) -> String {
    let text = text(tokens);
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"gpt-4o-x\",\
         \"choices\":[{{\"index\":{choice},\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

fn finish(choice: usize) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"created\":7,\"model\":\"gpt-4o-x\",\
         \"choices\":[{{\"index\":{choice},\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n"
    )
}

/// What the client gets of these pieces when `granted` says whether more may be held, and the last ticket.
fn walk<'p>(
    gateway: &Gateway,
    mut ticket: Ticket,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    mut granted: impl FnMut(&Holding) -> bool,
) -> (String, Ticket, bool) {
    let mut client = Vec::new();
    let mut stopped = false;
    for piece in pieces {
        let mut step = |piece: Piece<'_>| {
            let fed = gateway.feed(&ticket, piece).expect("its own ticket");
            ticket = fed.ticket.unwrap_or_default();
            match (fed.output, piece) {
                (Output::Pass, Piece::Chunk(bytes)) => client.extend_from_slice(bytes),
                (Output::Pass, _) => {}
                (Output::Replace(bytes), _) => client.extend(bytes),
                (Output::Stop(bytes), _) => {
                    client.extend(bytes);
                    stopped = true;
                }
            }
            fed.holding
        };
        let asked = step(Piece::Chunk(piece));
        if asked.is_some_and(|holding| !granted(&holding)) {
            assert_eq!(step(Piece::Limited), None);
        }
        if stopped {
            break;
        }
    }
    (String::from_utf8(client).expect("text"), ticket, stopped)
}

/// The events of a stream, `[DONE]` left out.
fn events(stream: &str) -> Vec<Value> {
    let data = stream.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").expect("an event"));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

fn holding(gateway: &Gateway, ticket: &[u8], piece: &str) -> (Ticket, Option<Holding>) {
    let fed = gateway.feed(ticket, Piece::Chunk(piece.as_bytes())).expect("its own ticket");
    assert_eq!(fed.output, Output::Pass, "what is written already is the client's");
    (fed.ticket.expect("a ticket"), fed.holding)
}

#[test]
fn one_slice_is_held_and_then_the_next_before_it_is_used_up() {
    let gateway = sliced();
    let admitted = admitted(&gateway, BODY);
    let input_bound = BODY.len() as u64;
    // At first at the dearest target, for any may answer.
    let dearest = |output: u64| (input_bound * 9_000_000 + output * 11_000_000).div_ceil(1_000);
    let amounts: Vec<_> = admitted.claims.iter().map(|claim| claim.amount).collect();
    assert_eq!(amounts, [1, INPUT + 100, 1, dearest(100)]);
    assert_eq!((admitted.usage.output_tokens, admitted.usage.charge), (100, dearest(100)));

    let ticket = relayed(&gateway, &admitted.ticket, answer(200, "text/event-stream", None));
    let (ticket, none) = holding(&gateway, &ticket, &event(0, 74));
    assert_eq!(none, None);
    let (ticket, asked) = holding(&gateway, &ticket, &event(0, 2));
    let asked = asked.expect("76 of 100 are written");
    let money = (input_bound * 2_500_000 + 200 * 10_000_000).div_ceil(1_000);
    assert_eq!(asked.amounts, [1, INPUT + 200, 1, money], "at the target that answers");
    let expected = Usage {
        key: "alice".into(),
        model: "gpt-4o".into(),
        upstream: Some("main".into()),
        upstream_model: Some("gpt-4o".into()),
        input_tokens: INPUT,
        cached_input_tokens: 0,
        cache_write_tokens: 0,
        output_tokens: 200,
        reasoning_tokens: 0,
        estimated: true,
        charge: money,
        currency: "JPY".into(),
        price: Price {
            input: 2_500_000,
            cached_input: 2_500_000,
            cache_write: 2_500_000,
            output: 10_000_000,
            reasoning: 10_000_000,
            since_ms: None,
            source: None,
        },
    };
    assert_eq!(asked.usage, expected);
    // Up to all there may be, and further only if the provider goes on.
    let (ticket, asked) = holding(&gateway, &ticket, &event(0, 124));
    assert_eq!(asked.expect("200 are written").usage.output_tokens, 300);
    let (ticket, none) = holding(&gateway, &ticket, &event(0, 100));
    assert_eq!(none, None, "300 of 300 are written");
    let (ticket, asked) = holding(&gateway, &ticket, &event(0, 1));
    assert_eq!(asked.expect("301 are written").usage.output_tokens, 400);
    assert_eq!(gateway.settle(&ticket, Ending::Completed).expect("its own ticket").usage.output_tokens, 301);
}

#[test]
fn what_is_held_never_shrinks() {
    let gateway = sliced();
    // So long a question that the dearest target's price for it is more than the other's with another slice.
    let body = BODY.replace("Tell", &"Tell ".repeat(1_000));
    let admitted = admitted(&gateway, &body);
    let ticket = relayed(&gateway, &admitted.ticket, answer(200, "text/event-stream", None));
    let asked = holding(&gateway, &ticket, &event(0, 80)).1.expect("80 of 100 are written");
    assert_eq!(asked.amounts[3], admitted.claims[3].amount);
    assert_eq!((asked.usage.charge, asked.usage.price), (admitted.usage.charge, admitted.usage.price));
    assert!(asked.amounts[1] > admitted.claims[1].amount);
}

#[test]
fn a_maximum_or_an_answer_at_once_is_held_for_as_a_whole() {
    let gateway = sliced();
    let held = |body: &str| admitted(&gateway, body).usage.output_tokens;
    assert_eq!(held(BODY), 100);
    assert_eq!(held(&BODY.replace("true", "true,\"max_tokens\":null")), 100);
    assert_eq!(held(&BODY.replace("true", "true,\"n\":2")), 200, "a slice for each");
    for (body, all) in
        [("true,\"max_tokens\":250", 250), ("true,\"max_completion_tokens\":9000", 9_000), ("false", 300)]
    {
        let ticket = streaming_if(&gateway, &BODY.replace("true", body));
        assert_eq!(held(&BODY.replace("true", body)), all);
        if let Some(ticket) = ticket {
            assert_eq!(holding(&gateway, &ticket, &event(0, 10_000)).1, None);
        }
    }
    // Nothing of bob's is counted that a slice would leave to others.
    let of_bob = admission(&gateway, "/v1/chat/completions", BOB, BODY.as_bytes());
    assert!(matches!(of_bob, Admission::Admitted(admitted) if admitted.usage.output_tokens == 300));
}

fn streaming_if(gateway: &Gateway, body: &str) -> Option<Ticket> {
    body.contains("true").then(|| streaming(gateway, body))
}

#[test]
fn a_stream_that_may_not_become_longer_ends_as_a_model_ends() {
    let gateway = sliced();
    let ask = |body: &str| {
        let stream = event(0, 80) + &event(0, 10);
        let pieces = stream.as_bytes().chunks(event(0, 80).len());
        walk(&gateway, streaming(&gateway, body), pieces, |_| false)
    };
    let (client, ticket, stopped) = ask(BODY);
    let end = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"gpt-4o-x\",\
        \"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";
    assert_eq!((client, stopped), (event(0, 80) + end, true));
    let usage = gateway.settle(&ticket, Ending::Completed).expect("its own ticket").usage;
    assert_eq!((usage.output_tokens, usage.estimated), (80, true));

    let (client, ..) = ask(&BODY.replace("true", "true,\"stream_options\":{\"include_usage\":true}"));
    let [.., end, usage] = &events(&client)[..] else { panic!("{client}") };
    assert!(end["usage"].is_null() && end["choices"][0]["finish_reason"] == "length");
    assert_eq!(usage["choices"], serde_json::json!([]));
    let counts =
        ["prompt_tokens", "completion_tokens", "total_tokens"].map(|name| usage["usage"][name].as_u64());
    assert_eq!(counts, [Some(INPUT), Some(80), Some(INPUT + 80)]);
}

#[test]
fn an_event_that_has_begun_is_completed_first() {
    let gateway = sliced();
    let stream = event(0, 80);
    let rest = "\n\n".len() + 3;
    let [begin, end] = [&stream[..stream.len() - rest], &stream[stream.len() - rest..]];
    let last = end.to_owned() + &event(0, 50);
    let (client, ticket, stopped) =
        walk(&gateway, streaming(&gateway, BODY), [begin.as_bytes(), last.as_bytes()], |_| false);
    assert!(stopped && client.starts_with(&stream) && client.ends_with("data: [DONE]\n\n"), "{client}");
    assert_eq!(events(&client).len(), 2);
    assert_eq!(gateway.settle(&ticket, Ending::Completed).expect("its own ticket").usage.output_tokens, 80);
    // It never is.
    let (client, ticket, _) = walk(&gateway, streaming(&gateway, BODY), [begin.as_bytes()], |_| false);
    assert_eq!(client, begin);
    let fed = gateway.feed(&ticket, Piece::Broken(Fault::Timeout)).expect("its own ticket");
    assert!(matches!(fed.output, Output::Stop(bytes) if bytes.starts_with(b"\n\ndata: {\"error\"")));
}

#[test]
fn a_stream_that_ends_by_itself_is_left_alone() {
    let gateway = sliced();
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":90}}\n\n";
    let done = "data: [DONE]\n\n";
    let all = [event(0, 90), finish(0), usage.into(), done.into()].concat();
    let shown = [event(0, 90), finish(0), done.into()].concat();
    // More was to be held before the end was seen, at the end of the event or inside of it.
    let first = event(0, 90).len();
    for cut in [0, first - 4, first + finish(0).len() - 4] {
        let mut asked = 0;
        let pieces = [&all.as_bytes()[..cut], &all.as_bytes()[cut..]];
        let (client, ticket, stopped) = walk(&gateway, streaming(&gateway, BODY), pieces, |_| {
            asked += 1;
            false
        });
        assert_eq!((asked, stopped), (if cut == 0 { 0 } else { 1 }, cut == first - 4), "{cut}");
        if !stopped {
            assert_eq!(client, shown);
            let usage = gateway.settle(&ticket, Ending::Completed).expect("its own ticket").usage;
            assert_eq!((usage.output_tokens, usage.estimated), (90, false));
        }
    }
}

#[test]
fn every_choice_gets_its_end() {
    let gateway = sliced();
    let body = BODY.replace("true", "true,\"n\":3");
    let stream = [event(0, 10), event(1, 20), finish(1), event(2, 220)].concat();
    let (client, ..) = walk(&gateway, streaming(&gateway, &body), [stream.as_bytes()], |_| false);
    let reasons: Vec<_> = events(&client[stream.len()..])
        .iter()
        .map(|event| {
            (event["choices"][0]["index"].as_u64(), event["choices"][0]["finish_reason"].to_string())
        })
        .collect();
    assert_eq!(reasons, [(Some(0), "\"length\"".into()), (Some(2), "\"length\"".into())]);
}

#[test]
fn a_stream_without_ids_is_ended_too() {
    let gateway = sliced();
    let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", text(80));
    let (client, _, stopped) = walk(&gateway, streaming(&gateway, BODY), [event.as_bytes()], |_| false);
    let [_, end] = &events(&client)[..] else { panic!("{client}") };
    assert!(stopped && end["id"].is_string() && end["created"].is_u64());
    assert_eq!((&end["model"], &end["object"]), (&"gpt-4o".into(), &"chat.completion.chunk".into()));
}

#[test]
fn nobody_asked_and_nothing_happens() {
    let gateway = sliced();
    for body in [BODY.to_owned(), BODY.replace("true", "true,\"max_tokens\":250")] {
        let ticket = streaming(&gateway, &body);
        let ticket =
            gateway.feed(&ticket, Piece::Chunk(event(0, 9).as_bytes())).expect("its own ticket").ticket;
        let fed = gateway.feed(&ticket.expect("a ticket"), Piece::Limited).expect("its own ticket");
        // A shell that may not hold what it holds already ends it as well, if there is anything to end.
        let ends = matches!(fed.output, Output::Stop(_));
        assert_eq!((ends, fed.holding), (body == BODY, None));
    }
}

/// A stream of events with these choices and lengths, and its end.
fn any_stream() -> impl Strategy<Value = String> {
    prop::collection::vec((0..2_usize, 0..60_usize), 1..20).prop_map(|sizes| {
        let events: String = sizes.into_iter().map(|(choice, tokens)| event(choice, tokens)).collect();
        events + &finish(0) + &finish(1) + "data: [DONE]\n\n"
    })
}

fn split<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn what_is_granted_changes_nothing_for_the_client(
        stream in any_stream(), cuts in prop::collection::vec(any::<Index>(), 0..10),
    ) {
        let gateway = sliced();
        let body = BODY.replace("true", "true,\"n\":2");
        let mut held = vec![0; 4];
        let pieces = split(stream.as_bytes(), &cuts);
        let (client, ticket, stopped) = walk(&gateway, streaming(&gateway, &body), pieces, |holding| {
            let grows = holding.amounts.iter().zip(&held).all(|(after, before)| after >= before);
            held.clone_from(&holding.amounts);
            grows && holding.amounts[1] == holding.usage.input_tokens + holding.usage.output_tokens
        });
        prop_assert_eq!((client.as_str(), stopped), (stream.as_str(), false));
        let settle = |ticket: &[u8]| gateway.settle(ticket, Ending::Completed).expect("its own ticket");
        let (_, at_once, _) = walk(&gateway, streaming(&gateway, &body), [stream.as_bytes()], |_| true);
        prop_assert_eq!(settle(&ticket), settle(&at_once));
    }

    /// However much is granted before, and wherever it was cut.
    #[test]
    fn a_stream_that_is_not_granted_more_ends_well(
        stream in any_stream(), cuts in prop::collection::vec(any::<Index>(), 0..10), grants in 0..4_u32,
        asks_for_usage in any::<bool>(),
    ) {
        let gateway = sliced();
        let options = if asks_for_usage { ",\"stream_options\":{\"include_usage\":true}" } else { "" };
        let body = BODY.replace("true", &format!("true,\"n\":2{options}"));
        let mut left = grants;
        let pieces = split(stream.as_bytes(), &cuts);
        let (client, ticket, stopped) = walk(&gateway, streaming(&gateway, &body), pieces, |_| {
            let granted = left > 0;
            left = left.saturating_sub(1);
            granted
        });
        if !stopped {
            prop_assert_eq!(client, stream);
            return Ok(());
        }
        prop_assert!(client.ends_with("data: [DONE]\n\n"));
        let (mut finished, mut text, mut told) = (Vec::new(), 0, None);
        for event in events(&client) {
            prop_assert_eq!(&event["id"], "chatcmpl-1");
            for choice in event["choices"].as_array().expect("choices") {
                let is_end = choice["finish_reason"].is_string();
                finished.extend(choice["index"].as_u64().filter(|_| is_end));
                text += choice["delta"]["content"].as_str().map_or(0, str::len);
            }
            told = event["usage"]["completion_tokens"].as_u64().or(told);
        }
        prop_assert_eq!((finished.len(), finished.into_iter().collect::<BTreeSet<_>>().len()), (2, 2), "each once");
        let written = gateway.settle(&ticket, Ending::Completed).expect("its own ticket").usage.output_tokens;
        // A text is exactly so long only behind an even one.
        prop_assert!(written.abs_diff(text as u64) <= 20, "{} of {}", written, text);
        prop_assert_eq!(told, asks_for_usage.then_some(written), "the client is told what it is charged");
    }
}
