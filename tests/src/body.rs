//! Bodies as a person writes them in a vector.
//!
//! Reads the written forms (text, compact JSON, events, hex, repetition) into exact bytes and picks the most
//! readable form for bytes that a run produced. Never changes what is inside a JSON value: numbers, escapes,
//! duplicates and order stay as written, only white space between tokens goes.

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::value::RawValue;

/// A body as written in a vector.
#[derive(Clone, Debug)]
pub enum Body {
    /// Exactly these bytes.
    Bytes(Vec<u8>),
    /// The same bytes as came in on the other side: the client's body upstream, the provider's to the client.
    Unchanged,
}

impl Default for Body {
    fn default() -> Self {
        Self::Bytes(Vec::new())
    }
}

impl Body {
    /// The bytes, where `Unchanged` stands for `original`.
    pub fn resolve(&self, original: &[u8]) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Unchanged => original.to_vec(),
        }
    }

    /// The bytes of a body that has no other side to be unchanged from.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Unchanged => panic!("`unchanged` means nothing here"),
        }
    }
}

/// The forms that are not plain text. Exactly one of them is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    json: Option<Box<RawValue>>,
    sse: Option<Vec<Box<RawValue>>>,
    hex: Option<String>,
    repeat: Option<(Body, usize)>,
    concat: Option<Vec<Body>>,
    unchanged: Option<bool>,
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        read(raw.get()).map_err(D::Error::custom)
    }
}

fn read(raw: &str) -> Result<Body, String> {
    if raw.starts_with('"') {
        let text: String = serde_json::from_str(raw).map_err(|e| e.to_string())?;
        return Ok(Body::Bytes(text.into_bytes()));
    }
    let form: Form = serde_json::from_str(raw).map_err(|e| format!("in a body: {e}"))?;
    let bytes = match form {
        Form { json: Some(json), sse: None, hex: None, repeat: None, concat: None, unchanged: None } => {
            compact(json.get()).into_bytes()
        }
        Form { json: None, sse: Some(events), hex: None, repeat: None, concat: None, unchanged: None } => {
            events.iter().map(|event| event_text(event.get())).collect::<String>().into_bytes()
        }
        Form { json: None, sse: None, hex: Some(hex), repeat: None, concat: None, unchanged: None } => {
            unhex(&hex).ok_or("`hex` is not an even number of hexadecimal digits")?
        }
        Form {
            json: None,
            sse: None,
            hex: None,
            repeat: Some((body, times)),
            concat: None,
            unchanged: None,
        } => body.bytes().repeat(times),
        Form { json: None, sse: None, hex: None, repeat: None, concat: Some(parts), unchanged: None } => {
            parts.iter().flat_map(|part| part.bytes().to_vec()).collect()
        }
        Form { json: None, sse: None, hex: None, repeat: None, concat: None, unchanged: Some(true) } => {
            return Ok(Body::Unchanged);
        }
        _ => {
            return Err(
                "a body is a text, or exactly one of json, sse, hex, repeat, concat, unchanged".into()
            );
        }
    };
    Ok(Body::Bytes(bytes))
}

/// One event: a JSON string is the data itself, anything else is sent as compact JSON.
fn event_text(raw: &str) -> String {
    let data = match serde_json::from_str::<String>(raw) {
        Ok(text) => text,
        Err(_) => compact(raw),
    };
    format!("data: {data}\n\n")
}

/// The same JSON text without the white space between its tokens.
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut string, mut escaped) = (false, false);
    for c in json.chars() {
        if string {
            out.push(c);
            string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
        } else if !c.is_ascii_whitespace() {
            string = c == '"';
            out.push(c);
        }
    }
    out
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok().filter(|_| pair.len() == 2))
        .collect()
}

/// Writes bytes in the most readable form that reads back as the same bytes.
pub fn write(bytes: &[u8], original: &[u8], indent: &str) -> String {
    if !bytes.is_empty() && bytes == original {
        return r#"{ "unchanged": true }"#.into();
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        return format!(r#"{{ "hex": "{hex}" }}"#);
    };
    if (text.starts_with('{') || text.starts_with('[')) && is_json(text) && compact(text) == text {
        return format!(r#"{{ "json": {text} }}"#);
    }
    if let Some(events) = split_events(text) {
        let lines: Vec<String> = events.iter().map(|event| format!("{indent}  {event}")).collect();
        return format!("{{ \"sse\": [\n{}\n{indent}] }}", lines.join(",\n"));
    }
    serde_json::to_string(text).unwrap()
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// The events of a text made only of `data: ..` lines, each as it is written under `sse`.
fn split_events(text: &str) -> Option<Vec<String>> {
    let body = text.strip_suffix("\n\n")?;
    let mut events = Vec::new();
    for event in body.split("\n\n") {
        let data = event.strip_prefix("data: ").filter(|data| !data.contains(['\n', '\r']))?;
        let plain = data.starts_with(['{', '[']) && is_json(data) && compact(data) == data;
        events.push(if plain { data.to_owned() } else { serde_json::to_string(data).unwrap() });
    }
    Some(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Vec<u8> {
        serde_json::from_str::<Body>(text).unwrap().bytes().to_vec()
    }

    #[test]
    fn each_form_is_exact_bytes() {
        assert_eq!(body(r#""a\nb""#), b"a\nb");
        assert_eq!(body(r#"{"json": {"a" : 1.0, "a":"x \" y"}}"#), br#"{"a":1.0,"a":"x \" y"}"#);
        assert_eq!(body(r#"{"sse": [{"a" : 1}, "[DONE]"]}"#), b"data: {\"a\":1}\n\ndata: [DONE]\n\n");
        assert_eq!(body(r#"{"hex": "ff 00"}"#), [255, 0]);
        assert_eq!(body(r#"{"concat": ["{", {"repeat": ["[", 3]}]}"#), b"{[[[");
    }

    #[test]
    fn an_unknown_or_double_form_is_refused() {
        for text in [r#"{"jsn": 1}"#, r#"{"json": 1, "hex": "00"}"#, "{}", "3", r#"{"hex": "f"}"#] {
            assert!(serde_json::from_str::<Body>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_bytes() {
        for bytes in [
            &b""[..],
            b"text \"quoted\"\n",
            br#"{"a":[1,"b c"]}"#,
            br#"{"a": 1}"#,
            b"[1",
            b"data: {\"a\":1}\n\ndata: [DONE]\n\n",
            b"data: {\"a\": 1}\n\ndata:x\n\n",
            b": note\n\ndata: x\n\n",
            b"\xff\xfe",
        ] {
            assert_eq!(body(&write(bytes, b"other", "")), bytes);
        }
        assert!(matches!(serde_json::from_str(&write(b"x", b"x", "")), Ok(Body::Unchanged)));
    }
}
