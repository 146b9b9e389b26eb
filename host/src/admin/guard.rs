//! Who may come in.

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use ring::digest::{SHA256, digest};

use super::reply::Failed;

/// The credential that operators present, as its digest.
pub(crate) struct Guard {
    token: Option<Vec<u8>>,
}

impl Guard {
    pub(crate) fn new(token: Option<&str>) -> Self {
        Self { token: token.map(fingerprint) }
    }

    /// Lets an operator in.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> Result<(), Failed> {
        let Some(token) = &self.token else { return from_here(headers) };
        let presented = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let presented = presented.and_then(|value| value.strip_prefix("Bearer "));
        // How long a comparison of digests takes tells nothing about what was digested.
        match presented {
            Some(presented) if fingerprint(presented) == *token => Ok(()),
            _ => Err(Failed::unauthorized()),
        }
    }
}

fn fingerprint(text: &str) -> Vec<u8> {
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

/// Without a credential, a browser is the one that must be kept out: it carries other people's wishes to loopback,
/// under a name of theirs (DNS rebinding) or from a page of theirs.
fn from_here(headers: &HeaderMap) -> Result<(), Failed> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    let here = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    if here && !headers.contains_key(ORIGIN) { Ok(()) } else { Err(Failed::forbidden()) }
}

/// Whether a body is said to be JSON: a web page cannot say so without asking first.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn admits(guard: &Guard, headers: &[(&str, &str)]) -> bool {
        let request =
            headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
        guard.admits(request.body(()).unwrap().headers()).is_ok()
    }

    #[test]
    fn with_a_credential_only_it_counts() {
        let guard = Guard::new(Some("operators-secret-1"));
        assert!(admits(&guard, &[("authorization", "Bearer operators-secret-1"), ("host", "any.example")]));
        for wrong in
            ["Bearer operators-secret-2", "operators-secret-1", "Bearer ", "Basic operators-secret-1"]
        {
            assert!(!admits(&guard, &[("authorization", wrong), ("host", "localhost")]), "{wrong}");
        }
        assert!(!admits(&guard, &[("host", "localhost")]));
    }

    #[test]
    fn without_one_nothing_comes_in_by_another_name_or_from_a_page() {
        let guard = Guard::new(None);
        for host in ["localhost:8081", "127.0.0.1", "[::1]:8081", "[::1]"] {
            assert!(admits(&guard, &[("host", host)]), "{host}");
        }
        assert!(!admits(&guard, &[("host", "evil.example:8081")]));
        assert!(!admits(&guard, &[("host", "localhost.evil.example")]));
        assert!(!admits(&guard, &[("host", "localhost:8081"), ("origin", "http://localhost:8081")]));
        assert!(!admits(&guard, &[]));
    }
}
