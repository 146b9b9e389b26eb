//! `[server]`: how requests come in.

use std::net::SocketAddr;
use std::time::Duration;

use tollgate_document::{Problems, Section};

use crate::value::{set, size, time};

/// How requests come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where to listen. Default: 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// The most bytes of a request's body. Default: 16 MiB.
    pub body_limit: u64,
    /// How long a request's body may take to arrive. Default: 60 s.
    pub body_timeout: Duration,
    /// The most bytes of a request's head. Default: 64 KiB.
    pub head_limit: u64,
    /// How long a request's head may take to arrive. Default: 10 s.
    pub head_timeout: Duration,
    /// How many connections at most are open at once; more wait to be accepted. Default: 10,000.
    pub connections: u64,
    /// How long exchanges under way may still run when the server is told to stop. Default: 30 s.
    pub drain_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            body_limit: 16 << 20,
            body_timeout: Duration::from_secs(60),
            head_limit: 64 << 10,
            head_timeout: Duration::from_secs(10),
            connections: 10_000,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

pub(crate) fn read(root: &Section<'_>, problems: &mut Problems<'_>) -> ServerSettings {
    let mut settings = ServerSettings::default();
    let Some(section) = root.get("server").and_then(|node| node.section(problems)) else { return settings };
    section.only(
        &[
            "listen",
            "body_limit",
            "body_timeout",
            "head_limit",
            "head_timeout",
            "connections",
            "drain_timeout",
        ],
        problems,
    );
    if let Some(node) = section.get("listen") {
        match node.text(problems).map(str::parse) {
            Some(Ok(listen)) => settings.listen = listen,
            Some(Err(_)) => node.wrong(problems, "must be an IP address and a port such as `127.0.0.1:8080`"),
            None => {}
        }
    }
    set(&mut settings.body_limit, size(&section, "body_limit", 1 << 10, 64 << 20, problems));
    set(&mut settings.head_limit, size(&section, "head_limit", 1 << 10, 1 << 20, problems));
    set(&mut settings.body_timeout, time(&section, "body_timeout", problems));
    set(&mut settings.head_timeout, time(&section, "head_timeout", problems));
    set(&mut settings.drain_timeout, time(&section, "drain_timeout", problems));
    set(
        &mut settings.connections,
        section.get("connections").and_then(|node| node.whole(1, 1_000_000, problems)),
    );
    settings
}
