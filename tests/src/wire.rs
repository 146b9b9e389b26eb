//! HTTP/1.1 as bytes: just enough to see exactly what the other side sent.
//!
//! Reads one message at a time from a blocking socket and reports what it finds, a cut body included. It never
//! repairs anything, and it gives up after [`PATIENCE`].

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::time::Duration;

use tollgate_policy::message::Header;

/// How long a test waits for bytes that should come at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One request or response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The first line, without its end.
    pub start: String,
    /// The headers, names in lower case, in their order.
    pub headers: Vec<Header>,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// Whether the connection ended before the body did.
    pub cut: bool,
}

impl Message {
    /// The status of a response.
    pub fn status(&self) -> u16 {
        let status = self.start.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("`{}` is no status line", self.start))
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.name == name).map(|header| header.value.as_str())
    }

    /// The body as text, where it is text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn length(&self) -> Option<u64> {
        self.header("content-length").map(|length| length.parse().expect("a content-length is a number"))
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

/// A connection and what was read from it too early.
pub struct Wire {
    reader: BufReader<TcpStream>,
}

impl Wire {
    /// Takes over a connected socket.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// The socket, to write to.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.reader.get_mut()
    }

    /// Reads a message's head; none if the connection ends instead.
    pub fn head(&mut self) -> Option<Message> {
        let start = self.line()?;
        let mut message = Message { start, ..Message::default() };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(message);
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            message.headers.push(Header { name: name.to_ascii_lowercase(), value: value.trim().to_owned() });
        }
    }

    /// Reads a request: head and body.
    pub fn request(&mut self) -> Option<Message> {
        let mut message = self.head()?;
        if message.is_chunked() {
            self.chunked(&mut message, |_| false);
        } else if let Some(length) = message.length() {
            self.exactly(&mut message, length, |_| false);
        }
        Some(message)
    }

    /// Reads a response: head and body.
    pub fn response(&mut self) -> Option<Message> {
        self.response_until(|_| false)
    }

    /// Reads a response, but stops (and calls it cut) once the body so far is `enough`.
    pub fn response_until(&mut self, enough: impl Fn(&[u8]) -> bool) -> Option<Message> {
        let mut message = self.head()?;
        if message.is_chunked() {
            self.chunked(&mut message, enough);
        } else if let Some(length) = message.length() {
            self.exactly(&mut message, length, enough);
        } else {
            let _ = self.reader.read_to_end(&mut message.body);
        }
        Some(message)
    }

    fn chunked(&mut self, message: &mut Message, enough: impl Fn(&[u8]) -> bool) {
        loop {
            let size =
                self.line().and_then(|line| u64::from_str_radix(line.split(';').next()?.trim(), 16).ok());
            let Some(size) = size else {
                message.cut = true;
                return;
            };
            self.exactly(message, size, |_| false);
            if message.cut {
                return;
            }
            let end = self.line();
            if size == 0 {
                message.cut = end.is_none();
                return;
            }
            if enough(&message.body) {
                message.cut = true;
                return;
            }
        }
    }

    fn exactly(&mut self, message: &mut Message, length: u64, enough: impl Fn(&[u8]) -> bool) {
        let mut left = length;
        while left > 0 {
            let mut buffer = [0; 16 << 10];
            let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.reader.read(&mut buffer[..room]) {
                Ok(0) => left = self.cut(message),
                Err(error) => {
                    assert!(
                        !is_timeout(&error),
                        "nothing came for {PATIENCE:?}, {left} bytes before the end"
                    );
                    left = self.cut(message);
                }
                Ok(count) => {
                    message.body.extend_from_slice(&buffer[..count]);
                    left -= count as u64;
                    if left > 0 && enough(&message.body) {
                        left = self.cut(message);
                    }
                }
            }
        }
    }

    fn cut(&mut self, message: &mut Message) -> u64 {
        message.cut = true;
        0
    }

    /// One line without its end; none if the connection ends first.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => {
                let text = String::from_utf8_lossy(&line);
                Some(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            Ok(_) => None,
            Err(error) => {
                assert!(!is_timeout(&error), "nothing came for {PATIENCE:?}");
                None
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
