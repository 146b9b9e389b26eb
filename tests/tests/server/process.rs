//! The `tollgate` program as an operator meets it: a bad configuration, a missing credential, a reload, a drain.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::mpsc;
use std::thread;

use tollgate_tests::programs::{Serving, folder, get, tollgate};
use tollgate_tests::vector::Config;
use tollgate_tests::wire::Wire;

const ALICE: &str = "host: gate.test\r\nauthorization: Bearer tg_alice\r\n";
const STREAM: &str = r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
const FIRST: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n";
const LAST: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\ndata: [DONE]\n\n";

/// A configuration file of this test's own.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.toml", std::process::id()));
    fs::write(&path, text).unwrap();
    path
}

fn basic() -> String {
    Config::Shared("basic".into()).text()
}

fn output(arguments: &[&str], config: &Path) -> Output {
    tollgate(folder().path()).args(arguments).arg(config).output().unwrap()
}

/// Begins a stream.
fn stream(serving: &Serving) -> Wire {
    let mut wire = Wire::new(TcpStream::connect(serving.address).unwrap());
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\n{ALICE}content-length: {}\r\n\r\n", STREAM.len());
    wire.stream().write_all((head + STREAM).as_bytes()).unwrap();
    wire
}

fn models(serving: &Serving) -> String {
    get(serving.address, "/v1/models", "authorization: Bearer tg_alice\r\n").text()
}

/// A provider that sends the first half of a stream, and the second when it is told to.
struct Halting {
    address: SocketAddr,
    go_on: mpsc::Sender<()>,
}

impl Halting {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (go_on, told) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut wire = Wire::new(stream.unwrap());
                wire.request().unwrap();
                let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                wire.stream().write_all((head.to_owned() + &chunk(FIRST)).as_bytes()).unwrap();
                if told.recv().is_err() {
                    return;
                }
                wire.stream().write_all((chunk(LAST) + "0\r\n\r\n").as_bytes()).unwrap();
            }
        });
        Self { address, go_on }
    }

    fn place(&self, config: &str) -> String {
        config.replace("http://main.test", &format!("http://{}", self.address))
    }
}

/// Reads a stream up to its first event; the rest is for later.
fn first_event(wire: &mut Wire) {
    let seen = wire.response_until(|body| body.len() >= FIRST.len()).unwrap();
    assert_eq!((seen.status(), seen.text().as_str()), (200, FIRST));
}

/// The rest of a chunked body whose beginning was read.
fn rest(mut wire: Wire) -> String {
    let mut rest = Vec::new();
    while !rest.ends_with(b"0\r\n\r\n") {
        let mut byte = [0];
        let read = wire.stream().read(&mut byte).unwrap();
        assert!(read > 0, "the stream was cut after {}", String::from_utf8_lossy(&rest));
        rest.extend(byte);
    }
    String::from_utf8(rest).unwrap()
}

#[test]
fn a_sound_configuration_is_checked_without_serving() {
    let output = output(&["check"], &file("sound", &basic()));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn every_problem_of_a_bad_configuration_is_told_at_once_with_exit_code_78() {
    let bad = "[server]\nlisten = \"nowhere\"\nbody_limt = 5\n[upstreams.main]\napi_key = \"sk-secret\"\n\
               [[models]]\nname = \"m\"\nprice = \"free\"\n[[keys]]\nname = \"k\"\ndigest = \"tg_secret\"\n[extra]\n";
    let path = file("bad", bad);
    for arguments in [&["check"][..], &["serve", "--config"]] {
        let output = output(arguments, &path);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{told}");
        for (line, place) in [
            (2, "server.listen"),
            (3, "server.body_limt"),
            (4, "upstreams.main.base_url"),
            (5, "upstreams.main.api_key"),
            (6, "models[0].targets"),
            (11, "keys[0].digest"),
            (12, "extra"),
        ] {
            assert!(told.contains(place), "{place}: {told}");
            assert!(told.contains(&format!("line {line}")), "line {line}: {told}");
        }
        assert!(!told.contains("sk-secret") && !told.contains("tg_secret"), "{told}");
    }
}

#[test]
fn broken_toml_and_a_missing_file_are_told() {
    let broken = output(&["check"], &file("broken", "[upstreams.main\n"));
    assert_eq!(broken.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&broken.stderr).contains("line 1"), "{broken:?}");
    let missing = output(&["check"], Path::new("/nowhere/tollgate.toml"));
    assert_ne!(missing.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nowhere/tollgate.toml"), "{missing:?}");
}

#[test]
fn a_missing_or_empty_credential_is_refused_by_its_name() {
    let config = basic().replace("/v1\"\n", "/v1\"\napi_key = { env = \"MAIN_KEY\" }\n");
    let path = file("credential", &config);
    for value in [None, Some(""), Some("  ")] {
        let folder = folder();
        let mut command = tollgate(folder.path());
        command.args(["serve", "--config"]).arg(&path);
        if let Some(value) = value {
            command.env("MAIN_KEY", value);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{value:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("MAIN_KEY"), "{value:?}: {output:?}");
    }
}

#[test]
fn a_new_key_is_shown_once_with_its_digest() {
    let output = tollgate(folder().path()).args(["keys", "new", "carol"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.split_whitespace().any(|word| word.starts_with("tg_") && word.len() > 40), "{text}");
    assert!(text.contains("digest = \"sha256:") && text.contains("name = \"carol\""), "{text}");
}

#[test]
fn sigterm_lets_streams_end_and_takes_no_more() {
    let provider = Halting::start();
    let serving = Serving::start(&file("drain", &provider.place(&basic())));
    let mut stream = stream(&serving);
    first_event(&mut stream);
    serving.signal("TERM");
    serving.wait_for("draining");
    assert!(TcpStream::connect(serving.address).is_err(), "a draining server takes no connection");
    provider.go_on.send(()).unwrap();
    assert!(rest(stream).contains("[DONE]"));
    let row = serving.wait_for("\"message\":\"exchange\"");
    assert!(row.contains("\"outcome\":\"completed\""), "{row}");
    assert_eq!(serving.exit_code(), Some(0));
}

#[test]
fn a_drain_that_takes_too_long_is_cut_and_settled() {
    let provider = Halting::start();
    let config = provider.place(&basic()) + "[server]\ndrain_timeout = \"300ms\"\n";
    let serving = Serving::start(&file("cut", &config));
    let mut stream = stream(&serving);
    first_event(&mut stream);
    serving.signal("TERM");
    let row = serving.wait_for("\"message\":\"exchange\"");
    assert!(row.contains("\"charge_nano\":30000"), "{row}");
    assert_eq!(serving.exit_code(), Some(0));
}

#[test]
fn a_changed_file_is_loaded_and_streams_go_on() {
    let provider = Halting::start();
    let before = provider.place(&basic());
    let path = file("reload", &before);
    let serving = Serving::start(&path);
    let mut stream = stream(&serving);
    first_event(&mut stream);

    fs::write(&path, before.replace("gpt-4o\"", "gpt-5\"")).unwrap();
    serving.wait_for("reloaded");
    let models = models(&serving);
    assert!(models.contains("\"gpt-5\"") && !models.contains("\"gpt-4o\""), "{models}");

    // It began with the model that is gone, and ends with it.
    provider.go_on.send(()).unwrap();
    assert!(rest(stream).contains("[DONE]"));
    let row = serving.wait_for("\"gen_ai.request.model\":\"gpt-4o\"");
    assert!(row.contains("\"outcome\":\"completed\""), "{row}");
}

#[test]
fn a_changed_file_with_a_problem_is_not_loaded_and_says_why() {
    let path = file("reload-bad", &basic());
    let serving = Serving::start(&path);
    fs::write(&path, basic().replace("price", "prize")).unwrap();
    let line = serving.wait_for("not reloaded");
    assert!(line.contains("prize") && line.contains("did you mean"), "{line}");
    assert!(models(&serving).contains("\"gpt-4o\""));
}

#[test]
fn sighup_loads_a_file_that_looks_unchanged() {
    let path = file("sighup", &basic());
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    let serving = Serving::start(&path);
    // Same length, same time: only the signal tells.
    fs::write(&path, basic().replace("name = \"gpt-4o\"", "name = \"gpt-5o\"")).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
    serving.signal("HUP");
    serving.wait_for("reloaded");
    assert!(models(&serving).contains("\"gpt-5o\""));
}

#[test]
fn a_refused_credential_is_an_alarm_in_the_log() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = basic().replace("http://main.test", &format!("http://{}", listener.local_addr().unwrap()));
    thread::spawn(move || {
        let mut wire = Wire::new(listener.accept().unwrap().0);
        wire.request().unwrap();
        let answer =
            b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        wire.stream().write_all(answer).unwrap();
    });
    let serving = Serving::start(&file("alarm", &config));
    let answer = stream(&serving).response().unwrap();
    assert_eq!(answer.status(), 502);
    let alarm = serving.wait_for("\"alarm\":\"upstream_credential\"");
    assert!(alarm.contains("\"level\":\"ERROR\"") && alarm.contains("\"upstream\":\"main\""), "{alarm}");
}

#[test]
fn the_log_holds_no_key_and_no_body() {
    let provider = Halting::start();
    let serving = Serving::start(&file("log", &provider.place(&basic())));
    let mut stream = stream(&serving);
    first_event(&mut stream);
    provider.go_on.send(()).unwrap();
    rest(stream);
    let row = serving.wait_for("\"message\":\"exchange\"");
    assert!(!row.contains("tg_alice") && !row.contains("Hel"), "{row}");
    assert_eq!(serving.get("/healthz").text(), "ok\n");
    assert_eq!(serving.get("/readyz").status(), 200);
}
