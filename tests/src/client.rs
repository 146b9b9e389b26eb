//! A client that sends a vector's request and shows what it really received.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::outcome::Received;
use crate::vector::Request;
use crate::walk::sorted;
use crate::wire::{Message, Wire};

/// Headers that the shell makes and a vector does not show.
const OF_THE_SHELL: [&str; 5] = ["connection", "content-length", "date", "transfer-encoding", "x-request-id"];

/// Sends a request on a connection of its own. One that leaves goes once the body is as long as `until`, or,
/// without that, once the whole request is written and the provider `has_it`.
pub fn send(
    address: SocketAddr,
    request: &Request,
    until: Option<usize>,
    has_it: impl Fn(),
) -> Option<Received> {
    let mut wire = Wire::new(TcpStream::connect(address).unwrap());
    // A server may answer and hang up before it read everything: what counts is what it answered.
    let _ = wire.stream().write_all(&bytes(request, address));
    match (request.leaves, until) {
        (false, _) => wire.response().map(received),
        (true, Some(length)) => {
            let seen = wire.response_until(|body| body.len() >= length).map(received);
            wire.stream().shutdown(Shutdown::Both).unwrap();
            seen
        }
        (true, None) => {
            has_it();
            wire.stream().shutdown(Shutdown::Both).unwrap();
            None
        }
    }
}

/// Sends a request and reads whatever comes back.
pub fn ask(address: SocketAddr, request: &Request) -> Option<Message> {
    let mut wire = Wire::new(TcpStream::connect(address).unwrap());
    let _ = wire.stream().write_all(&bytes(request, address));
    wire.response()
}

/// A request as it goes over the wire.
pub fn bytes(request: &Request, address: SocketAddr) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\nhost: {address}\r\n", request.method, request.path);
    request.headers.iter().for_each(|header| head.extend([header, "\r\n"]));
    let body = request.body.bytes();
    if !body.is_empty() || request.method == "POST" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// What a vector shows of a response. Every response carries its request id.
pub fn received(message: Message) -> Received {
    assert!(message.header("x-request-id").is_some(), "no request id: {message:?}");
    Received {
        status: message.status(),
        headers: sorted(
            message.headers.into_iter().filter(|header| !OF_THE_SHELL.contains(&&*header.name)).collect(),
        ),
        body: message.body,
        cut: message.cut,
    }
}
