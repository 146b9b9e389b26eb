//! `[ledger_api]`: the listener for other shells, which keep their books with this server.

use std::net::SocketAddr;

use tollgate_document::{Problems, Section};

use crate::value::{address, variable};

/// The listener for other shells. It is there only if the configuration has the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerApiSettings {
    /// Where to listen. Default: 127.0.0.1:8082.
    pub listen: SocketAddr,
    /// The environment variable that holds the credential of shells. There must be one, on loopback too: whoever has it
    /// can spend every budget.
    pub token_env: String,
}

pub(crate) fn read(root: &Section<'_>, problems: &mut Problems<'_>) -> Option<LedgerApiSettings> {
    let section = root.get("ledger_api")?.section(problems)?;
    section.only(&["listen", "token"], problems);
    let listen =
        address(&section, "listen", problems).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8082)));
    let token =
        section.need("token", "`{ env = \"TOLLGATE_LEDGER_TOKEN\" }`, the credential of shells", problems)?;
    Some(LedgerApiSettings { listen, token_env: variable(&token, problems)? })
}

#[cfg(test)]
mod tests {
    use crate::Config;

    #[test]
    fn there_is_none_without_a_credential() {
        let read = |text: &str| Config::<()>::read(text, &|_| Ok(())).map(|config| config.ledger_api);
        assert_eq!(read(""), Ok(None));
        let sound = read("[ledger_api]\ntoken = { env = \"LEDGER_TOKEN\" }\n").unwrap().unwrap();
        assert_eq!(
            (sound.listen.to_string().as_str(), &*sound.token_env),
            ("127.0.0.1:8082", "LEDGER_TOKEN")
        );
        for (wrong, at) in [
            ("[ledger_api]\n", "ledger_api.token"),
            ("[ledger_api]\ntoken = \"abc\"\n", "ledger_api.token"),
            ("[ledger_api]\nlisten = \"here\"\ntoken = { env = \"A\" }\n", "ledger_api.listen"),
            ("[ledger_api]\ncolour = 1\ntoken = { env = \"A\" }\n", "ledger_api.colour"),
        ] {
            let problems = read(wrong).unwrap_err();
            assert_eq!(problems.iter().map(|problem| &*problem.at).collect::<Vec<_>>(), [at], "{wrong}");
        }
    }
}
