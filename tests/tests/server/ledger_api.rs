//! The ledger that a server keeps for other shells, over its own listener: one budget for all of them, a credential of
//! its own, and nothing said to those who have none.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tollgate_ledger::{Charge, Claim, Entry, Hold, Outcome, Reservation, Rule, Settled, Unavailable};
use tollgate_remote::Call;
use tollgate_tests::instant::now_ms;
use tollgate_tests::programs::{Serving, folder, tollgate, until};
use tollgate_tests::wire::{Message, Wire};

const TOKEN: &str = "shells-secret-0123456789";
const TABLES: &str = "[ledger_api]\nlisten = \"127.0.0.1:0\"\ntoken = { env = \"LEDGER_TOKEN\" }\n\
                      [admin]\nlisten = \"127.0.0.1:0\"\n";
const DAY_MS: u64 = 86_400_000;

/// When all of this happens. The server closes by its own clock what is past, so it is the time of that clock.
static NOW: LazyLock<u64> = LazyLock::new(now_ms);

fn serve(place: &std::path::Path, store: &str) -> Serving {
    let config = tollgate_tests::vector::Config::Shared("basic".into()).text();
    let file = place.join("tollgate.toml");
    fs::write(&file, format!("{config}{TABLES}{store}")).unwrap();
    let mut command = tollgate(place);
    command.env("LEDGER_TOKEN", TOKEN);
    Serving::run(command, &file)
}

fn posted(to: SocketAddr, path: &str, authorization: &str, body: &[u8]) -> Message {
    let mut wire = Wire::new(TcpStream::connect(to).unwrap());
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: ledger.test\r\n{authorization}content-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    wire.stream().write_all(&[head.as_bytes(), body].concat()).unwrap();
    wire.response().unwrap()
}

fn ask<T: DeserializeOwned>(to: SocketAddr, call: &Call<T>) -> Result<T, Unavailable> {
    let answer = posted(to, call.path, &format!("authorization: Bearer {TOKEN}\r\n"), &call.body);
    call.read(answer.status(), &answer.body)
}

fn entry(number: usize) -> Arc<Entry> {
    let request_id = format!("edge-{number}");
    let (key, model, currency) = ("alice".into(), "gpt-4o".into(), "JPY".into());
    Arc::new(Entry { request_id, at_ms: *NOW, key, model, currency, ..Entry::default() })
}

fn budget(limit: u64, amount: u64) -> Claim {
    let rule = Rule::Budget { limit, start_ms: *NOW - DAY_MS, end_ms: *NOW + DAY_MS };
    Claim { cell: "budget:alice:JPY:today".into(), rule, amount }
}

fn reserve(to: SocketAddr, number: usize, claims: &[Claim]) -> Reservation {
    let hold = Hold { entry: &entry(number), claims, lease_ms: 600_000 };
    ask(to, &Call::reserve(hold, *NOW)).unwrap()
}

#[test]
fn nobody_comes_in_without_the_credential_of_shells() {
    let place = folder();
    let serving = serve(place.path(), "");
    let shells = serving.shells.unwrap();
    let body = Call::find(&[0; 32]).body;
    for authorization in ["", "authorization: Bearer wrong\r\n", "authorization: Bearer tg_alice\r\n"] {
        let answer = posted(shells, "/ledger/v1/find", authorization, &body);
        assert_eq!(answer.status(), 401, "{authorization}: {}", answer.text());
    }
    let known = format!("authorization: Bearer {TOKEN}\r\n");
    assert_eq!(posted(shells, "/ledger/v1/find", &known, &body).text(), "null");
    assert_eq!(posted(shells, "/ledger/v1/find", &known, &vec![b' '; 100_000]).status(), 413);
    assert_eq!(posted(shells, "/ledger/v1/find", &known, b"{").status(), 400);
    assert_eq!(posted(shells, "/admin/v1/keys", &known, b"{}").status(), 404);
    // Nor is there a ledger where clients and operators are.
    for other in [serving.address, serving.admin.unwrap()] {
        assert!(matches!(posted(other, "/ledger/v1/find", &known, &body).status(), 401 | 403 | 404));
    }
    serving.stop();
}

/// Invariant: never over-admit.
#[test]
fn of_many_shells_at_once_exactly_the_budget_is_admitted() {
    const SHELLS: usize = 200;
    const ADMITTED: usize = 37;
    let place = folder();
    let serving = serve(place.path(), "[ledger]\nfile = \"books.db\"\n");
    let to = serving.shells.unwrap();
    let claims = [budget(ADMITTED as u64 * 10, 10)];
    let granted: Vec<usize> = std::thread::scope(|scope| {
        let shells: Vec<_> = (0..SHELLS)
            .map(|number| {
                let claims = &claims;
                scope.spawn(move || matches!(reserve(to, number, claims), Reservation::Granted { .. }))
            })
            .collect();
        let granted = shells.into_iter().map(|shell| shell.join().unwrap());
        granted.enumerate().filter(|(_, granted)| *granted).map(|(number, _)| number).collect()
    });
    assert_eq!(granted.len(), ADMITTED);
    for number in &granted {
        let entry = Entry { outcome: Outcome::Completed, charge: 10, ..Entry::clone(&entry(*number)) };
        let settle = Call::settle(&entry, Charge::Amounts(&[10]), *NOW);
        assert_eq!(ask(to, &settle), Ok(Settled::Done));
        assert_eq!(ask(to, &settle), Ok(Settled::Already), "settle once");
    }
    // What was answered is on the disk: whoever kills the server loses none of it.
    serving.kill();
    let again = serve(place.path(), "[ledger]\nfile = \"books.db\"\n");
    let to = again.shells.unwrap();
    assert!(matches!(reserve(to, SHELLS, &claims), Reservation::Limited { claim: 0, .. }));
    let rows = until("the rows", || Some(again.rows()).filter(|rows| rows.len() == ADMITTED));
    assert!(rows.iter().all(|row| row.charge == 10 && row.outcome == Outcome::Completed));
    again.stop();
}

#[test]
fn a_key_made_at_run_time_is_found_with_the_scopes_around_it() {
    let place = folder();
    let serving = serve(place.path(), "[ledger]\nfile = \"books.db\"\n");
    let admin = serving.admin.unwrap();
    let put = |method: &str, path: &str, body: &str| {
        let mut wire = Wire::new(TcpStream::connect(admin).unwrap());
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        wire.stream().write_all((head + body).as_bytes()).unwrap();
        wire.response().unwrap().text()
    };
    put("PUT", "/admin/v1/scopes/acme", r#"{"requests":"100/1m"}"#);
    let made: serde_json::Value =
        serde_json::from_str(&put("POST", "/admin/v1/keys", r#"{"name":"acme/ml/carol","tags":["gold"]}"#))
            .unwrap();
    let secret = made["secret"].as_str().unwrap();
    let digest = Sha256::digest(secret).into();
    let found = ask(serving.shells.unwrap(), &Call::find(&digest)).unwrap().unwrap();
    assert_eq!((&*found.key.name, found.key.tags), ("acme/ml/carol", vec!["gold".to_owned()]));
    assert_eq!(found.scopes[0].limits.requests.as_deref(), Some("100/1m"));
    serving.stop();
}
