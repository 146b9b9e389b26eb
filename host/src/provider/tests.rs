//! The simulated provider over a real connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate_simulated::{Pace, tokens, words};

use super::serve;

struct Reply {
    status: StatusCode,
    headers: http::HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}", self.text))
    }

    /// The data of each event; the last one is `[DONE]`.
    fn events(&self) -> Vec<Value> {
        let events: Vec<&str> =
            self.text.split_terminator("\n\n").map(|event| &event["data: ".len()..]).collect();
        let (last, events) = events.split_last().unwrap();
        assert_eq!(*last, "[DONE]");
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }
}

async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener));
    address
}

async fn send(method: &str, path: &str, body: &str) -> Reply {
    let address = start().await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let request = http::Request::builder().method(method).uri(format!("http://{address}{path}"));
    let request = request.body(Full::from(body.to_owned())).unwrap();
    let response = client.request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Reply { status: head.status, headers: head.headers, text }
}

async fn chat(mut body: Value) -> Reply {
    if body.get("messages").is_none() {
        body["messages"] = json!([{ "role": "user", "content": "Say something." }]);
    }
    send("POST", "/v1/chat/completions", &body.to_string()).await
}

#[test]
fn the_name_says_how_to_answer() {
    let pace = |tokens, gap| Pace { tokens, gap: Duration::from_millis(gap) };
    assert_eq!(Pace::of("sim-48t-30ms"), pace(48, 30));
    assert_eq!(Pace::of("sim-0t-0ms"), pace(0, 0));
    for other in ["gpt-4o", "sim-embedding", "sim-t-ms", "sim-1t", "sim--1t-1ms", "sim-1t-1s"] {
        assert_eq!(Pace::of(other), pace(24, 15), "{other}");
    }
}

#[test]
fn as_many_words_are_said_as_are_asked_for() {
    assert_eq!(words(5, 0, true).collect::<String>(), "This is a simulated answer.");
    assert_eq!(words(5, 0, false).collect::<String>(), "This is a simulated answer");
    assert_eq!(words(500, 0, true).count(), 500);
    assert_eq!(words(0, 3, true).count(), 0);
    assert_ne!(words(5, 0, true).collect::<String>(), words(5, 1, true).collect::<String>());
}

#[test]
fn tokens_are_counted_by_four_letters_and_by_character() {
    assert_eq!(tokens(""), 0);
    assert_eq!(tokens("Say something."), 1 + 3 + 1);
    assert_eq!(tokens("\u{65e5}\u{672c}\u{8a9e}"), 3);
}

#[tokio::test]
async fn a_plain_answer_is_openais() {
    let reply = chat(json!({ "model": "sim-7t-0ms" })).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["content-type"], "application/json");
    assert!(reply.headers.contains_key("x-request-id"));
    let answer = reply.json();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "sim-7t-0ms");
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["content"], "This is a simulated answer from the.");
    assert_eq!(choice["finish_reason"], "stop");
    let prompt = 1 + 3 + 1 + 4 + 3;
    assert_eq!(answer["usage"]["prompt_tokens"], prompt);
    assert_eq!(answer["usage"]["completion_tokens"], 7);
    assert_eq!(answer["usage"]["total_tokens"], prompt + 7);
}

#[tokio::test]
async fn a_limit_cuts_the_answer_and_says_so() {
    for field in ["max_tokens", "max_completion_tokens"] {
        let answer = chat(json!({ "model": "sim-7t-0ms", field: 3 })).await.json();
        assert_eq!(answer["choices"][0]["message"]["content"], "This is a");
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
        assert_eq!(answer["usage"]["completion_tokens"], 3);
        let answer = chat(json!({ "model": "sim-7t-0ms", field: 7 })).await.json();
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    }
}

#[tokio::test]
async fn several_choices_are_counted_together() {
    let answer = chat(json!({ "model": "sim-4t-0ms", "n": 3 })).await.json();
    assert_eq!(answer["choices"].as_array().unwrap().len(), 3);
    assert_eq!(answer["choices"][2]["index"], 2);
    assert_eq!(answer["usage"]["completion_tokens"], 12);
    let events = chat(json!({ "model": "sim-4t-0ms", "n": 3, "stream": true })).await.events();
    assert_eq!(events.len(), 3 * (4 + 2));
}

#[tokio::test]
async fn a_stream_says_the_same_word_by_word() {
    let reply = chat(json!({ "model": "sim-7t-0ms", "stream": true })).await;
    assert_eq!(reply.headers["content-type"], "text/event-stream; charset=utf-8");
    let events = reply.events();
    assert_eq!(events.len(), 9);
    assert_eq!(events[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    let text: String =
        events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "This is a simulated answer from the.");
    assert_eq!(events[8]["choices"][0]["delta"], json!({}));
    assert_eq!(events[8]["choices"][0]["finish_reason"], "stop");
    assert!(events.iter().all(|event| event["object"] == "chat.completion.chunk"));
    assert!(events.iter().all(|event| event.get("usage").is_none() && event["id"] == events[0]["id"]));
}

#[tokio::test]
async fn usage_comes_last_when_it_is_asked_for() {
    let options = json!({ "include_usage": true });
    let events =
        chat(json!({ "model": "sim-3t-0ms", "stream": true, "stream_options": options })).await.events();
    let (last, others) = events.split_last().unwrap();
    assert!(others.iter().all(|event| event["usage"].is_null() && event.get("usage").is_some()));
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 3);
    let reply = chat(json!({ "model": "m", "stream_options": options })).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["param"]), (400, &json!("stream_options")));
}

#[tokio::test]
async fn tokens_come_at_their_pace() {
    let begin = Instant::now();
    chat(json!({ "model": "sim-10t-20ms", "stream": true })).await;
    assert!(begin.elapsed() >= Duration::from_millis(200));
    let begin = Instant::now();
    chat(json!({ "model": "sim-10t-20ms" })).await;
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

fn weather() -> Value {
    let parameters = json!({
        "type": "object", "required": ["city", "days", "unit", "where"],
        "properties": {
            "city": { "type": "string" }, "days": { "type": "integer", "minimum": 2 }, "note": { "type": "string" },
            "unit": { "enum": ["celsius", "fahrenheit"] },
            "where": { "type": "object", "required": ["lat"], "properties": { "lat": { "type": ["number", "null"] } } },
        },
    });
    json!([{ "type": "function", "function": { "name": "get_weather", "parameters": parameters } }])
}

#[tokio::test]
async fn a_tool_is_called_when_it_is_named_or_required() {
    let named =
        json!([{ "role": "user", "content": [{ "type": "text", "text": "Use get_weather please." }] }]);
    let arguments = json!({ "city": "example", "days": 2, "unit": "celsius", "where": { "lat": 1 } });
    let asks = [
        json!({ "model": "m", "tools": weather(), "messages": named }),
        json!({ "model": "m", "tools": weather(), "tool_choice": "required" }),
        json!({ "model": "m", "tools": weather(), "tool_choice": { "type": "function", "function": { "name": "get_weather" } } }),
    ];
    for mut ask in asks {
        let answer = chat(ask.clone()).await.json();
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(choice["message"]["content"], Value::Null);
        let call = &choice["message"]["tool_calls"][0];
        assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("get_weather")));
        let given: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!(given, arguments);

        ask["stream"] = json!(true);
        let events = chat(ask).await.events();
        let calls: Vec<&Value> =
            events.iter().filter_map(|event| event["choices"][0]["delta"]["tool_calls"].get(0)).collect();
        assert_eq!(calls[0]["function"], json!({ "name": "get_weather", "arguments": "" }));
        assert!(calls[0]["id"].is_string() && calls[1].get("id").is_none());
        let text: String = calls.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), arguments);
        assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    }
}

#[tokio::test]
async fn a_tool_is_not_called_without_reason() {
    let named = json!([{ "role": "user", "content": "Use get_weather please." }]);
    let mut answered = named.clone();
    answered
        .as_array_mut()
        .unwrap()
        .push(json!({ "role": "tool", "tool_call_id": "x", "content": "12 degrees" }));
    let asks = [
        json!({ "model": "sim-1t-0ms", "tools": weather() }),
        json!({ "model": "sim-1t-0ms", "tools": weather(), "messages": answered }),
        json!({ "model": "sim-1t-0ms", "tools": weather(), "messages": named, "tool_choice": "none" }),
        json!({ "model": "sim-1t-0ms", "messages": named }),
    ];
    for ask in asks {
        assert_eq!(chat(ask).await.json()["choices"][0]["finish_reason"], "stop");
    }
}

#[tokio::test]
async fn embeddings_are_floats_or_base64() {
    let embed = async |body: Value| send("POST", "/v1/embeddings", &body.to_string()).await;
    let floats = embed(json!({ "model": "m", "input": ["one", "two"], "dimensions": 4 })).await.json();
    assert_eq!(floats["data"].as_array().unwrap().len(), 2);
    assert_eq!(floats["data"][1]["index"], 1);
    assert_eq!(floats["data"][0]["embedding"].as_array().unwrap().len(), 4);
    assert_eq!(floats["usage"], json!({ "prompt_tokens": 2, "total_tokens": 2 }));
    let usual = embed(json!({ "model": "m", "input": "one" })).await.json();
    assert_eq!(usual["data"][0]["embedding"].as_array().unwrap().len(), 1536);
    let base64 = json!({ "model": "m", "input": "one", "dimensions": 4, "encoding_format": "base64" });
    assert_eq!(embed(base64).await.json()["data"][0]["embedding"].as_str().unwrap().len(), 24);
    for (input, tokens) in [(json!([1, 2, 3]), 3), (json!([[1], [2, 3]]), 3)] {
        assert_eq!(
            embed(json!({ "model": "m", "input": input })).await.json()["usage"]["prompt_tokens"],
            tokens
        );
    }
    for input in [json!(""), json!([]), json!([""]), json!(1), json!([1.5]), Value::Null] {
        let reply = embed(json!({ "model": "m", "input": input })).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]["param"]), (400, &json!("input")));
    }
}

#[tokio::test]
async fn models_are_listed() {
    let list = send("GET", "/v1/models", "").await.json();
    assert!(list["data"].as_array().unwrap().iter().any(|model| model["id"] == "gpt-4o"));
    assert_eq!(send("GET", "/v1/models/any", "").await.json()["id"], "any");
    assert_eq!(send("GET", "/v1/models/missing", "").await.status, 404);
}

#[tokio::test]
async fn errors_are_openais() {
    let error = |reply: &Reply| (reply.status.as_u16(), reply.json()["error"]["code"].clone());
    for bad in ["", "{", "[]", "{}", r#"{"model":""}"#, r#"{"model":"m"}"#, r#"{"model":"m","messages":[]}"#]
    {
        let reply = send("POST", "/v1/chat/completions", bad).await;
        assert_eq!(reply.status, 400, "{bad}");
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
    }
    for (field, value) in
        [("n", json!(0)), ("n", json!(129)), ("max_tokens", json!(0)), ("stream", json!("yes"))]
    {
        let reply = chat(json!({ "model": "m", field: value })).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]["param"]), (400, &json!(field)));
    }
    assert_eq!(error(&chat(json!({ "model": "missing-1" })).await), (404, json!("model_not_found")));
    assert_eq!(error(&chat(json!({ "model": "fail-500" })).await), (500, Value::Null));
    let limited = chat(json!({ "model": "fail-429" })).await;
    assert_eq!(error(&limited), (429, json!("rate_limit_exceeded")));
    assert_eq!(limited.headers["retry-after"], "1");
    assert_eq!(error(&send("GET", "/v2", "").await), (404, json!("unknown_url")));
    assert_eq!(chat(json!({ "model": "fail-200" })).await.status, 200);
}

#[tokio::test]
async fn each_event_is_its_own_frame() {
    let address = start().await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let body =
        json!({ "model": "sim-5t-10ms", "stream": true, "messages": [{ "role": "user", "content": "x" }] });
    let request = http::Request::post(format!("http://{address}/v1/chat/completions"));
    let response = client.request(request.body(Full::from(body.to_string())).unwrap()).await.unwrap();
    let mut body = response.into_body();
    let mut frames = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.starts_with(b"data: ") && data.ends_with(b"\n\n"));
        frames += 1;
    }
    assert_eq!(frames, 5 + 3);
}
