//! What a request may look like: the reference of OpenAI's chat completions and embeddings, as tables.
//!
//! A field that is not here passes as it is: providers have fields of their own. `null` says as much as nothing where a
//! field is not needed.

use super::number::Thousandths;
use crate::estimate::{MOST_OUTPUT, PartKind};

/// What a value must be.
#[derive(Debug)]
pub enum Type {
    /// Anything.
    Any,
    Boolean,
    /// A whole number.
    Integer {
        least: i64,
        most: i64,
    },
    /// Any number.
    Decimal {
        least: Thousandths,
        most: Thousandths,
    },
    /// A string with at most so many characters, and at least one if `filled`.
    Text {
        filled: bool,
        most: usize,
    },
    /// 1 to 64 of `A-Z a-z 0-9 _ -`.
    Name,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// An object with these fields among others.
    Object(&'static Object),
    /// An array of so many.
    List {
        of: &'static Type,
        least: usize,
        most: usize,
    },
    /// A string, or that.
    TextOr(&'static Type),
    /// An object of any keys, each with such a value.
    Map(&'static Type),
    /// `input` of embeddings: texts or tokens, one or many.
    Input,
}

/// An object.
#[derive(Debug)]
pub struct Object {
    pub fields: &'static [Field],
    /// The field whose value says which others are needed, and for each value their names. Values that are not listed need
    /// nothing.
    pub by: Option<(&'static str, &'static [Case])>,
    pub kind: ObjectKind,
}

/// A value, and the fields that are needed with it.
type Case = (&'static str, &'static [&'static str]);

/// Objects that more is to be said about than their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    Plain,
    Message,
    Part,
    /// What a part of a message is made of that is no text.
    Media(PartKind),
    ToolCall,
    Tool,
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub of: Type,
    pub needed: bool,
}

const fn may(name: &'static str, of: Type) -> Field {
    Field { name, of, needed: false }
}

const fn must(name: &'static str, of: Type) -> Field {
    Field { name, of, needed: true }
}

const ANY_TEXT: Type = Type::Text { filled: false, most: usize::MAX };
const MOST_TOOLS: usize = 128;
const MOST_STOPS: usize = 4;
pub const MOST_INPUTS: usize = 2048;

const fn plain(fields: &'static [Field]) -> Object {
    Object { fields, by: None, kind: ObjectKind::Plain }
}

const fn media(kind: PartKind, fields: &'static [Field]) -> Object {
    Object { fields, by: None, kind: ObjectKind::Media(kind) }
}

static FUNCTION: Object = plain(&[
    must("name", Type::Name),
    may("description", ANY_TEXT),
    may("parameters", Type::Object(&plain(&[]))),
    may("strict", Type::Boolean),
]);
static TOOL: Type = Type::Object(&Object {
    fields: &[must("type", ANY_TEXT), may("function", Type::Object(&FUNCTION))],
    by: Some(("type", &[("function", &["function"])])),
    kind: ObjectKind::Tool,
});
static TOOL_CHOICE: Object = Object {
    fields: &[must("type", ANY_TEXT), may("function", Type::Object(&plain(&[must("name", Type::Name)])))],
    by: Some(("type", &[("function", &["function"])])),
    kind: ObjectKind::Plain,
};
static RESPONSE_FORMAT: Object = Object {
    fields: &[
        must("type", Type::Choice(&["text", "json_object", "json_schema"])),
        may(
            "json_schema",
            Type::Object(&plain(&[
                must("name", Type::Name),
                may("description", ANY_TEXT),
                may("schema", Type::Object(&plain(&[]))),
                may("strict", Type::Boolean),
            ])),
        ),
    ],
    by: Some(("type", &[("json_schema", &["json_schema"])])),
    kind: ObjectKind::Plain,
};
static PART: Type = Type::Object(&Object {
    fields: &[
        must("type", ANY_TEXT),
        may("text", ANY_TEXT),
        may("refusal", ANY_TEXT),
        may(
            "image_url",
            Type::Object(&media(
                PartKind::Image,
                &[
                    must("url", Type::Text { filled: true, most: usize::MAX }),
                    may("detail", Type::Choice(&["auto", "low", "high"])),
                ],
            )),
        ),
        may(
            "input_audio",
            Type::Object(&media(PartKind::Sound, &[must("data", ANY_TEXT), must("format", ANY_TEXT)])),
        ),
        may("file", Type::Object(&media(PartKind::File, &[may("file_data", ANY_TEXT)]))),
    ],
    by: Some((
        "type",
        &[
            ("text", &["text"]),
            ("refusal", &["refusal"]),
            ("image_url", &["image_url"]),
            ("input_audio", &["input_audio"]),
            ("file", &["file"]),
        ],
    )),
    kind: ObjectKind::Part,
});
static TOOL_CALL: Type = Type::Object(&Object {
    fields: &[
        must("id", Type::Text { filled: true, most: usize::MAX }),
        must("type", ANY_TEXT),
        may(
            "function",
            Type::Object(&plain(&[
                must("name", Type::Text { filled: true, most: usize::MAX }),
                must("arguments", ANY_TEXT),
            ])),
        ),
    ],
    by: Some(("type", &[("function", &["function"])])),
    kind: ObjectKind::ToolCall,
});
/// The roles of messages.
pub const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool", "function"];
/// A message of a chat.
pub static MESSAGE: Type = Type::Object(&Object {
    fields: &[
        must("role", Type::Choice(ROLES)),
        may("content", Type::TextOr(&Type::List { of: &PART, least: 1, most: usize::MAX })),
        may("name", Type::Text { filled: true, most: usize::MAX }),
        may("tool_calls", Type::List { of: &TOOL_CALL, least: 1, most: usize::MAX }),
        may("tool_call_id", Type::Text { filled: true, most: usize::MAX }),
        may("refusal", ANY_TEXT),
        may("function_call", Type::Any),
        may("audio", Type::Any),
    ],
    by: Some((
        "role",
        &[
            ("system", &["content"]),
            ("developer", &["content"]),
            ("user", &["content"]),
            ("tool", &["content", "tool_call_id"]),
            ("function", &["name"]),
        ],
    )),
    kind: ObjectKind::Message,
});

const MOST: i64 = MOST_OUTPUT.cast_signed();
const PENALTY: Type = Type::Decimal { least: -2_000, most: 2_000 };
static BIAS: Type = Type::Decimal { least: -100_000, most: 100_000 };
static STOP: Type = Type::List { of: &ANY_TEXT, least: 0, most: MOST_STOPS };
static MODALITY: Type = Type::Text { filled: true, most: 64 };

/// The parameters of chat completions.
pub static CHAT: &[Field] = &[
    must("model", Type::Text { filled: true, most: usize::MAX }),
    must("messages", Type::List { of: &MESSAGE, least: 1, most: usize::MAX }),
    may("stream", Type::Boolean),
    may("stream_options", Type::Object(&plain(&[may("include_usage", Type::Boolean)]))),
    may("max_tokens", Type::Integer { least: 1, most: MOST }),
    may("max_completion_tokens", Type::Integer { least: 1, most: MOST }),
    may("n", Type::Integer { least: 1, most: 128 }),
    may("temperature", Type::Decimal { least: 0, most: 2_000 }),
    may("top_p", Type::Decimal { least: 0, most: 1_000 }),
    may("stop", Type::TextOr(&STOP)),
    may("presence_penalty", PENALTY),
    may("frequency_penalty", PENALTY),
    may("logit_bias", Type::Map(&BIAS)),
    may("logprobs", Type::Boolean),
    may("top_logprobs", Type::Integer { least: 0, most: 20 }),
    may("seed", Type::Integer { least: i64::MIN, most: i64::MAX }),
    may("tools", Type::List { of: &TOOL, least: 0, most: MOST_TOOLS }),
    may("functions", Type::Any),
    may("function_call", Type::Any),
    may("tool_choice", Type::TextOr(&Type::Object(&TOOL_CHOICE))),
    may("parallel_tool_calls", Type::Boolean),
    may("response_format", Type::Object(&RESPONSE_FORMAT)),
    may("reasoning_effort", Type::Text { filled: true, most: 64 }),
    may("modalities", Type::List { of: &MODALITY, least: 1, most: 16 }),
    may("service_tier", Type::Text { filled: true, most: 64 }),
    may("user", ANY_TEXT),
];

/// The parameters of embeddings.
pub static EMBEDDINGS: &[Field] = &[
    must("model", Type::Text { filled: true, most: usize::MAX }),
    must("input", Type::Input),
    may("encoding_format", Type::Choice(&["float", "base64"])),
    may("dimensions", Type::Integer { least: 1, most: 1_000_000 }),
    may("user", ANY_TEXT),
];

/// What a model's configuration can say something about: a parameter of either endpoint.
pub fn parameter(name: &str) -> Option<&'static Field> {
    const FIXED: [&str; 5] = ["model", "messages", "input", "stream", "stream_options"];
    CHAT.iter().chain(EMBEDDINGS).find(|field| field.name == name && !FIXED.contains(&name))
}
