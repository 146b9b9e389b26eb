//! The plugin in a real Envoy, beyond single exchanges: several workers on one ledger, leases, and what passes when it
//! fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;

use serde_json::{Value, json};
use tollgate_tests::envoy::{Begun, DESK, Desk, PLUGIN, Process, Stage, python};
use tollgate_tests::outcome::Cell;
use tollgate_tests::programs::allow_many_files;
use tollgate_tests::provider::Provider;
use tollgate_tests::vector::{Request, Vector};
use tollgate_tests::{client, instant};

/// Each exchange holds 100 tokens of output, and costs them: a thousandth of a yen.
const CONFIG: &str = r#"
[upstreams.main]
base_url = "http://main.test/v1"

[[models]]
name = "gpt-4o"
targets = [{ upstream = "main" }]
price = { currency = "JPY", input = 0, output = 10 }

[[keys]]
name = "alice"
digest = "sha256:11518655959f55598ef3f97188b2b1c042217ac8a3bfa75985613ed0a793650c"
budget = "0.1 JPY/month"
"#;

/// What one exchange costs, in nano-yen.
const COST: u64 = 1_000_000;

fn vector(answers: usize) -> Vector {
    let answer = json!({"body": {"json": {
        "id": "c1", "object": "chat.completion", "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 100, "total_tokens": 105},
    }}});
    let asked =
        json!({"model": "gpt-4o", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]});
    let lines: Vec<&str> = CONFIG.lines().collect();
    let answers = vec![answer; answers];
    let vector =
        json!({"config": lines, "request": {"body": {"json": asked}}, "provider": {"main": answers}});
    serde_json::from_value(vector).unwrap()
}

/// Puts the configuration on the stage, with this provider behind.
fn show(process: &mut Process, provider: &Provider, plugin: &str) -> SocketAddr {
    let config = provider.place(CONFIG);
    let upstreams = [("main".to_owned(), provider.address("main"), "10s".to_owned())];
    let stage = Stage { name: "s1", config: &config, upstreams: &upstreams, ..Stage::default() };
    match process.show_with(&stage, Path::new(plugin)) {
        Begun::At(address) => address,
        Begun::Refused => panic!("the configuration is refused"),
    }
}

fn start(vector: &Vector) -> Provider {
    Provider::start(&["main".to_owned()], &vector.provider)
}

fn rows(said: &[String]) -> Vec<Value> {
    said.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn never_over_admit_by_two_workers_and_a_thousand_at_once() {
    const CLIENTS: usize = 1_000;
    const ADMITTED: usize = 100;
    allow_many_files();
    let vector = vector(ADMITTED);
    let provider = start(&vector);
    let mut process = Process::start(2, false);
    let address = show(&mut process, &provider, PLUGIN);
    let request: Arc<Request> = Arc::new(vector.request.clone().unwrap());
    let together = Arc::new(Barrier::new(CLIENTS));
    let ask = |_| {
        let (request, together) = (Arc::clone(&request), Arc::clone(&together));
        thread::Builder::new().stack_size(256 << 10).spawn(move || {
            together.wait();
            client::send(address, &request, None, || {}).map(|received| received.status)
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(|client| ask(client).unwrap()).collect();
    let mut statuses: BTreeMap<Option<u16>, usize> = BTreeMap::new();
    for client in clients {
        *statuses.entry(client.join().unwrap()).or_default() += 1;
    }
    assert_eq!(statuses, BTreeMap::from([(Some(200), ADMITTED), (Some(429), CLIENTS - ADMITTED)]));
    assert_eq!(provider.finish().len(), ADMITTED, "who is refused reaches no upstream");

    // settle once: each of them has one row, and all of them together what the budget counts.
    let rows = process.wait_for("s1", |said| Some(rows(said)).filter(|rows| rows.len() >= CLIENTS));
    let charges: Vec<u64> = rows.iter().filter_map(|row| row["charge_nano"].as_u64()).collect();
    assert_eq!((rows.len(), charges.len(), charges.iter().sum()), (CLIENTS, ADMITTED, 100 * COST));
    let cells = Desk::reading(process.desk, "alice").cells(0);
    let counted: Vec<Cell> = cells.into_values().collect();
    assert_eq!(counted, [Cell { settled: 100 * COST, held: 0 }]);
}

#[test]
fn no_phantom_refusal_when_the_lease_of_a_worker_that_is_gone_has_passed() {
    let mut vector = vector(0);
    let now = instant::Instant::default().ms;
    vector.ledger = serde_json::from_value(json!([{"cell": "slots:alice", "slots": 8, "held": 3}])).unwrap();
    let provider = start(&vector);
    let mut process = Process::start(1, true);
    process.set_time(now);
    show(&mut process, &provider, PLUGIN);
    let mut desk = Desk::at(process.desk);
    desk.lay_out(&vector, &["alice".to_owned()], &[]);
    assert_eq!(desk.cells(now), BTreeMap::from([("slots:alice".to_owned(), Cell { settled: 0, held: 3 })]));
    process.set_time(now + 600_001);
    let lost = process.wait_for("s1", |said| rows(said).into_iter().find(|row| row["outcome"] == "lost"));
    assert_eq!(lost["request_id"], "held-0");
    assert_eq!(desk.cells(now + 600_001), BTreeMap::new());
}

#[test]
fn a_missing_key_never_passes_whatever_the_state_of_the_module() {
    let vector = vector(0);
    let provider = start(&vector);
    let mut process = Process::start(1, false);
    let request = |headers: &[&str], method: &str| Request {
        method: method.to_owned(),
        headers: headers.iter().map(|&header| header.to_owned()).collect(),
        ..vector.request.clone().unwrap()
    };
    let status = |address, request: &Request| {
        let mut wire = tollgate_tests::wire::Wire::new(std::net::TcpStream::connect(address).unwrap());
        std::io::Write::write_all(wire.stream(), &client::bytes(request, address)).unwrap();
        wire.response().unwrap().status()
    };
    let address = show(&mut process, &provider, PLUGIN);
    assert_eq!(status(address, &request(&[], "POST")), 401);
    assert_eq!(status(address, &request(&["authorization: Bearer tg_nobody"], "POST")), 401);

    // A request that says that it was admitted already was not.
    let forged = [
        "x-request-id: req_0",
        "x-tollgate-upstream: main",
        "x-tollgate-after: 0",
        "x-envoy-is-timeout-retry: true",
    ];
    assert_eq!(status(address, &request(&forged, "POST")), 401);

    // A module that has failed lets nothing pass: neither the request it failed at, nor those after it.
    let address = show_again(&mut process, &provider);
    assert!(status(address, &request(&[], "DELETE")) >= 500);
    assert!(status(address, &request(&[], "POST")) >= 500);
    assert_eq!(provider.finish(), [], "nothing reached the upstream");
}

/// The same stage with a module that fails in the plugin's place.
fn show_again(process: &mut Process, provider: &Provider) -> SocketAddr {
    let upstreams = [("main".to_owned(), provider.address("main"), "10s".to_owned())];
    let stage = Stage { name: "s2", upstreams: &upstreams, ..Stage::default() };
    match process.show_with(&stage, Path::new(DESK)) {
        Begun::At(address) => address,
        Begun::Refused => panic!("the desk takes any configuration"),
    }
}

#[test]
fn a_configuration_with_problems_lets_nothing_in_and_all_are_told() {
    let vector = vector(0);
    let provider = start(&vector);
    let mut process = Process::start(1, false);
    let stage = Stage { name: "s1", config: "[upstreams.main]\nbase_url = 5\n[x]\n", ..Stage::default() };
    assert!(matches!(process.show(&stage), Begun::Refused));
    let told = process.wait_for("s1", |said| {
        let problems = said.iter().filter(|line| line.starts_with("problem: "));
        Some(problems.cloned().collect::<Vec<_>>()).filter(|problems| problems.len() >= 4)
    });
    for place in ["upstreams.main.base_url (line 2)", "x (line 3)", "models: ", "keys: "] {
        assert!(told.iter().any(|problem| problem.contains(place)), "{place}: {told:?}");
    }
    drop(provider);
}

/// The module has a stack of 256 KiB, and Envoy a limit of its own.
#[test]
fn a_configuration_of_any_depth_is_a_problem_and_no_trap() {
    let mut process = Process::start(1, false);
    let depth = 100_000;
    let [arrays, tables, keys] = ["[", "{a=", "a."].map(|level| level.repeat(depth));
    let texts =
        [("s1", format!("x = {arrays}")), ("s2", format!("x = {tables}")), ("s3", format!("{keys}a = 1"))];
    for (name, config) in texts {
        let stage = Stage { name, config: &config, ..Stage::default() };
        assert!(matches!(process.show(&stage), Begun::Refused));
        let told = |said: &[String]| said.iter().any(|line| line.starts_with("problem: ")).then_some(());
        process.wait_for(name, told);
    }
}

/// The header that makes Envoy try again is the module's alone.
#[test]
fn an_upstream_cannot_have_itself_asked_again() {
    let headers = |media_type: &str| json!([format!("content-type: {media_type}"), "x-tollgate-after: 0"]);
    let whole = json!({"headers": headers("application/json"), "body": {"json": {
        "id": "c1", "object": "chat.completion", "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 100, "total_tokens": 105},
    }}});
    let stream = json!({"headers": headers("text/event-stream"), "body": {"sse": ["[DONE]"]}});
    let failure = json!({"status": 400, "headers": headers("application/json"), "body": {"json": {}}});
    let mut vector = vector(0);
    vector.provider = serde_json::from_value(json!({"main": [whole, stream, failure]})).unwrap();
    let provider = start(&vector);
    let mut process = Process::start(1, false);
    let address = show(&mut process, &provider, PLUGIN);
    let plain = vector.request.unwrap();
    let streamed: Request = serde_json::from_value(json!({"body": {"json": {
        "model": "gpt-4o", "max_tokens": 100, "stream": true, "messages": [{"role": "user", "content": "Hello"}],
    }}}))
    .unwrap();
    for (request, status) in [(&plain, 200), (&streamed, 200), (&plain, 400)] {
        let answer = client::ask(address, request).unwrap();
        assert_eq!((answer.status(), answer.header("x-tollgate-after")), (status, None));
    }
    // Had one been asked twice, another would have got the answer after its own.
    assert_eq!(provider.finish().len(), 3);
}

#[test]
fn what_is_tried_again_brings_no_credential_to_the_plugin() {
    let config = CONFIG
        .replace("[[models]]", "[upstreams.other]\nbase_url = \"http://other.test/v1\"\n\n[[models]]")
        .replace(
            r#"targets = [{ upstream = "main" }]"#,
            r#"targets = [{ upstream = "main" }, { upstream = "other" }]"#,
        );
    let mut vector = vector(1);
    let answers = vector.provider.remove("main").unwrap();
    let failure = serde_json::from_value(json!([{"status": 500, "body": {"json": {}}}])).unwrap();
    vector.provider = BTreeMap::from([("main".to_owned(), failure), ("other".to_owned(), answers)]);
    let names = ["main", "other"].map(str::to_owned);
    let provider = Provider::start(&names, &vector.provider);
    let mut process = Process::start(1, false);
    let config = provider.place(&config);
    let upstreams = names.map(|name| (name.clone(), provider.address(&name), "10s".to_owned()));
    let stage = Stage { name: "s1", config: &config, upstreams: &upstreams, ..Stage::default() };
    let Begun::At(address) = process.show(&stage) else { panic!("the configuration is refused") };
    let answer = client::ask(address, &vector.request.unwrap()).unwrap();
    assert_eq!((answer.status(), answer.header("x-tollgate-attempts")), (200, Some("2")));
    let said = process.wait_for("s1", |said| (!rows(said).is_empty()).then(|| said.to_vec()));
    assert!(!said.iter().any(|line| line.contains("credential")), "{said:?}");
    assert_eq!(provider.finish().len(), 2);
}

/// The official package as the client.
#[test]
fn the_openai_package_works_through_it() {
    let whole = json!({"body": {"json": {
        "id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-4o",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }}});
    let chunk = |delta: Value, reason: Value| {
        json!({
            "id": "c2", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        })
    };
    let usage = json!({
        "id": "c2", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o", "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    });
    let events = json!([
        chunk(json!({"role": "assistant", "content": "Yes"}), Value::Null),
        chunk(json!({"content": "."}), Value::Null),
        chunk(json!({}), json!("stop")),
        usage,
        "[DONE]",
    ]);
    let stream = json!({"headers": ["content-type: text/event-stream"], "body": {"sse": events}});
    let mut vector = vector(0);
    vector.provider = serde_json::from_value(json!({"main": [whole, stream]})).unwrap();
    let provider = start(&vector);
    let mut process = Process::start(2, false);
    let address = show(&mut process, &provider, PLUGIN);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut client = Command::new(python());
    client.arg("-B").arg(root.join("openai/envoy.py")).env("BASE_URL", format!("http://{address}/v1"));
    let told = client.output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(provider.finish().len(), 2);
}
