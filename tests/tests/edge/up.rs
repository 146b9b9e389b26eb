//! The application under the real Spin, where there is one: in the variable `SPIN`, or on the `PATH`.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tollgate_tests::client;
use tollgate_tests::vector::Request;

/// The first build takes its time.
const PATIENCE: Duration = Duration::from_secs(900);

/// Spin, until this is dropped.
///
/// It serves by another process, which would outlive it if it were killed: it is told to stop, and stops both.
struct Spin(Child);

impl Drop for Spin {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

#[test]
fn spin_up_alone_answers_with_a_stream() {
    let spin = std::env::var("SPIN").unwrap_or_else(|_| "spin".to_owned());
    if Command::new(&spin).arg("--version").stdout(Stdio::null()).status().is_err() {
        // Written past the test runner, which hides what a test that passes prints.
        writeln!(std::io::stderr(), "NOT RUN: `spin up` needs a `spin` on the PATH, or its path in SPIN")
            .unwrap();
        return;
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let state = tempfile::tempdir().unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spin.toml");
    let mut command = Command::new(&spin);
    command.args(["up", "--build", "--quiet", "--listen"]).arg(address.to_string());
    command.arg("--from").arg(&manifest).arg("--state-dir").arg(state.path());
    let mut running = Spin(command.spawn().unwrap());
    wait_for(address, &mut running);

    let body = r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
    let headers = ["authorization: Bearer tg_demo", "content-type: application/json"];
    let request: Request =
        serde_json::from_value(serde_json::json!({ "headers": headers, "body": body })).unwrap();
    for left in ["99", "98"] {
        let answer = client::ask(address, &request).unwrap();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status(), 200, "{text}");
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some(left));
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }
}

fn wait_for(address: SocketAddr, spin: &mut Spin) {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(spin.0.try_wait().unwrap().is_none(), "spin ended");
        assert!(begun.elapsed() < PATIENCE, "spin does not listen");
        std::thread::sleep(Duration::from_millis(100));
    }
}
