//! The application that `spin.toml` describes: what it names is there, and it does what it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::runtime::Runtime;
use tollgate_ledger::{Claim, Entry, Hold, Outcome, Reservation, Rule};
use tollgate_tests::client;
use tollgate_tests::envoy::python;
use tollgate_tests::programs::{allow_many_files, until};
use tollgate_tests::spin::database::Place;
use tollgate_tests::spin::platform::{Engine, World};
use tollgate_tests::spin::server::{Instances, Server};
use tollgate_tests::vector::Request;

use crate::GATEWAY;

/// Compiled once for all tests.
static PROVIDER: LazyLock<Engine> = LazyLock::new(|| Engine::provider().unwrap());

/// Some time in November 2026.
const NOW: u64 = 1_795_435_200_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

fn manifest() -> toml::Table {
    read("spin.toml").parse().unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn world(config: String, place: &Place) -> Arc<World> {
    let variables = BTreeMap::from([("config".to_owned(), config)]);
    Arc::new(World { variables, database: place.path(), now_ms: NOW, ..World::default() })
}

fn chat(body: &str) -> Request {
    let headers = ["authorization: Bearer tg_demo", "content-type: application/json"];
    serde_json::from_value(serde_json::json!({ "headers": headers, "body": body })).unwrap()
}

#[test]
fn the_simulated_provider_streams_an_answer_through_the_gateway() {
    let (runtime, place) = (runtime(), Place::new());
    let provider = Server::start(&runtime, &PROVIDER, Instances::Fresh, Arc::default());
    let config = read("examples/edge.toml")
        .replace("http://provider.spin.internal", &format!("http://{}", provider.address));
    let world = world(config, &place);
    let gateway = Server::start(&runtime, &GATEWAY, Instances::Fresh, Arc::clone(&world));

    let request =
        chat(r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#);
    let answer = client::ask(gateway.address, &request).unwrap();
    let body = String::from_utf8(answer.body.clone()).unwrap();
    assert_eq!(answer.status(), 200, "{body}");
    assert!(answer.header("x-ratelimit-remaining-requests").is_some_and(|left| left == "99"), "{answer:?}");
    assert!(body.matches("data: {").count() > 24 && body.ends_with("data: [DONE]\n\n"), "{body}");

    let stranger = Request { headers: vec!["authorization: Bearer tg_other".into()], ..request };
    assert_eq!(client::ask(gateway.address, &stranger).unwrap().status(), 401);
    gateway.stop(&runtime);
    provider.stop(&runtime);
    assert!(world.log().contains(r#""outcome":"completed""#), "{}", world.log());
}

#[test]
fn many_instances_at_once_admit_no_more_than_the_limit() {
    assert_eq!(admitted_of_a_thousand(Instances::Fresh), (137, 863));
}

#[test]
fn one_instance_with_many_exchanges_at_once_admits_no_more_than_the_limit() {
    assert_eq!(admitted_of_a_thousand(Instances::Shared), (137, 863));
}

/// How many of a thousand requests at once were answered, and how many were told to wait, where 137 an hour are allowed.
fn admitted_of_a_thousand(instances: Instances) -> (usize, usize) {
    allow_many_files();
    let (runtime, place) = (runtime(), Place::new());
    let provider = Server::start(&runtime, &PROVIDER, Instances::Shared, Arc::default());
    let config = read("examples/edge.toml")
        .replace("http://provider.spin.internal", &format!("http://{}", provider.address))
        .replace("sim-24t-15ms", "sim-1t-0ms")
        .replace("100/1m", "137/1h");
    let gateway = Server::start(&runtime, &GATEWAY, instances, world(config, &place));
    let request =
        chat(r#"{"model":"gpt-4o-mini","max_tokens":1,"messages":[{"role":"user","content":"Hello"}]}"#);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let send = |_| scope.spawn(|| client::ask(gateway.address, &request).unwrap().status());
        let sent: Vec<_> = (0..1_000).map(send).collect();
        sent.into_iter().map(|sent| sent.join().unwrap()).collect()
    });
    gateway.stop(&runtime);
    provider.stop(&runtime);
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    (count(200), count(429))
}

#[test]
fn a_settlement_that_meets_a_busy_database_is_made_when_that_is_free() {
    /// Longer than a writer waits.
    const BUSY: Duration = Duration::from_secs(7);
    let (runtime, place) = (runtime(), Place::new());
    let awake = |world: World| Arc::new(World { is_awake: true, now_ms: NOW, ..world });
    let provider = Server::start(&runtime, &PROVIDER, Instances::Fresh, awake(World::default()));
    let config = read("examples/edge.toml")
        .replace("http://provider.spin.internal", &format!("http://{}", provider.address))
        .replace("sim-24t-15ms", "sim-24t-40ms");
    let variables = BTreeMap::from([("config".to_owned(), config)]);
    let world = awake(World { variables, database: place.path(), ..World::default() });
    let gateway = Server::start(&runtime, &GATEWAY, Instances::Shared, Arc::clone(&world));
    let request = chat(
        r#"{"model":"gpt-4o-mini","max_tokens":24,"stream":true,"messages":[{"role":"user","content":"Hello"}]}"#,
    );
    let address = gateway.address;
    let client = std::thread::spawn(move || client::ask(address, &request).unwrap());

    let other = rusqlite::Connection::open(place.path()).unwrap();
    let count = |table: &str| {
        let count = format!("SELECT count(*) FROM {table}");
        other.query_row(&count, [], |row| row.get::<_, u32>(0)).unwrap_or(0)
    };
    until("the exchange is held", || (count("holds") == 1).then_some(()));
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::sleep(BUSY);
    assert_eq!((count("holds"), count("charges")), (1, 0));
    other.execute_batch("COMMIT").unwrap();

    let answer = client.join().unwrap();
    assert!(answer.body.ends_with(b"data: [DONE]\n\n"), "{answer:?}");
    until("the exchange is settled", || (count("holds") == 0 && count("charges") == 1).then_some(()));
    gateway.stop(&runtime);
    provider.stop(&runtime);
    assert!(!world.log().contains("did not settle"), "{}", world.log());
}

/// As of an instance that ended in the middle of an exchange. Whoever comes next looks after it, refused or not.
#[test]
fn a_hold_that_was_left_behind_is_charged_when_its_lease_has_passed() {
    let (runtime, place) = (runtime(), Place::new());
    let entry = Arc::new(Entry { request_id: "req_left".into(), outcome: Outcome::Lost, ..Entry::default() });
    let rule = Rule::Window { limit: 10, period_ms: 60_000 };
    let claims = [Claim { cell: "requests:acme".into(), rule, amount: 1 }];
    let hold = Hold { entry: &entry, claims: &claims, lease_ms: 1_000 };
    let left = place.ledger().reserve(hold, NOW - 1_500).unwrap();
    assert!(matches!(left, Reservation::Granted { .. }), "{left:?}");
    let books = rusqlite::Connection::open(place.path()).unwrap();
    let count = |table: &str| {
        let count = format!("SELECT count(*) FROM {table} WHERE request_id = 'req_left'");
        books.query_row(&count, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!((count("holds"), count("charges")), (1, 0));

    let gateway =
        Server::start(&runtime, &GATEWAY, Instances::Fresh, world(read("examples/edge.toml"), &place));
    let stranger = Request { headers: vec!["authorization: Bearer tg_other".into()], ..chat("{}") };
    assert_eq!(client::ask(gateway.address, &stranger).unwrap().status(), 401);
    gateway.stop(&runtime);
    assert_eq!((count("holds"), count("charges")), (0, 1));
}

/// The official package as the client.
#[test]
fn the_openai_package_works_through_it() {
    let (runtime, place) = (runtime(), Place::new());
    let provider = Server::start(&runtime, &PROVIDER, Instances::Fresh, Arc::default());
    let config = read("examples/edge.toml")
        .replace("http://provider.spin.internal", &format!("http://{}", provider.address));
    let gateway = Server::start(&runtime, &GATEWAY, Instances::Shared, world(config, &place));
    let mut client = Command::new(python());
    client.arg("-B").arg(root().join("tests/openai/spin.py"));
    client.env("BASE_URL", format!("http://{}/v1", gateway.address));
    let told = client.output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    gateway.stop(&runtime);
    provider.stop(&runtime);
}

#[test]
fn a_configuration_with_problems_serves_nobody_and_says_why_in_the_log() {
    let (runtime, place) = (runtime(), Place::new());
    let world = world("[upstreams.a]\nbase_url = \"nowhere\"\n".into(), &place);
    let gateway = Server::start(&runtime, &GATEWAY, Instances::Fresh, Arc::clone(&world));
    let answer = client::ask(gateway.address, &chat("{}")).unwrap();
    gateway.stop(&runtime);
    assert_eq!(answer.status(), 503);
    assert!(!String::from_utf8_lossy(&answer.body).contains("nowhere"));
    assert!(world.log().contains("upstreams.a.base_url"), "{}", world.log());
}

/// The shell has a stack of 256 KiB, too.
#[test]
fn a_configuration_of_any_depth_is_a_problem_and_no_trap() {
    let (runtime, depth) = (runtime(), 100_000);
    for text in [format!("x = {}", "[".repeat(depth)), format!("{}a = 1", "a.".repeat(depth))] {
        let place = Place::new();
        let world = world(text, &place);
        let gateway = Server::start(&runtime, &GATEWAY, Instances::Fresh, Arc::clone(&world));
        let answer = client::ask(gateway.address, &chat("{}")).unwrap();
        gateway.stop(&runtime);
        assert_eq!(answer.status(), 503);
        assert!(world.log().contains(r#""message":"configuration""#), "{}", world.log());
    }
}

#[test]
fn the_manifest_names_what_is_there() {
    let manifest = manifest();
    let components = manifest["component"].as_table().unwrap();
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members: Vec<&str> =
        workspace["workspace"]["members"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
    let packages: BTreeSet<String> = members
        .iter()
        .map(|member| read(&format!("{member}/Cargo.toml")).parse::<toml::Table>().unwrap())
        .map(|member| member["package"]["name"].as_str().unwrap().to_owned())
        .collect();
    for (name, component) in components {
        let command = component["build"]["command"].as_str().unwrap();
        let words = |flag| command.split(flag).skip(1).map(|rest| rest.split(' ').next().unwrap());
        let built: Vec<(&str, &str)> = words("--profile ").zip(words("--package ")).collect();
        assert!(
            !built.is_empty() && built.iter().all(|(_, package)| packages.contains(*package)),
            "{command}"
        );
        let artifact = |(profile, package): &(&str, &str)| {
            format!("target/wasm32-wasip2/{profile}/{}.wasm", package.replace('-', "_"))
        };
        let artifacts: Vec<String> = built.iter().map(artifact).collect();
        let mut wanted = vec![component["source"].as_str().unwrap().to_owned()];
        for (interface, dependency) in
            component.get("dependencies").and_then(toml::Value::as_table).into_iter().flatten()
        {
            let wit = read("wit/policy.wit");
            let (package, version) = interface.split_once('@').unwrap();
            let (package, _) = package.split_once('/').unwrap();
            assert!(wit.contains(&format!("package {package}@{version};")), "{interface}");
            wanted.push(dependency["path"].as_str().unwrap().to_owned());
        }
        assert_eq!(wanted, artifacts, "{name}: what is run is what is built");
        for file in component.get("files").and_then(toml::Value::as_array).into_iter().flatten() {
            read(file["source"].as_str().unwrap());
        }
    }
    for trigger in manifest["trigger"]["http"].as_array().unwrap() {
        assert!(components.contains_key(trigger["component"].as_str().unwrap()));
    }
}

#[test]
fn the_mounted_configuration_reaches_only_hosts_that_are_allowed() {
    let manifest = manifest();
    let gate = &manifest["component"]["gate"];
    let allowed: Vec<&str> =
        gate["allowed_outbound_hosts"].as_array().unwrap().iter().map(|h| h.as_str().unwrap()).collect();
    let config: toml::Table = read("examples/edge.toml").parse().unwrap();
    for (name, upstream) in config["upstreams"].as_table().unwrap() {
        let url = upstream["base_url"].as_str().unwrap();
        assert!(allowed.iter().any(|host| url.starts_with(host)), "{name}: {url} is not among {allowed:?}");
        let host = url.split("://").nth(1).unwrap().split('.').next().unwrap();
        assert!(manifest["component"].as_table().unwrap().contains_key(host), "{host} is no component");
    }
}

#[test]
fn every_variable_is_defined_and_credentials_are_secret() {
    let manifest = manifest();
    let defined = manifest["variables"].as_table().unwrap();
    for (name, value) in manifest["component"]["gate"]["variables"].as_table().unwrap() {
        assert_eq!(value.as_str().unwrap(), format!("{{{{ {name} }}}}"));
        assert!(defined.contains_key(name), "{name}");
    }
    for (name, variable) in defined {
        let is_secret = variable.get("secret").is_some_and(|secret| secret.as_bool() == Some(true));
        assert_eq!(is_secret, name.ends_with("_key") || name.ends_with("_url"), "{name}");
    }
}
