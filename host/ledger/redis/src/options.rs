//! Where the shared books are and how a gateway uses them. What cannot be right is refused here, once, in words that
//! never hold the address: a password may be in it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError, TlsCertificates};

use tollgate_scripts::is_plain;

/// How to open a [`crate::Redis`].
#[derive(Clone)]
pub struct Options {
    pub(crate) url: String,
    pub(crate) journal: PathBuf,
    pub(crate) certificates: Option<Vec<u8>>,
    pub(crate) namespace: String,
    pub(crate) local_share_percent: u8,
    pub(crate) rows: u64,
    pub(crate) answers_within: Duration,
    pub(crate) obeys_callers: bool,
}

/// Why the shared books could not be opened. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOpened(pub(crate) String);

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotOpened {}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = f.debug_struct("Options");
        options.field("namespace", &self.namespace).field("journal", &self.journal);
        options.field("local_share_percent", &self.local_share_percent).field("rows", &self.rows);
        options.field("answers_within", &self.answers_within).field("obeys_callers", &self.obeys_callers);
        options.finish_non_exhaustive()
    }
}

impl Options {
    /// The books at `redis://user:password@host:port/database`, or `rediss://` for TLS. `journal` is a file of this
    /// gateway alone, for settlements that Redis did not take.
    #[must_use]
    pub fn new(url: impl Into<String>, journal: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            journal: journal.into(),
            certificates: None,
            namespace: "tollgate".to_owned(),
            local_share_percent: 25,
            rows: 1_000_000,
            answers_within: Duration::from_millis(250),
            obeys_callers: false,
        }
    }

    /// Which books, of several in one Redis: 1 to 64 of `[A-Za-z0-9_-]`. `tollgate` unless told otherwise.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Who may vouch for the server, in place of the system's roots: certificates in PEM.
    #[must_use]
    pub fn certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates = Some(pem.into());
        self
    }

    /// How much of each limit this gateway may grant by itself while Redis is down: 1 to 100, in percent; 25 unless
    /// told otherwise. The shares of all gateways together must not exceed 100.
    #[must_use]
    pub fn local_share_percent(mut self, percent: u8) -> Self {
        self.local_share_percent = percent;
        self
    }

    /// How many rows the stream keeps, about: the oldest are dropped. A million unless told otherwise.
    #[must_use]
    pub fn rows(mut self, rows: u64) -> Self {
        self.rows = rows;
        self
    }

    /// How long one operation may take before Redis is given up: 250 ms unless told otherwise.
    #[must_use]
    pub fn answers_within(mut self, bound: Duration) -> Self {
        self.answers_within = bound;
        self
    }

    /// Goes by the `now` of its callers instead of the server's clock. For tests: gateways whose clocks differ would
    /// not agree.
    #[must_use]
    pub fn obey_callers(mut self) -> Self {
        self.obeys_callers = true;
        self
    }

    /// The server, if all options are sound.
    pub(crate) fn server(&self) -> Result<Server, NotOpened> {
        if !is_plain(&self.namespace) {
            return Err(NotOpened("a namespace is 1 to 64 of the characters A-Z a-z 0-9 _ -".to_owned()));
        }
        if !(1..=100).contains(&self.local_share_percent) {
            return Err(NotOpened("a local share is 1 to 100 percent".to_owned()));
        }
        let form = "the address of the ledger is redis://user:password@host:port, or rediss:// for TLS";
        let wrong = |_| NotOpened(form.to_owned());
        let info = self.url.as_str().into_connection_info().map_err(wrong)?;
        // The library's name in the list of clients needs a permission, and helps nobody.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_redis_settings(settings);
        if let ConnectionAddr::TcpTls { .. } = info.addr() {
            // Another part of the program may have chosen it before: it is the same one.
            let _: Result<_, _> = rustls::crypto::ring::default_provider().install_default();
        }
        let server = Server { info, certificates: self.certificates.clone() };
        server.client().map_err(|_| {
            NotOpened("the ledger's certificates are not PEM, or its address cannot be used".to_owned())
        })?;
        Ok(server)
    }
}

/// Where to connect.
#[derive(Clone)]
pub struct Server {
    info: ConnectionInfo,
    certificates: Option<Vec<u8>>,
}

impl Server {
    /// A client of it. Nothing is sent.
    pub fn client(&self) -> Result<Client, RedisError> {
        match (&self.certificates, self.info.addr()) {
            (Some(pem), ConnectionAddr::TcpTls { .. }) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) };
                Client::build_with_tls(self.info.clone(), certificates)
            }
            _ => Client::open(self.info.clone()),
        }
    }

    /// The shard of a cluster that this one has named as `host:port`; an empty host is its own.
    pub fn moved_to(&self, node: &str) -> Option<Self> {
        let (host, port) = node.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let addr = match self.info.addr().clone() {
            ConnectionAddr::Tcp(own, _) => ConnectionAddr::Tcp(own_unless(host, own), port),
            ConnectionAddr::TcpTls { host: own, insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host: own_unless(host, own), port, insecure, tls_params }
            }
            _ => return None,
        };
        Some(Self { info: self.info.clone().set_addr(addr), certificates: self.certificates.clone() })
    }
}

fn own_unless(host: &str, own: String) -> String {
    if host.is_empty() { own } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_right_is_refused_and_no_secret_is_told() {
        let sound = || Options::new("redis://user:hunter2@localhost:6379", "journal");
        assert!(sound().server().is_ok());
        let wrong = [
            Options::new("http://user:hunter2@localhost", "journal"),
            Options::new("redis://user:hunter2@localhost:port", "journal"),
            sound().namespace("a}b"),
            sound().namespace(""),
            sound().local_share_percent(0),
            sound().local_share_percent(101),
            Options::new("rediss://user:hunter2@localhost", "journal").certificates("-----BEGIN CERT"),
        ];
        for options in wrong {
            let problem = options.server().err().unwrap().to_string();
            assert!(!problem.contains("hunter2") && !format!("{options:?}").contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn a_cluster_may_send_it_to_another_shard() {
        let server = Options::new("redis://localhost:7000", "journal").server().unwrap();
        let told = |node| server.moved_to(node).map(|server| server.info.addr().to_string());
        assert_eq!(told("10.0.0.2:7001").as_deref(), Some("10.0.0.2:7001"));
        assert_eq!(told(":7001").as_deref(), Some("localhost:7001"));
        assert_eq!(told("nowhere"), None);
    }
}
