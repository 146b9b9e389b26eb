//! The shell that needs nothing but WASI, its books with a Tollgate server: one budget for both, and none where the
//! server cannot be asked.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use tokio::runtime::Runtime;
use tollgate_tests::client;
use tollgate_tests::crowd;
use tollgate_tests::instant::now_ms;
use tollgate_tests::programs::{Serving, folder, tollgate};
use tollgate_tests::provider::Provider;
use tollgate_tests::spin::platform::{Engine, World};
use tollgate_tests::spin::server::{Instances, Server};
use tollgate_tests::vector::{Answer, Request};

/// Compiled once for all tests.
static GATEWAY: LazyLock<Engine> = LazyLock::new(|| Engine::portable().unwrap());

const TOKEN: &str = "shells-secret-0123456789";
const TABLES: &str = "[ledger_api]\nlisten = \"127.0.0.1:0\"\ntoken = { env = \"LEDGER_TOKEN\" }\n\
                      [admin]\nlisten = \"127.0.0.1:0\"\n";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

/// A server on a file, and its configuration for the shell: the same, but for the ledger.
fn server(place: &std::path::Path, config: &str) -> Serving {
    let file = place.join("tollgate.toml");
    fs::write(&file, config).unwrap();
    let mut command = tollgate(place);
    command.env("LEDGER_TOKEN", TOKEN);
    Serving::run(command, &file)
}

fn shell(runtime: &Runtime, config: &str, ledger: SocketAddr, instances: Instances) -> (Server, Arc<World>) {
    let ledger = format!(
        "[ledger]\nstore = \"remote\"\nurl = \"http://{ledger}\"\ntoken = {{ env = \"LEDGER_TOKEN\" }}\ntimeout = \"20s\"\n"
    );
    let environment = vec![
        ("TOLLGATE_CONFIG".to_owned(), config.replace(TABLES, "") + &ledger),
        ("LEDGER_TOKEN".to_owned(), TOKEN.to_owned()),
    ];
    let world = Arc::new(World { environment, now_ms: now_ms(), is_awake: true, ..World::default() });
    (Server::start(runtime, &GATEWAY, instances, Arc::clone(&world)), world)
}

/// Where an upstream answers so many requests, each with what was held for it.
fn provider(answers: usize) -> (Provider, SocketAddr) {
    let answer: Answer = serde_json::from_str(
        r#"{"body": {"json": {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 10}}}}"#,
    )
    .unwrap();
    let names = ["main".to_owned()];
    let script = names.iter().map(|name| (name.clone(), vec![answer.clone(); answers])).collect();
    let provider = Provider::start(&names, &script);
    let address = provider.place("http://main.test").trim_start_matches("http://").parse().unwrap();
    (provider, address)
}

fn chat(key: &str, stream: bool) -> Request {
    let body = format!(
        r#"{{"model":"m","stream":{stream},"max_tokens":10,"messages":[{{"role":"user","content":"Hello"}}]}}"#
    );
    let authorization = format!("authorization: Bearer {}", crowd::secret(key));
    serde_json::from_value(serde_json::json!({ "headers": [authorization], "body": body })).unwrap()
}

#[test]
fn it_imports_nothing_but_wasi() {
    let allowed = ["wasi:http/", "wasi:clocks/", "wasi:random/", "wasi:cli/", "wasi:io/"];
    let imports = GATEWAY.imports();
    assert!(!imports.is_empty());
    let others: Vec<_> =
        imports.iter().filter(|name| !allowed.iter().any(|allowed| name.starts_with(allowed))).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Invariants: never over-admit, no phantom refusal, settle once, conservation.
#[test]
fn of_many_at_once_exactly_the_budget_is_admitted_by_a_server_and_shells_together() {
    const REQUESTS: usize = 120;
    const ADMITTED: u64 = 37;
    let (runtime, place) = (runtime(), folder());
    let (_provider, upstream) = provider(ADMITTED as usize);
    let config =
        crowd::config(upstream, &[("alice", format!("budget = \"{}\"", crowd::budget(ADMITTED)))], TABLES);
    let serving = server(place.path(), &config);
    let fresh = shell(&runtime, &config, serving.shells.unwrap(), Instances::Fresh);
    let shared = shell(&runtime, &config, serving.shells.unwrap(), Instances::Shared);
    let others = [fresh.0.address, shared.0.address];
    let asked = ("alice", &chat("alice", false));
    crowd::exactly_the_budget_is_admitted(&serving, others, asked, (REQUESTS, ADMITTED));
    fresh.0.stop(&runtime);
    shared.0.stop(&runtime);
    serving.stop();
}

#[test]
fn without_a_ledger_nobody_is_served_and_the_reason_is_told() {
    let (runtime, place) = (runtime(), folder());
    let (_provider, upstream) = provider(1);
    let config =
        crowd::config(upstream, &[("alice", format!("budget = \"{}\"", crowd::budget(1_000)))], TABLES);
    let serving = server(place.path(), &config);
    let (shell, _world) = shell(&runtime, &config, serving.shells.unwrap(), Instances::Fresh);
    let served = client::ask(shell.address, &chat("alice", false)).unwrap();
    assert_eq!(served.status(), 200, "{}", served.text());
    serving.kill();
    let refused = client::ask(shell.address, &chat("alice", true)).unwrap();
    assert_eq!(refused.status(), 503, "{}", refused.text());
    assert!(refused.text().contains("ledger_unavailable"), "{}", refused.text());
    shell.stop(&runtime);
}
