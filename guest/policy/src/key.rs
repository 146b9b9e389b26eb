//! The key a caller presents: where it is taken from, and its digest.
//!
//! A key has one place: `authorization: Bearer <key>` or `x-api-key: <key>`. Anything that two readers could
//! understand differently is refused. The key itself goes nowhere but into its digest.

use sha2::{Digest, Sha256};

use crate::message::Header;
use crate::refusal::Refusal;

/// The request headers this module reads. `api-key` is never accepted, only explained.
pub const HEADERS: [&str; 3] = ["authorization", "x-api-key", "api-key"];

/// SHA-256 of the key among these headers.
pub fn digest(headers: &[Header]) -> Result<[u8; 32], Refusal> {
    Ok(Sha256::digest(presented(headers)?).into())
}

fn presented(headers: &[Header]) -> Result<&str, Refusal> {
    let mut bearer = None;
    let mut plain = None;
    for header in headers {
        let value = header.value.trim_matches([' ', '\t']);
        let (place, key) = match header.name.as_str() {
            "authorization" => (&mut bearer, after_bearer(value)?),
            "x-api-key" => (&mut plain, value),
            "api-key" => return Err(Refusal::KeyMisplaced),
            _ => continue,
        };
        if key.contains([' ', '\t']) {
            return Err(Refusal::KeyMisplaced);
        }
        if place.replace(key).is_some() {
            return Err(Refusal::KeyAmbiguous);
        }
    }
    match (bearer, plain) {
        (Some(one), Some(other)) if one != other => Err(Refusal::KeyAmbiguous),
        (Some(key), _) | (None, Some(key)) if !key.is_empty() => Ok(key),
        _ => Err(Refusal::KeyMissing),
    }
}

fn after_bearer(value: &str) -> Result<&str, Refusal> {
    let (scheme, key) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(key.trim_matches([' ', '\t']))
    } else {
        Err(Refusal::KeyMisplaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<String, Refusal> {
        let header = |(name, value): &(&str, &str)| Header { name: (*name).into(), value: (*value).into() };
        presented(&headers.iter().map(header).collect::<Vec<_>>()).map(str::to_owned)
    }

    #[test]
    fn a_key_is_taken_from_either_place() {
        assert_eq!(read(&[("authorization", "Bearer abc")]), Ok("abc".into()));
        assert_eq!(read(&[("authorization", "bearer \t abc ")]), Ok("abc".into()));
        assert_eq!(read(&[("x-api-key", " abc")]), Ok("abc".into()));
        assert_eq!(read(&[("x-api-key", "abc"), ("authorization", "Bearer abc")]), Ok("abc".into()));
    }

    #[test]
    fn two_keys_are_refused() {
        let both = [("x-api-key", "abc"), ("authorization", "Bearer abd")];
        assert_eq!(read(&both), Err(Refusal::KeyAmbiguous));
        assert_eq!(read(&[("x-api-key", "a"), ("x-api-key", "a")]), Err(Refusal::KeyAmbiguous));
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer a")];
        assert_eq!(read(&twice), Err(Refusal::KeyAmbiguous));
    }

    #[test]
    fn a_key_elsewhere_is_explained() {
        for headers in [
            [("authorization", "abc")],
            [("authorization", "Basic abc")],
            [("authorization", "Bearer a b")],
            [("authorization", "Bearer a, Bearer b")],
            [("x-api-key", "Bearer abc")],
            [("api-key", "abc")],
        ] {
            assert_eq!(read(&headers), Err(Refusal::KeyMisplaced), "{headers:?}");
        }
    }

    #[test]
    fn no_key_is_no_key() {
        for headers in
            [&[][..], &[("authorization", "Bearer ")], &[("authorization", "Bearer")], &[("x-api-key", "")]]
        {
            assert_eq!(read(headers), Err(Refusal::KeyMissing), "{headers:?}");
        }
    }
}
