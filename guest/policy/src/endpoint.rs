//! What a request asks for, by its path and method.
//!
//! Paths match as they are: no trailing slash, no dot segments, no case folding. The query is ignored and never
//! repeated in a reply.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// What a client can ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Endpoint<'a> {
    /// An answer of a model.
    Generate(Kind),
    /// `GET /v1/models`.
    Models,
    /// `GET /v1/models/{id}`: the id, decoded.
    Model(#[serde(borrow)] Cow<'a, str>),
}

/// What a model can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/embeddings`.
    Embeddings,
}

impl Kind {
    /// `chat` or `embeddings`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "chat" => Some(Self::Chat),
            "embeddings" => Some(Self::Embeddings),
            _ => None,
        }
    }

    /// Whether the model writes something, so that there is output to count.
    pub fn writes(self) -> bool {
        self == Self::Chat
    }

    /// What is appended to an upstream's base URL.
    pub fn upstream_path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Embeddings => "/embeddings",
        }
    }

    /// Where clients ask for it.
    pub fn client_path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }
}

/// The endpoint of a request.
pub fn find<'a>(method: &str, path_and_query: &'a str) -> Result<Endpoint<'a>, Refusal> {
    let path = path_and_query.split('?').next().unwrap_or_default();
    let (endpoint, allowed) = match path {
        "/v1/chat/completions" => (Endpoint::Generate(Kind::Chat), "POST"),
        "/v1/embeddings" => (Endpoint::Generate(Kind::Embeddings), "POST"),
        "/v1/models" => (Endpoint::Models, "GET"),
        _ => match path.strip_prefix("/v1/models/").and_then(percent_decoded) {
            Some(id) if !id.is_empty() => (Endpoint::Model(id), "GET"),
            _ => return Err(Refusal::UnknownUrl { method: method.into(), path: path.into() }),
        },
    };
    if method == allowed {
        Ok(endpoint)
    } else {
        Err(Refusal::WrongMethod { method: method.into(), path: path.into(), allow: allowed })
    }
}

fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    let Some((plain, _)) = text.split_once('%') else { return Some(Cow::Borrowed(text)) };
    let mut decoded = plain.as_bytes().to_vec();
    for part in text.split('%').skip(1) {
        let (digits, plain) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend_from_slice(plain.as_bytes());
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_found_by_path_and_method() {
        assert_eq!(find("POST", "/v1/chat/completions"), Ok(Endpoint::Generate(Kind::Chat)));
        assert_eq!(find("POST", "/v1/embeddings?x=/y"), Ok(Endpoint::Generate(Kind::Embeddings)));
        assert_eq!(find("GET", "/v1/models"), Ok(Endpoint::Models));
        assert_eq!(find("GET", "/v1/models/gpt-4o"), Ok(Endpoint::Model("gpt-4o".into())));
        assert_eq!(find("GET", "/v1/models/a/b%20c%2Fd"), Ok(Endpoint::Model("a/b c/d".into())));
    }

    #[test]
    fn other_paths_are_unknown() {
        for path in [
            "",
            "/",
            "/v1/chat/completions/",
            "/v1//models",
            "/V1/models",
            "/v1/models/",
            "/v1/models/%",
            "/v1/models/%4",
            "/v1/models/%+4",
            "/v1/models/%ff",
            "*",
        ] {
            assert!(matches!(find("GET", path), Err(Refusal::UnknownUrl { .. })), "{path}");
        }
    }

    #[test]
    fn a_known_path_says_its_method() {
        for (method, path, allowed) in [("GET", "/v1/embeddings", "POST"), ("post", "/v1/models", "GET")] {
            let refusal = find(method, path);
            assert!(matches!(refusal, Err(Refusal::WrongMethod { allow, .. }) if allow == allowed), "{path}");
        }
    }
}
