//! `examples/envoy/envoy.yaml` in the real Envoy: as it is, but for where this build of the module is, and for a provider on the
//! loopback.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use serde_json::json;
use tollgate_tests::client;
use tollgate_tests::envoy::{PLUGIN, TOKEN, listener, program};
use tollgate_tests::programs::{folder, until};
use tollgate_tests::vector::Request;
use tollgate_tests::wire::Wire;

/// The example, each of these texts in it replaced by another.
fn example(changes: &[(&str, &str)]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let example = fs::read_to_string(root.join("examples/envoy/envoy.yaml")).unwrap();
    let module = ("target/wasm32-wasip1/module/tollgate_envoy.wasm", PLUGIN);
    [&[module], changes].concat().iter().fold(example, |example, (text, other)| {
        assert!(example.contains(text), "the example has no {text:?}");
        example.replace(text, other)
    })
}

#[test]
fn it_is_valid_with_either_ledger() {
    let folder = folder();
    let file = folder.path().join("envoy.yaml");
    let (here, there) = (example(&[]), example(&[("#~ ", "")]));
    assert!(there.contains("\n    - name: ledger.example\n"));
    for config in [here, there] {
        fs::write(&file, config).unwrap();
        let mut envoy = Command::new(program());
        envoy.args(["--mode", "validate", "-l", "warning", "-c"]).arg(&file);
        envoy.env("OPENAI_API_KEY", "sk-none").env("TOLLGATE_LEDGER_TOKEN", TOKEN);
        let told = envoy.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        assert!(told.status.success() && out.contains("OK"), "{out}{err}");
    }
}

/// All at once, each once: none is answered before all of them are here.
const CLIENTS: usize = 40;
/// So many of the first tries fail: more than Envoy tries again at once if it is not told otherwise, which is three; fewer than
/// open the policy's breaker.
const FAILURES: usize = 4;

#[test]
fn it_answers_and_tries_many_again_at_once() {
    let provider = Arc::new(Provider { all_are_here: Barrier::new(CLIENTS), credentials: Mutex::default() });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let upstream = Arc::clone(&provider);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (upstream, stream) = (Arc::clone(&upstream), stream.unwrap());
            thread::spawn(move || upstream.serve(Wire::new(stream)));
        }
    });
    let (folder, provider_at) = (folder(), format!("address: 127.0.0.1, port_value: {port} "));
    let changed = example(&[
        ("address: 127.0.0.1, port_value: 9901 ", "address: 127.0.0.1, port_value: 0 "),
        ("address: 127.0.0.1, port_value: 8080 ", "address: 127.0.0.1, port_value: 0 "),
        ("address: api.openai.com, port_value: 443 ", &provider_at),
    ]);
    let envoy = Envoy::start(folder.path(), &without_tls(&changed));

    let asked = json!({
        "headers": ["authorization: Bearer tg_alice", "content-type: application/json"],
        "body": {"json": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}},
    });
    let request: Arc<Request> = Arc::new(serde_json::from_value(asked).unwrap());
    let ask = |_| {
        let (request, door) = (Arc::clone(&request), envoy.door);
        thread::spawn(move || client::ask(door, &request).unwrap())
    };
    let clients: Vec<_> = (0..CLIENTS).map(ask).collect();
    let answers: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    for answer in &answers {
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    let again = answers.iter().filter(|answer| answer.header("x-tollgate-attempts") == Some("2"));
    assert_eq!(again.count(), FAILURES);
    assert_eq!(*provider.credentials.lock().unwrap(), vec!["Bearer sk-of-openai"; CLIENTS + FAILURES]);
    let said = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(!said.contains("credential") && !said.contains("route"), "{said}");
}

/// The example speaks TLS with its upstream, by what the machine trusts.
fn without_tls(example: &str) -> String {
    let (before, rest) = example.split_once("      transport_socket:\n").unwrap();
    let (tls, after) = rest.split_once("      # Whether a connection").unwrap();
    assert!(tls.contains("UpstreamTlsContext") && tls.contains("api.openai.com"), "{tls}");
    format!("{before}      # Whether a connection{after}")
}

/// What the requests to it have as credentials, as they come.
struct Provider {
    all_are_here: Barrier,
    credentials: Mutex<Vec<String>>,
}

impl Provider {
    fn serve(&self, mut wire: Wire) {
        while let Some(request) = wire.request() {
            let place = {
                let mut credentials = self.credentials.lock().unwrap();
                credentials.push(request.header("authorization").unwrap_or_default().to_owned());
                credentials.len()
            };
            if place <= CLIENTS {
                self.all_are_here.wait();
            }
            let answer = json!({
                "id": "c1", "object": "chat.completion", "choices": [],
                "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
            });
            let (status, body) =
                if place <= FAILURES { ("500 No", "{}".into()) } else { ("200 OK", answer.to_string()) };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}",
                body.len()
            );
            std::io::Write::write_all(wire.stream(), format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        }
    }
}

/// An Envoy with the example, until this is dropped.
struct Envoy {
    child: Child,
    /// Where clients come in.
    door: SocketAddr,
}

impl Envoy {
    fn start(folder: &Path, config: &str) -> Self {
        let (file, admin, log) = (folder.join("envoy.yaml"), folder.join("admin"), folder.join("log"));
        fs::write(&file, config).unwrap();
        let mut command = Command::new(program());
        command.env_clear().env("OPENAI_API_KEY", "sk-of-openai").stdin(Stdio::null());
        command
            .stderr(File::create(&log).unwrap())
            .arg("--admin-address-path")
            .arg(&admin)
            .arg("-c")
            .arg(&file);
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        // From here on it is stopped, whatever happens.
        let mut envoy = Self { child: command.spawn().unwrap(), door: nowhere };
        let admin: SocketAddr = until("Envoy's admin address", || {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            assert!(envoy.child.try_wait().unwrap().is_none(), "Envoy has ended: {}", said());
            fs::read_to_string(&admin).ok()?.trim().parse().ok()
        });
        envoy.door = until("Envoy's listener", || listener(admin, "door"));
        envoy
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
