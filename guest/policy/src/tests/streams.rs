//! Answers that are relayed as events.

use super::*;

const ASKED: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"stream":true,"stream_options":{"include_usage":true}}"#;
const NOT_ASKED: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"stream":true}"#;

const FIRST: &str =
    "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"Hello\"}}],\"usage\":null}\n\n";
const SECOND: &str = "data: {\"choices\":[{\"delta\":{\"content\":\" there\"}}],\"usage\":null}\n\n";
const USAGE: &str =
    "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn streaming(gateway: &Gateway, body: &str) -> Ticket {
    relayed(gateway, &admitted(gateway, body).ticket, answer(200, "text/event-stream", None))
}

fn tokens(gateway: &Gateway, ticket: &[u8]) -> (u64, u64, bool) {
    let usage = gateway.settle(ticket, Ending::Completed).expect("its own ticket").usage;
    (usage.input_tokens, usage.output_tokens, usage.estimated)
}

#[test]
fn usage_is_hidden_from_a_client_that_did_not_ask() {
    let gateway = gateway();
    let pieces = [FIRST, SECOND, USAGE, DONE].map(str::as_bytes);
    let (client, ticket) = fed(&gateway, streaming(&gateway, NOT_ASKED), pieces, Piece::End);
    assert_eq!(String::from_utf8(client).expect("text"), [FIRST, SECOND, DONE].concat());
    assert_eq!(tokens(&gateway, &ticket), (9, 2, false));
    let (client, ticket) = fed(&gateway, streaming(&gateway, ASKED), pieces, Piece::End);
    assert_eq!(String::from_utf8(client).expect("text"), [FIRST, SECOND, USAGE, DONE].concat());
    assert_eq!(tokens(&gateway, &ticket), (9, 2, false));
}

#[test]
fn whole_events_pass_untouched() {
    let gateway = gateway();
    let mut ticket = streaming(&gateway, NOT_ASKED);
    for piece in [FIRST, SECOND, DONE] {
        let fed = gateway.feed(&ticket, Piece::Chunk(piece.as_bytes())).expect("its own ticket");
        assert_eq!(fed.output, Output::Pass);
        ticket = fed.ticket.expect("a ticket");
        assert!(ticket.len() < 80, "{} bytes", ticket.len());
    }
}

#[test]
fn an_undecided_event_is_held_no_longer_than_it_must() {
    let gateway = gateway();
    let ticket = streaming(&gateway, NOT_ASKED);
    let held = gateway.feed(&ticket, Piece::Chunk(b"data: {\"choices\":[")).expect("its own ticket");
    assert_eq!(held.output, Output::Replace(vec![]));
    let released = gateway.feed(&held.ticket.expect("a ticket"), Piece::Chunk(b"{")).expect("its own ticket");
    assert_eq!(released.output, Output::Replace(b"data: {\"choices\":[{".to_vec()));
    let passed =
        gateway.feed(&released.ticket.expect("a ticket"), Piece::Chunk(b"}]}")).expect("its own ticket");
    assert_eq!(passed.output, Output::Pass);
}

#[test]
fn an_event_too_long_to_hold_passes() {
    let gateway = gateway();
    let long = format!("data: {{\"pad\":\"{}\",{}", "x".repeat(70_000), &USAGE["data: {".len()..]);
    for size in [1_000, 65_536, 1_000_000] {
        let pieces = long.as_bytes().chunks(size);
        let (client, ticket) = fed(&gateway, streaming(&gateway, NOT_ASKED), pieces, Piece::End);
        assert!(client == long.as_bytes());
        assert_eq!(tokens(&gateway, &ticket), (9, 2, false));
    }
}

#[test]
fn a_stream_without_usage_is_estimated() {
    let gateway = gateway();
    let pieces = [FIRST, SECOND, DONE].map(str::as_bytes);
    let (_, ticket) = fed(&gateway, streaming(&gateway, NOT_ASKED), pieces, Piece::End);
    // `user` and `Hi` in one message; `Hello there`.
    assert_eq!(tokens(&gateway, &ticket), (2 + 3 + 3, 2, true));
}

#[test]
fn a_stream_that_breaks_ends_with_an_error_event() {
    let gateway = gateway();
    let error = |client: &[u8], before: &str| {
        let client = String::from_utf8(client.to_vec()).expect("text");
        let event = client.strip_prefix(before).unwrap_or_else(|| panic!("{client:?}"));
        assert!(event.starts_with("data: {\"error\":{") && event.ends_with("}}\n\n"), "{event:?}");
        event.to_owned()
    };
    for body in [ASKED, NOT_ASKED] {
        let pieces = [FIRST.as_bytes()];
        let broken = Piece::Broken(Fault::Timeout);
        let (client, ticket) = fed(&gateway, streaming(&gateway, body), pieces, broken);
        assert!(error(&client, FIRST).contains("upstream_timeout"));
        assert_eq!(tokens(&gateway, &ticket).1, 1);
    }
    // The client has got half an event: it is ended first. Where it was held back, it is dropped.
    let half = b"data: {\"id\":\"c\"";
    let (client, _) = fed(&gateway, streaming(&gateway, ASKED), [&half[..]], Piece::End);
    assert!(error(&client, "data: {\"id\":\"c\"\n\n").contains("upstream_closed"));
    let (client, _) = fed(&gateway, streaming(&gateway, NOT_ASKED), [&half[..]], Piece::End);
    assert!(error(&client, "").contains("upstream_closed"));
}

#[test]
fn an_end_that_lacks_only_a_blank_line_is_forgiven_after_done() {
    let gateway = gateway();
    for tail in ["data: [DONE]", "data: [DONE]\n", "\n", "  ", ": bye", ""] {
        for body in [ASKED, NOT_ASKED] {
            let pieces = [FIRST.as_bytes(), tail.as_bytes()];
            let (client, _) = fed(&gateway, streaming(&gateway, body), pieces, Piece::End);
            assert_eq!(String::from_utf8(client).expect("text"), [FIRST, tail].concat());
        }
    }
}

#[test]
fn events_are_no_answer_to_a_client_that_wants_none() {
    let gateway = gateway();
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":""}],"stream":false}"#;
    let attempt = last_attempt(answer(200, "text/event-stream", None));
    let verdict = gateway.judge(&admitted(&gateway, body).ticket, &attempt).expect("its own ticket").verdict;
    assert!(matches!(verdict, Verdict::Reply { reply, .. } if reply.status == 502));
}
