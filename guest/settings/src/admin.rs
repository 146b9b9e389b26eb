//! `[admin]`: the listener for operators.

use std::net::SocketAddr;

use tollgate_document::{Problems, Section};

use crate::value::{address, variable};

/// The listener for operators. It is there only if the configuration has the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where to listen. Default: 127.0.0.1:8081.
    pub listen: SocketAddr,
    /// The environment variable that holds the credential; none: whoever reaches the listener is an operator, which
    /// is allowed on loopback only.
    pub token_env: Option<String>,
}

pub(crate) fn read(root: &Section<'_>, problems: &mut Problems<'_>) -> Option<AdminSettings> {
    let table = root.get("admin")?;
    let section = table.section(problems)?;
    section.only(&["listen", "token"], problems);
    let listen =
        address(&section, "listen", problems).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8081)));
    let token = section.get("token");
    let token_env = token.as_ref().and_then(|node| variable(node, problems));
    if token.is_none() && !listen.ip().is_loopback() {
        table.wrong(
            problems,
            "listens where others can reach it, so it needs a credential: add `token = { env = \"TOLLGATE_ADMIN_TOKEN\" }`",
        );
    }
    Some(AdminSettings { listen, token_env })
}
