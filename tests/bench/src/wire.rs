//! HTTP/1.1 as the load generator speaks it: bytes written as they are, answers read just far enough to know
//! where they end. Trusts its peers, for they are the bench's own.

use anyhow::{Context, Result, anyhow, bail};
use bytes::{Buf, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How an answer's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    /// Connects, without delay on the socket.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(8 * 1024) })
    }

    /// Sends a request and reads the whole answer; anything but 200 is an error.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<()> {
        match self.send(request).await? {
            Framing::Length(length) => {
                while self.buffer.len() < length {
                    self.read().await?;
                }
                self.buffer.advance(length);
            }
            // Neither the mock's JSON nor its events contain this sequence.
            Framing::Chunked => {
                while !self.buffer.ends_with(b"\r\n0\r\n\r\n") {
                    self.read().await?;
                }
                self.buffer.clear();
            }
        }
        Ok(())
    }

    /// Sends a request whose answer is a stream, and reads its head.
    pub async fn begin(&mut self, request: &[u8]) -> Result<()> {
        match self.send(request).await? {
            Framing::Chunked => Ok(()),
            Framing::Length(_) => bail!("asked for a stream, got a document"),
        }
    }

    /// Reads more of a stream and counts the events in what came, `None` when the stream is over.
    pub async fn events(&mut self) -> Result<Option<usize>> {
        if self.buffer.is_empty() {
            self.read().await?;
        }
        let events = memmem::find_iter(&self.buffer, b"data: ").count();
        let over = self.buffer.ends_with(b"0\r\n\r\n");
        self.buffer.clear();
        Ok(if over { None } else { Some(events) })
    }

    async fn send(&mut self, request: &[u8]) -> Result<Framing> {
        self.stream.write_all(request).await?;
        let end = loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            self.read().await?;
        };
        let head = self.buffer.get(..end).unwrap_or_default();
        let framing = framing(head);
        if !head.starts_with(b"HTTP/1.1 200 ") {
            bail!("not a 200: {}", String::from_utf8_lossy(&self.buffer));
        }
        self.buffer.advance(end + 4);
        framing
    }

    async fn read(&mut self) -> Result<()> {
        self.buffer.reserve(4 * 1024);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => bail!("the connection was closed in the middle of an answer"),
            _ => Ok(()),
        }
    }
}

fn framing(head: &[u8]) -> Result<Framing> {
    for line in head.split(|&byte| byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            return Ok(Framing::Length(str::from_utf8(value)?.parse()?));
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Ok(Framing::Chunked);
        }
    }
    Err(anyhow!("an answer without content-length or transfer-encoding"))
}
