//! The plugin in a real Envoy with its books at a Tollgate server: one budget for all, whoever dies, and what passes while
//! the server is away.
//!
//! Invariants: never over-admit, no phantom refusal, settle once, conservation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_ledger::{Entry, Outcome};
use tollgate_tests::client;
use tollgate_tests::crowd::{self, COST};
use tollgate_tests::envoy::{Begun, LEDGER, Process, Stage, TOKEN, TOKEN_VARIABLE};
use tollgate_tests::programs::{Serving, folder, tollgate, until};
use tollgate_tests::vector::Request;
use tollgate_tests::wire::Wire;

use crate::provider::Provider;

/// A server on a file, which other shells find always at the same address.
struct Host {
    place: TempDir,
    shells: SocketAddr,
    config: String,
}

impl Host {
    fn new(config: &dyn Fn(&str) -> String) -> Self {
        let shells = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let tables = format!(
            "[ledger_api]\nlisten = \"{shells}\"\ntoken = {{ env = \"{TOKEN_VARIABLE}\" }}\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n[ledger]\nlease = \"3s\"\n"
        );
        Self { place: folder(), shells, config: config(&tables) }
    }

    fn start(&self) -> Serving {
        let file = self.place.path().join("tollgate.toml");
        fs::write(&file, &self.config).unwrap();
        let mut command = tollgate(self.place.path());
        command.env(TOKEN_VARIABLE, TOKEN);
        Serving::run(command, &file)
    }
}

/// What the plugin is told of its books.
fn remote(more: &str) -> String {
    format!(
        "[ledger]\nstore = \"remote\"\nurl = \"http://{LEDGER}\"\ntoken = {{ env = \"{TOKEN_VARIABLE}\" }}\n\
         lease = \"3s\"\n{more}\n"
    )
}

/// An Envoy whose books are with the server at this address.
fn envoy(config: &str, provider: &Provider, ledger: SocketAddr) -> (Process, SocketAddr) {
    let mut process = Process::start(2, false);
    let upstreams = [("main".to_owned(), provider.address, "10s".to_owned())];
    let stage = Stage { name: "s1", config, upstreams: &upstreams, ledger: Some(ledger), ..Stage::default() };
    match process.show(&stage) {
        Begun::At(address) => (process, address),
        Begun::Refused => panic!("the configuration is refused"),
    }
}

fn chat(secret: &str, more: &Value) -> Request {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let authorization = format!("authorization: Bearer {secret}");
    serde_json::from_value(json!({ "headers": [authorization], "body": body.to_string() })).unwrap()
}

fn plain(key: &str) -> Request {
    chat(&crowd::secret(key), &json!({"max_tokens": 10}))
}

/// Status and request id of an answer, if one came whole.
fn asked(to: SocketAddr, request: &Request) -> Option<(u16, String)> {
    let mut wire = Wire::new(TcpStream::connect(to).ok()?);
    wire.stream().write_all(&client::bytes(request, to)).ok()?;
    let answer = wire.response().filter(|answer| !answer.cut)?;
    Some((answer.status(), answer.header("x-request-id").unwrap_or_default().to_owned()))
}

fn status(to: SocketAddr, request: &Request) -> u16 {
    asked(to, request).unwrap().0
}

/// The rows of the books, once there are so many and none of their holds is open.
fn rows(serving: &Serving, least: usize) -> Vec<Entry> {
    until("a row for each", || Some(serving.rows()).filter(|rows| rows.len() >= least))
}

#[test]
fn two_envoys_and_a_server_admit_exactly_the_budget_of_many_at_once() {
    const REQUESTS: usize = 120;
    const ADMITTED: u64 = 37;
    let provider = Provider::start();
    let keys = [("alice", format!("budget = \"{}\"", crowd::budget(ADMITTED)))];
    let host = Host::new(&|tables| crowd::config(provider.address, &keys, tables));
    let serving = host.start();
    let config = crowd::config(provider.address, &keys, &remote("timeout = \"20s\""));
    let (one, first) = envoy(&config, &provider, host.shells);
    let (other, second) = envoy(&config, &provider, host.shells);
    let asked = ("alice", &plain("alice"));
    crowd::exactly_the_budget_is_admitted(&serving, [first, second], asked, (REQUESTS, ADMITTED));
    assert_eq!(provider.served().len(), ADMITTED as usize, "who is refused reaches no upstream");
    drop((one, other));
    serving.stop();
}

/// Killed and started again under load, an Envoy loses nothing that its clients or the provider saw: what it could not
/// settle is charged by the lease.
#[test]
fn an_envoy_killed_under_load_loses_no_charge_and_makes_none_twice() {
    const BUDGET: u64 = 150;
    const CLIENTS: usize = 8;
    let provider = Provider::start();
    let keys = [("alice", format!("budget = \"{}\"", crowd::budget(BUDGET)))];
    let host = Host::new(&|tables| crowd::config(provider.address, &keys, tables));
    let serving = host.start();
    let config = crowd::config(provider.address, &keys, &remote("timeout = \"20s\""));
    let place = Mutex::new(envoy(&config, &provider, host.shells));
    let answered: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut answered = Vec::new();
                    loop {
                        let to = place.lock().unwrap().1;
                        match asked(to, &plain("alice")) {
                            Some((200, id)) => answered.push(id),
                            Some((429, _)) => return answered,
                            // It was killed just then.
                            None | Some((500.., _)) => thread::yield_now(),
                            Some(other) => panic!("{other:?}"),
                        }
                    }
                })
            })
            .collect();
        for killed_at in [40, 90] {
            until("some load", || (provider.served().len() >= killed_at).then_some(()));
            let mut place = place.lock().unwrap();
            let again = envoy(&config, &provider, host.shells);
            std::mem::replace(&mut *place, again).0.kill();
        }
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    // Whatever was cut is charged when its lease has passed, and nothing is open any more.
    let served: BTreeSet<String> = provider.served().into_iter().collect();
    let rows = until("the end of all holds", || {
        let rows = serving.rows();
        let charged: u64 = rows.iter().map(|row| row.charge).sum();
        // What is spent counts what is held.
        (rows.len() >= served.len() && charged == serving.spent("alice")).then_some(rows)
    });
    let by_id: BTreeMap<&str, &Entry> = rows.iter().map(|row| (row.request_id.as_str(), row)).collect();
    assert_eq!(by_id.len(), rows.len(), "settle once");
    for id in answered.iter().chain(&served) {
        assert_eq!(
            by_id.get(id.as_str()).map(|row| row.charge),
            Some(COST),
            "{id}: {:?}",
            by_id.get(id.as_str())
        );
    }
    let not_served = rows.iter().filter(|row| !served.contains(&row.request_id));
    let unexplained: Vec<_> =
        not_served.filter(|row| row.outcome != Outcome::Lost && row.charge > 0).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
    assert!(serving.spent("alice") <= BUDGET * COST, "never over-admit");
    serving.stop();
}

/// Without the server a budget is closed, and a rate limit open by its share. What was spent meanwhile comes to the
/// server's books when it is back.
#[test]
fn while_the_server_is_away_no_money_is_spent_and_rates_go_by_their_share() {
    let provider = Provider::start();
    let keys = [
        ("acme/money", format!("budget = \"{}\"", crowd::budget(100))),
        ("acme/rate", "requests = \"8/1h\"".to_owned()),
    ];
    let host = Host::new(&|tables| crowd::config(provider.address, &keys, tables).replace("3s", "10m"));
    let serving = host.start();
    let config = crowd::config(provider.address, &keys, &remote("").replace("3s", "10m"));
    let (mut process, address) = envoy(&config, &provider, host.shells);

    // One of each is under way when the server goes.
    provider.wait(true);
    let under_way: Vec<_> = ["acme/money", "acme/rate"]
        .map(|key| thread::spawn(move || asked(address, &plain(key)).unwrap()))
        .into_iter()
        .collect();
    until("both at the provider", || (provider.served().len() == 2).then_some(()));
    serving.kill();
    provider.wait(false);
    let under_way: Vec<(u16, String)> = under_way.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(under_way.iter().all(|(status, _)| *status == 200), "{under_way:?}");

    let refused = client::ask(address, &plain("acme/money")).unwrap();
    assert_eq!(refused.status(), 503, "{}", refused.text());
    assert!(refused.text().contains("ledger_unavailable"), "{}", refused.text());
    let by_share: Vec<(u16, String)> = (0..3).map(|_| asked(address, &plain("acme/rate")).unwrap()).collect();
    assert_eq!(by_share.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [200, 200, 429]);
    process.wait_for("s1", |said| said.iter().find(|line| line.contains("not settled yet")).cloned());

    let serving = host.start();
    let rows = until("the rows of all that were answered", || {
        let rows = serving.rows();
        let done = rows.iter().filter(|row| row.outcome == Outcome::Completed).count();
        (done == 4).then_some(rows)
    });
    for (status, id) in under_way.iter().chain(&by_share[..2]) {
        let row = rows.iter().find(|row| row.request_id == *id).unwrap();
        assert_eq!((row.status, row.charge), (*status, COST), "{row:?}");
    }
    assert_eq!(serving.spent("acme%2Fmoney"), COST);
    // And the budget is open again.
    assert_eq!(status(address, &plain("acme/money")), 200);
    drop(process);
    serving.stop();
}

#[test]
fn keys_made_at_run_time_pass_with_their_limits_and_end_when_they_are_revoked() {
    let provider = Provider::start();
    let keys = [("alice", String::new())];
    let host = Host::new(&|tables| crowd::config(provider.address, &keys, tables));
    let serving = host.start();
    let config = crowd::config(provider.address, &keys, &remote("timeout = \"20s\""));
    let (process, address) = envoy(&config, &provider, host.shells);
    let operate = |method: &str, path: &str, body: &Value| -> Value {
        let (admin, body) = (serving.admin.unwrap(), body.to_string());
        let mut wire = Wire::new(TcpStream::connect(admin).unwrap());
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        wire.stream().write_all((head + &body).as_bytes()).unwrap();
        let answer = wire.response().unwrap();
        assert!(answer.status() < 300, "{}", answer.text());
        serde_json::from_slice(&answer.body).unwrap_or_default()
    };
    assert_eq!(status(address, &plain("nobody")), 401);
    let made =
        operate("POST", "/admin/v1/keys", &json!({"name": "acme/ml/carol", "limits": {"requests": "2/1h"}}));
    let carol = chat(made["secret"].as_str().unwrap(), &json!({"max_tokens": 10}));
    let statuses: Vec<u16> = (0..3).map(|_| status(address, &carol)).collect();
    assert_eq!(statuses, [200, 200, 429]);
    let rows = rows(&serving, 2);
    assert!(rows.iter().all(|row| row.key == "acme/ml/carol"), "{rows:?}");
    operate("POST", "/admin/v1/keys/acme%2Fml%2Fcarol/revoke", &json!({}));
    until("the end of a revoked key", || (status(address, &carol) == 401).then_some(()));
    drop(process);
    serving.stop();
}

/// A stream waits until the server holds its next slice, and ends in the model's own way where there is none.
#[test]
fn a_stream_is_raised_at_the_server_and_ends_where_its_budget_does() {
    let provider = Provider::start();
    // Of 40 events at two tokens or more, one slice of 32 is not enough; two are all that the small budget has.
    let keys = [
        ("large", format!("budget = \"{}\"", crowd::budget(1_000))),
        ("small", "budget = \"0.0007 JPY/month\"".to_owned()),
    ];
    let slices = |tables: &str| {
        crowd::config(provider.address, &keys, tables)
            .replace("name = \"m\"\n", "name = \"m\"\noutput_slice = 32\n")
    };
    let host = Host::new(&slices);
    let serving = host.start();
    let (mut process, address) = envoy(&slices(&remote("timeout = \"20s\"")), &provider, host.shells);
    let stream = |key: &str| {
        let request = chat(&crowd::secret(key), &json!({"stream": true}));
        let answer = client::ask(address, &request).unwrap();
        assert_eq!((answer.status(), answer.cut), (200, false), "{}", answer.text());
        answer.text()
    };
    let whole = stream("large");
    assert_eq!(whole.matches("and so on").count(), 40, "{whole}");
    let short = stream("small");
    assert!(short.contains("\"finish_reason\":\"length\"") && short.ends_with("data: [DONE]\n\n"), "{short}");
    assert!(short.matches("and so on").count() < 40, "{short}");
    process.wait_for("s1", |said| said.iter().find(|line| line.contains("raises")).cloned());
    let rows = until("both rows", || Some(serving.rows()).filter(|rows| rows.len() == 2));
    assert!(rows.iter().all(|row| row.outcome == Outcome::Completed && row.charge > 0), "{rows:?}");
    serving.stop();
}

/// Where Envoy has no such cluster, or nobody at it, nothing passes and the module lives on.
#[test]
fn a_ledger_that_envoy_does_not_know_refuses_and_does_not_end_the_module() {
    let provider = Provider::start();
    let keys = [("alice", format!("budget = \"{}\"", crowd::budget(9)))];
    let config = crowd::config(provider.address, &keys, &remote("").replace(LEDGER, "elsewhere.test"));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (process, address) = envoy(&config, &provider, nobody);
    for key in ["alice", "alice", "made-at-run-time"] {
        let refused = client::ask(address, &plain(key)).unwrap();
        assert!(refused.text().contains("ledger_unavailable"), "{}", refused.text());
    }
    assert_eq!(provider.served(), [""; 0]);
    drop(process);
}

/// A configuration that cannot be kept is refused, with its place.
#[test]
fn a_credential_that_is_missing_and_books_in_redis_are_problems() {
    let provider = Provider::start();
    let mut process = Process::start(1, false);
    let keys = [("alice", String::new())];
    let redis = "[ledger]\nstore = \"redis\"\nurl = { env = \"REDIS_URL\" }\n";
    for (number, (table, place)) in [
        (remote("").replace(TOKEN_VARIABLE, "NOT_THERE"), "ledger.token"),
        (redis.to_owned(), "ledger.store"),
    ]
    .into_iter()
    .enumerate()
    {
        let (name, config) = (format!("s{number}"), crowd::config(provider.address, &keys, &table));
        let stage = Stage { name: &name, config: &config, ..Stage::default() };
        assert!(matches!(process.show(&stage), Begun::Refused), "{table}");
        process.wait_for(&name, |said| {
            said.iter().find(|line| line.starts_with("problem: ") && line.contains(place)).cloned()
        });
    }
}
