//! Chat completions as they go over the wire, in the order OpenAI writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::next_number;

/// What an answer and all its events have in common.
#[derive(Clone, Debug)]
pub struct Head {
    id: String,
    created: u64,
    model: String,
}

impl Head {
    pub fn new(model: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id: format!("chatcmpl-sim-{}", next_number()),
            created: now.as_secs(),
            model: model.to_owned(),
        }
    }
}

/// A whole answer.
pub struct Document<'a> {
    pub head: &'a Head,
    pub object: &'static str,
    pub choices: Vec<Choice>,
    pub usage: Usage,
}

impl Serialize for Document<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            id: &'a str,
            object: &'static str,
            created: u64,
            model: &'a str,
            choices: &'a [Choice],
            usage: Usage,
            system_fingerprint: &'static str,
        }
        let Head { id, created, model } = self.head;
        let (object, choices, usage) = (self.object, &self.choices, self.usage);
        let fingerprint = "fp_simulated";
        Fields { id, object, created: *created, model, choices, usage, system_fingerprint: fingerprint }
            .serialize(serializer)
    }
}

#[derive(Serialize)]
pub struct Choice {
    pub index: u64,
    pub message: Message,
    pub logprobs: Option<()>,
    pub finish_reason: &'static str,
}

#[derive(Serialize)]
pub struct Message {
    pub role: &'static str,
    pub content: Option<String>,
    pub refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<[ToolCall; 1]>,
}

/// One event of a stream.
#[derive(Serialize)]
pub struct Event<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: Vec<EventChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

impl<'a> Event<'a> {
    /// `usage` is absent unless it was asked for; then null until the last event.
    pub fn of(head: &'a Head, choices: Vec<EventChoice>, usage: Option<Option<Usage>>) -> Self {
        let Head { id, created, model } = head;
        let (object, system_fingerprint) = ("chat.completion.chunk", "fp_simulated");
        Self { id, object, created: *created, model, system_fingerprint, choices, usage }
    }
}

#[derive(Serialize)]
pub struct EventChoice {
    pub index: u64,
    pub delta: Delta,
    pub logprobs: Option<()>,
    pub finish_reason: Option<&'static str>,
}

/// What one event adds to a choice.
#[derive(Default, Serialize)]
pub struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCall; 1]>,
}

impl Delta {
    /// The first of a choice; its content is null if it calls a tool.
    pub fn opening(calls: bool) -> Self {
        Self { role: Some("assistant"), content: Some((!calls).then(String::new)), tool_calls: None }
    }

    pub fn content(text: String) -> Self {
        Self { content: Some(Some(text)), ..Self::default() }
    }

    /// The first of a call.
    pub fn call(choice: u64, name: &str) -> Self {
        let call = ToolCall { index: Some(0), ..ToolCall::whole(choice, name, "") };
        Self { tool_calls: Some([call]), ..Self::default() }
    }

    pub fn arguments(piece: String) -> Self {
        let function = Function { name: None, arguments: piece };
        let call = ToolCall { index: Some(0), id: None, kind: None, function };
        Self { tool_calls: Some([call]), ..Self::default() }
    }
}

#[derive(Serialize)]
pub struct ToolCall {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function,
}

#[derive(Serialize)]
struct Function {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    arguments: String,
}

impl ToolCall {
    pub fn whole(choice: u64, name: &str, arguments: &str) -> Self {
        let function = Function { name: Some(name.to_owned()), arguments: arguments.to_owned() };
        Self { index: None, id: Some(format!("call_sim_{choice}")), kind: Some("function"), function }
    }
}

/// Token counts: the details are parts of the counts above them.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl Usage {
    pub fn of(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            prompt_tokens_details: PromptDetails { cached_tokens: 0 },
            completion_tokens_details: CompletionDetails { reasoning_tokens: 0 },
        }
    }
}
