//! The scripted provider: real sockets on loopback, and every byte on them as the vector says.
//!
//! One listener for each upstream; an upstream that refuses connections has a port on which nobody listens. It
//! writes HTTP by hand, so that it can also write what is not HTTP, stop in the middle, or say nothing at all.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use tokio::net::TcpSocket;

use crate::outcome::Sent;
use crate::script::Script;
use crate::vector::{Answer, Ending};
use crate::walk::sorted;
use crate::wire::{Message, PATIENCE, Wire};

/// Request headers that a vector shows as received: those the policy lets through.
const SHOWN: [&str; 4] = ["openai-beta", "idempotency-key", "traceparent", "tracestate"];

/// The upstreams of one vector, listening until this is dropped.
pub struct Provider {
    addresses: BTreeMap<String, SocketAddr>,
    stage: Arc<Stage>,
    /// Ports on which nobody listens.
    _deaf: Vec<TcpSocket>,
}

struct Stage {
    script: Mutex<Script>,
    seen: Mutex<Vec<Sent>>,
    came: Condvar,
    /// What went wrong on the provider's side, which no gateway should bring about.
    complaints: Mutex<Vec<String>>,
    over: AtomicBool,
    in_steps: bool,
}

impl Provider {
    /// Starts the upstreams named, with this script.
    pub fn start(upstreams: &[String], provider: &BTreeMap<String, Vec<Answer>>) -> Self {
        Self::begin(upstreams, provider, false)
    }

    /// The same, but each piece of an answer waits until the one before was read: for a gateway that takes what has
    /// come together as one piece.
    pub fn start_in_steps(upstreams: &[String], provider: &BTreeMap<String, Vec<Answer>>) -> Self {
        Self::begin(upstreams, provider, true)
    }

    fn begin(upstreams: &[String], provider: &BTreeMap<String, Vec<Answer>>, in_steps: bool) -> Self {
        let stage = Arc::new(Stage {
            in_steps,
            script: Mutex::new(Script::new(provider)),
            seen: Mutex::default(),
            came: Condvar::new(),
            complaints: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let (mut addresses, mut deaf) = (BTreeMap::new(), Vec::new());
        for name in upstreams {
            let refuses =
                provider.get(name).is_some_and(|answers| answers.iter().any(|a| a.ending == Ending::Refuse));
            let address = if refuses {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
                let address = socket.local_addr().unwrap();
                deaf.push(socket);
                stage.script.lock().unwrap().next(name);
                address
            } else {
                listen(name.clone(), &stage)
            };
            addresses.insert(name.clone(), address);
        }
        Self { addresses, stage, _deaf: deaf }
    }

    /// The configuration with `http://<name>.test` replaced by where the upstream listens.
    pub fn place(&self, config: &str) -> String {
        self.addresses.iter().fold(config.to_owned(), |config, (name, address)| {
            config.replace(&format!("http://{name}.test"), &format!("http://{address}"))
        })
    }

    /// Where an upstream is.
    pub fn address(&self, name: &str) -> SocketAddr {
        self.addresses[name]
    }

    /// Returns once a request has come.
    pub fn wait_for_request(&self) {
        let seen = self.stage.seen.lock().unwrap();
        let (_seen, timeout) =
            self.stage.came.wait_timeout_while(seen, PATIENCE, |seen| seen.is_empty()).unwrap();
        assert!(!timeout.timed_out(), "no request came");
    }

    /// What the upstreams received, in order. Fails if the script was not followed to its end.
    pub fn finish(&self) -> Vec<Sent> {
        let complaints = self.stage.complaints.lock().unwrap();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        let script = self.stage.script.lock().unwrap();
        assert!(script.left().is_empty(), "{:?} were not asked for all of their answers", script.left());
        std::mem::take(&mut self.stage.seen.lock().unwrap())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stage.over.store(true, Ordering::SeqCst);
        for address in self.addresses.values() {
            // Wakes the listener, which sees that it is over.
            let _ = TcpStream::connect(address);
        }
    }
}

fn listen(name: String, stage: &Arc<Stage>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stage = Arc::clone(stage);
    thread::spawn(move || {
        for stream in listener.incoming() {
            if stage.over.load(Ordering::SeqCst) {
                return;
            }
            let (name, stage) = (name.clone(), Arc::clone(&stage));
            let Ok(stream) = stream else { continue };
            thread::spawn(move || serve(&name, &stage, Wire::new(stream)));
        }
    });
    address
}

fn serve(name: &str, stage: &Stage, mut wire: Wire) {
    while let Some(request) = wire.request() {
        if request.cut {
            return;
        }
        let answer = match stage.next(name, &request) {
            Ok(answer) => answer,
            Err(complaint) => {
                stage.complaints.lock().unwrap().push(complaint);
                return;
            }
        };
        if write(&mut wire, &answer, stage.in_steps).is_err() {
            return;
        }
        match answer.ending {
            Ending::Complete => {}
            // Until the gateway hangs up: the next read says so.
            Ending::Hang | Ending::HangBeforeHead => {
                wire.stream().set_read_timeout(None).unwrap();
                let _ = wire.head();
                return;
            }
            _ => return,
        }
    }
}

impl Stage {
    fn next(&self, name: &str, request: &Message) -> Result<Answer, String> {
        let path = request.start.strip_prefix("POST /v1").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
        let path =
            path.ok_or_else(|| format!("{name}: `{}` is not a POST below the base URL", request.start))?;
        self.seen.lock().unwrap().push(Sent {
            upstream: name.to_owned(),
            path: path.to_owned(),
            headers: sorted(
                request.headers.iter().filter(|header| SHOWN.contains(&&*header.name)).cloned().collect(),
            ),
            body: request.body.clone(),
        });
        self.came.notify_all();
        if request.headers.iter().any(|header| header.value.contains("tg_")) {
            return Err(format!("{name}: a client's key was sent upstream"));
        }
        let next = || self.script.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next(name);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(next))
            .map_err(|_| format!("the upstream {name} was asked, and the vector has no answer for it"))
    }
}

fn write(wire: &mut Wire, answer: &Answer, in_steps: bool) -> io::Result<()> {
    let stream = wire.stream();
    match answer.ending {
        Ending::CloseBeforeHead | Ending::HangBeforeHead => return Ok(()),
        Ending::Garbage => return stream.write_all(b"\x00\xff this is not HTTP\r\n\r\n"),
        _ => {}
    }
    let pieces = answer.pieces();
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", answer.status);
    answer.headers.iter().for_each(|header| head.extend([header, "\r\n"]));
    let chunked = answer.is_event_stream();
    if chunked {
        head.push_str("transfer-encoding: chunked\r\n\r\n");
    } else {
        let missing = if answer.ending == Ending::Complete { 0 } else { 10 };
        let length = pieces.iter().map(Vec::len).sum::<usize>() + missing;
        head.push_str(&format!("content-length: {length}\r\n\r\n"));
    }
    stream.write_all(head.as_bytes())?;
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let framed = if chunked {
            [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()
        } else {
            piece.clone()
        };
        stream.write_all(&framed)?;
        if in_steps {
            wait_until_read(stream);
        }
    }
    if chunked && answer.ending == Ending::Complete {
        stream.write_all(b"0\r\n\r\n")?;
    }
    Ok(())
}

/// Returns once the other side has read all that was written to it. Linux tells what waits in a socket, also in that of
/// the other side, which is on this machine.
pub fn wait_until_read(stream: &TcpStream) {
    let (Ok(own), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let (own, peer) = (format!(":{:04X} ", own.port()), format!(":{:04X} ", peer.port()));
    let waits = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote, queues) = (words.next()?, words.next()?, words.nth(1)?);
        let is_it = format!("{local} ").ends_with(&peer) && format!("{remote} ").ends_with(&own);
        is_it.then(|| !queues.ends_with(":00000000"))
    };
    let mut read = 0;
    // Twice, so that whoever reads has seen that there is no more.
    while read < 2 {
        thread::sleep(std::time::Duration::from_millis(1));
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        read = if sockets.lines().find_map(waits) == Some(true) { 0 } else { read + 1 };
    }
}
