//! Where an upstream is.

use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use tollgate_document::{Node, Problems};

/// Where an upstream is: everything before the path that a target adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    prefix: String,
}

impl BaseUrl {
    /// Reads an absolute `http` or `https` URL.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(format!("`{text}` is not an absolute URL; it must begin with https:// or http://"));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(format!("the scheme `{scheme}` is not supported; use https or http"));
        }
        if authority.as_str().contains('@') {
            return Err("a URL must not hold a user or password; use `api_key = { env = \"..\" }`".into());
        }
        let path = parts.path_and_query;
        if path.as_ref().is_some_and(|path| path.query().is_some()) {
            return Err(format!("`{text}` has a query; a base URL is only the part before the endpoint"));
        }
        let prefix = path.map_or(String::new(), |path| path.path().trim_end_matches('/').to_owned());
        Ok(Self { scheme, authority, prefix })
    }

    /// The same from a configuration file.
    pub(crate) fn read(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<Self> {
        Self::parse(node.text(problems)?).map_err(|what| node.wrong(problems, what)).ok()
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The host, and the port if it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The path of an endpoint below it; none if that is no path.
    #[must_use]
    pub fn join(&self, path: &str) -> Option<PathAndQuery> {
        if self.prefix.is_empty() {
            return path.parse().ok();
        }
        PathAndQuery::try_from([&self.prefix, path].concat()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_keeps_its_prefix() {
        for (base, joined) in [
            ("https://api.example.com/v1", "/v1/chat/completions"),
            ("https://api.example.com/v1/", "/v1/chat/completions"),
            ("http://127.0.0.1:8000", "/chat/completions"),
            ("http://127.0.0.1:8000/", "/chat/completions"),
        ] {
            assert_eq!(BaseUrl::parse(base).unwrap().join("/chat/completions").unwrap(), joined, "{base}");
        }
    }

    #[test]
    fn a_base_url_that_could_mislead_is_refused() {
        for bad in
            ["", "api.example.com/v1", "/v1", "ftp://x/v1", "https://user:pass@x/v1", "https://x/v1?a=b"]
        {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
