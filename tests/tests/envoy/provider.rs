//! A provider that answers every request with what was held for it, and remembers whom.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use tollgate_tests::provider::wait_until_read;
use tollgate_tests::wire::Wire;

/// A running provider.
pub struct Provider {
    pub address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    /// The ids of the exchanges that came.
    served: Vec<String>,
    /// Nobody is answered until this is false.
    waits: bool,
}

impl Provider {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<(Mutex<State>, Condvar)>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || answer_all(Wire::new(stream), &shared));
            }
        });
        Self { address, state }
    }

    pub fn served(&self) -> Vec<String> {
        self.state.0.lock().unwrap().served.clone()
    }

    pub fn wait(&self, waits: bool) {
        self.state.0.lock().unwrap().waits = waits;
        self.state.1.notify_all();
    }
}

fn answer_all(mut wire: Wire, (state, changed): &(Mutex<State>, Condvar)) {
    const PLAIN: &str = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":10}}"#;
    while let Some(request) = wire.request() {
        let id = request.header("x-request-id").unwrap_or_default().to_owned();
        state.lock().unwrap().served.push(id);
        changed.notify_all();
        drop(changed.wait_while(state.lock().unwrap(), |state| state.waits).unwrap());
        let answer = if request.text().contains("\"stream\":true") {
            if stream(&mut wire).is_err() {
                return;
            }
            "0\r\n\r\n".to_owned()
        } else {
            let length = PLAIN.len();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{PLAIN}"
            )
        };
        if wire.stream().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Events one by one, each once the one before was read.
fn stream(wire: &mut Wire) -> std::io::Result<()> {
    const HEAD: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    const DELTA: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"and so on \"}}]}\n\n";
    wire.stream().write_all(HEAD.as_bytes())?;
    for text in [DELTA; 40].into_iter().chain(["data: [DONE]\n\n"]) {
        wire.stream().write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())?;
        wait_until_read(wire.stream());
    }
    Ok(())
}
