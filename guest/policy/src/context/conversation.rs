//! The messages of a chat: where each stands in the body, and which must stay together.
//!
//! Read once more than the request is, but only where a model's context has an end, and without their texts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use super::cursor::Cursor;
use crate::request::{self, string};

/// A chat.
#[derive(Debug)]
pub struct Conversation<'b> {
    /// The whole body.
    pub body: &'b str,
    /// Every message, the oldest first.
    pub messages: Vec<Message>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it stands in the body.
    pub span: Range<usize>,
    /// Where its `content` stands, if it has one.
    pub content: Option<Range<usize>>,
    pub role: Role,
    /// Whether it must stay with the message before it: an answer of a tool does with its call, and with all between.
    pub joined: bool,
}

/// Who speaks, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The application: `system` or `developer`.
    Prompt,
    /// The person.
    User,
    /// The model, a tool, or anybody else.
    Other,
}

impl Message {
    /// Whether it is never left out.
    pub fn is_prompt(&self) -> bool {
        self.role == Role::Prompt
    }
}

impl<'b> Conversation<'b> {
    /// Reads the messages of a body that was found sound before.
    pub fn read(body: &'b str) -> Self {
        let mut reading = Reading::default();
        let mut cursor = Cursor::new(body, 0);
        cursor.enter(b'{');
        while cursor.more(b'}') {
            let Some(key) = cursor.key() else { break };
            if key == "messages" {
                reading.messages(body, &mut cursor);
                break;
            }
            if cursor.value().is_none() {
                break;
            }
        }
        Self { body, messages: reading.joined() }
    }

    /// About how many input tokens a message adds, and not more than it does.
    pub fn tokens(&self, message: &Message) -> u64 {
        let part = self.body.get(message.span.clone());
        let sent = part.map(|part| request::message(part, self.body.len())).unwrap_or_default();
        // All of them together are rounded once.
        sent.tokens().saturating_sub(1)
    }
}

/// What is known while messages are read.
#[derive(Default)]
struct Reading<'b> {
    messages: Vec<Message>,
    /// For each message, the one it answers; itself, if none.
    answered: Vec<usize>,
    /// Who made each call last.
    callers: BTreeMap<Cow<'b, str>, usize>,
    /// Who made a call last.
    caller: Option<usize>,
}

/// What one message says of calls.
#[derive(Default)]
struct Said<'b> {
    /// The ids of its calls.
    calls: Vec<Cow<'b, str>>,
    /// Whether it makes a call without an id.
    calls_function: bool,
    /// The call it answers.
    answers: Option<Cow<'b, str>>,
}

impl<'b> Reading<'b> {
    fn messages(&mut self, body: &'b str, cursor: &mut Cursor<'b>) {
        if !cursor.enter(b'[') {
            return;
        }
        while cursor.more(b']') {
            if self.message(body, cursor).is_none() {
                return;
            }
        }
    }

    fn message(&mut self, body: &'b str, cursor: &mut Cursor<'b>) -> Option<()> {
        let start = cursor.place();
        let (mut role, mut content, mut said) = (None, None, Said::default());
        if cursor.enter(b'{') {
            while cursor.more(b'}') {
                match &*cursor.key()? {
                    "role" => role = body.get(cursor.value()?).and_then(string),
                    "content" => content = Some(cursor.value()?),
                    "tool_calls" => calls(body, cursor, &mut said.calls)?,
                    "function_call" => said.calls_function = body.get(cursor.value()?)?.starts_with('{'),
                    "tool_call_id" => said.answers = body.get(cursor.value()?).and_then(string),
                    _ => {
                        cursor.value()?;
                    }
                }
            }
        } else {
            cursor.value()?;
        }
        let role = role.unwrap_or_default();
        let index = self.messages.len();
        self.answered.push(self.answered_by(index, &role, &said));
        if said.calls_function || !said.calls.is_empty() {
            self.caller = Some(index);
        }
        self.callers.extend(said.calls.into_iter().map(|call| (call, index)));
        let role = match &*role {
            "system" | "developer" => Role::Prompt,
            "user" => Role::User,
            _ => Role::Other,
        };
        self.messages.push(Message { span: start..cursor.passed(), content, role, joined: false });
        Some(())
    }

    /// Which message made the call that this one answers.
    fn answered_by(&self, index: usize, role: &str, said: &Said<'b>) -> usize {
        let named = said.answers.as_ref().and_then(|call| self.callers.get(call)).copied();
        let caller = match role {
            "tool" => named.or(self.caller),
            // The older form has no ids.
            "function" => self.caller,
            _ => None,
        };
        caller.unwrap_or(index)
    }

    /// The messages, each with whether it stays with the one before: it does if it or a later one answers an earlier.
    fn joined(self) -> Vec<Message> {
        let mut messages = self.messages;
        let mut earliest = usize::MAX;
        for ((index, message), answered) in messages.iter_mut().enumerate().zip(self.answered).rev() {
            earliest = earliest.min(answered);
            message.joined = earliest < index;
        }
        messages
    }
}

/// The ids in `tool_calls`.
fn calls<'b>(body: &'b str, cursor: &mut Cursor<'b>, into: &mut Vec<Cow<'b, str>>) -> Option<()> {
    if !cursor.enter(b'[') {
        return cursor.value().map(|_| ());
    }
    while cursor.more(b']') {
        if !cursor.enter(b'{') {
            cursor.value()?;
            continue;
        }
        while cursor.more(b'}') {
            let is_id = cursor.key()? == "id";
            let value = cursor.value()?;
            into.extend(body.get(value).filter(|_| is_id).and_then(string));
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(messages: &str) -> Vec<(String, Role, bool)> {
        let body = format!(r#" {{ "a\"]": [{{}}], "messages" : {messages}, "model": "m" }} "#);
        let conversation = Conversation::read(&body);
        let shown = |message: &Message| {
            let content = message.content.clone().map_or("", |span| &body[span]);
            (content.to_owned(), message.role, message.joined)
        };
        conversation.messages.iter().map(shown).collect()
    }

    fn joined(messages: &str) -> Vec<bool> {
        read(messages).into_iter().map(|(_, _, joined)| joined).collect()
    }

    #[test]
    fn roles_and_contents_are_found() {
        let messages = r#"[{"role":"system","content":"s"}, {"content":["x"] ,"role":"developer"},
            {"role":"\u0075ser","name":"n","content":"u"},{"role":"assistant"},{}, 5, {"role":5,"content":null}]"#;
        let (other, open) = (Role::Other, false);
        let expected = [
            ("\"s\"", Role::Prompt, open),
            ("[\"x\"]", Role::Prompt, open),
            ("\"u\"", Role::User, open),
            ("", other, open),
            ("", other, open),
            ("", other, open),
            ("null", other, open),
        ];
        assert_eq!(
            read(messages),
            expected.map(|(content, role, joined)| (content.to_owned(), role, joined))
        );
        assert_eq!(read("5"), []);
        assert_eq!(read("[]"), []);
    }

    #[test]
    fn spans_are_those_of_the_messages() {
        let body = r#"{"messages":[ {"role":"user"} ,{}]}"#;
        let spans: Vec<_> =
            Conversation::read(body).messages.into_iter().map(|message| message.span).collect();
        assert_eq!(
            spans.iter().map(|span| &body[span.clone()]).collect::<Vec<_>>(),
            [r#"{"role":"user"}"#, "{}"]
        );
    }

    #[test]
    fn an_answer_of_a_tool_stays_with_its_call_and_all_between() {
        let call = |id: &str| format!(r#"{{"role":"assistant","tool_calls":[{{"type":"f","id":"{id}"}}]}}"#);
        let answer = |id: &str| format!(r#"{{"role":"tool","tool_call_id":"{id}"}}"#);
        let user = r#"{"role":"user"}"#;
        let (a, b) = (call("a"), call("b"));
        let (to_a, to_b) = (answer("a"), answer("b"));
        for (messages, expected) in [
            (vec![user, &a, &to_a, user], vec![false, false, true, false]),
            (vec![&a, user, &to_a, user], vec![false, true, true, false]),
            (vec![&a, &b, &to_b, &to_a, user], vec![false, true, true, true, false]),
            (vec![&a, &to_a, &a, &to_a], vec![false, true, false, true]),
            // A call that is answered twice, one that is not known, and one that nobody made.
            (vec![&a, &to_a, &to_a, &to_b], vec![false, true, true, true]),
            (vec![user, &to_a, user], vec![false, false, false]),
            (vec![&a, user, user], vec![false, false, false]),
            (vec![&answer("\\u0061"), &a, &answer("\\u0061")], vec![false, false, true]),
        ] {
            assert_eq!(joined(&format!("[{}]", messages.join(","))), expected, "{messages:?}");
        }
        let older = r#"[{"role":"assistant","function_call":{"name":"f"}},{"role":"function","name":"f"},{"role":"user"}]"#;
        assert_eq!(joined(older), [false, true, false]);
        let none = r#"[{"role":"assistant","function_call":null,"tool_calls":null},{"role":"function"}]"#;
        assert_eq!(joined(none), [false, false]);
    }
}
