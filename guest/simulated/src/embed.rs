//! `POST /v1/embeddings`: vectors of length 1 that depend on nothing but the input and the number of dimensions.

use http::Response;
use serde::Serialize;
use serde_json::Value;

use crate::ask::{Fields, wrong};
use crate::error::ApiError;
use crate::speech::tokens;
use crate::{Body, json};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Entry {
    object: &'static str,
    index: usize,
    embedding: Embedding,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Embedding {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// Reads a request and answers it.
pub fn answer(body: &[u8]) -> Result<Response<Body>, ApiError> {
    let fields = Fields::read(body)?;
    let model = fields.model()?;
    let inputs = inputs(&fields)?;
    let usual = if model.contains("large") { 3072 } else { 1536 };
    let dimensions = fields.number("dimensions", 1, 8192)?.unwrap_or(usual);
    let base64 = match fields.get("encoding_format").map(Value::as_str) {
        None | Some(Some("float")) => false,
        Some(Some("base64")) => true,
        Some(_) => return Err(wrong("encoding_format", "'float' or 'base64'")),
    };
    let entry = |(index, input): (usize, &Input)| {
        let vector = vector(&input.text, dimensions);
        let embedding = if base64 { Embedding::Base64(encode(&vector)) } else { Embedding::Floats(vector) };
        Entry { object: "embedding", index, embedding }
    };
    let count = inputs.iter().fold(0_u64, |sum, input| sum.saturating_add(input.tokens));
    let usage = Usage { prompt_tokens: count, total_tokens: count };
    Ok(json(&List { object: "list", data: inputs.iter().enumerate().map(entry).collect(), model, usage }))
}

struct Input {
    text: String,
    tokens: u64,
}

/// One text, several, one list of tokens, or several.
fn inputs(fields: &Fields) -> Result<Vec<Input>, ApiError> {
    let what = "a non-empty string, or an array of strings or of tokens";
    if let Some(Value::String(text)) = fields.get("input") {
        let text = Some(text).filter(|text| !text.is_empty()).ok_or_else(|| wrong("input", what))?;
        return Ok(vec![Input { text: text.clone(), tokens: tokens(text) }]);
    }
    let list = fields.list("input")?;
    let all_tokens = |list: &[Value]| list.iter().all(Value::is_u64);
    let of_tokens = |list: &[Value]| {
        let text = list.iter().map(|token| format!("{token} ")).collect();
        Input { text, tokens: u64::try_from(list.len()).unwrap_or(u64::MAX) }
    };
    if all_tokens(list) {
        return Ok(vec![of_tokens(list)]);
    }
    let input = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Ok(Input { text: text.clone(), tokens: tokens(text) }),
        Value::Array(list) if !list.is_empty() && all_tokens(list) => Ok(of_tokens(list)),
        _ => Err(wrong("input", what)),
    };
    list.iter().map(input).collect()
}

fn vector(text: &str, dimensions: u64) -> Vec<f32> {
    // FNV-1a chooses where a xorshift generator begins.
    let seed = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bits = u16::try_from(state >> 48).unwrap_or(0);
        f32::from(bits) / 32_768.0 - 1.0
    };
    let mut vector: Vec<f32> = (0..dimensions).map(|_| next()).collect();
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

/// Little-endian floats in base 64, as the official clients ask for.
fn encode(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit =
                usize::try_from(word >> (18 - 6 * place) & 63).ok().and_then(|digit| BASE64.get(digit));
            let digit = digit.filter(|_| place <= group.len()).map_or('=', |digit| char::from(*digit));
            text.push(digit);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_common_one() {
        assert_eq!(encode(&[1.0]), "AACAPw==");
        assert_eq!(encode(&[1.0, -2.0]), "AACAPwAAAMA=");
        assert_eq!(encode(&[1.0, -2.0, 0.5]), "AACAPwAAAMAAAAA/");
        assert_eq!(encode(&[]), "");
    }

    #[test]
    fn vectors_have_length_one_and_depend_on_the_text() {
        let one = vector("one", 64);
        assert!((one.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-4);
        assert_eq!(one, vector("one", 64));
        assert_ne!(one, vector("two", 64));
    }
}
