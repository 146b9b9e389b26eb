//! What becomes of a conversation that is longer than the context of a model.
//!
//! It is refused, made shorter, or sent to another model, as the model's configuration says. A conversation is too
//! long when its estimated input and the output that the client asks for (`max_tokens`; nothing, if it names none,
//! as OpenAI counts) exceed the window. An estimate can be wrong: so that an upstream's own word can be heeded
//! ([`learnt`]), the next thing to do is prepared with the first, for a body is read but once.

mod conversation;
mod cursor;
mod cut;
pub mod learnt;
#[cfg(test)]
mod tests;
mod trim;

use std::cell::OnceCell;
use std::fmt::Write;

use self::conversation::Conversation;
use self::trim::Trimmed;
use crate::config::{Allowed, Config, Model, Overflow};
use crate::endpoint::Kind;
use crate::message::{Edit, Own, OwnHeader};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::ticket::{BadTicket, Change, Exchange, Step};

/// What a request is sent as.
#[derive(Debug)]
pub struct Form<'b> {
    /// The model whose targets it is sent to.
    pub model: u32,
    /// The request as that model takes it, where it takes other parameters than the model asked for.
    pub request: Option<Request<'b>>,
    /// How its conversation was made shorter, if it was.
    pub change: Option<Change>,
    /// The edits that make it so.
    pub edits: Vec<Edit>,
    /// About how many input tokens it then has.
    pub input: u64,
}

/// How a request is sent.
#[derive(Debug)]
pub struct Forms<'b> {
    /// First.
    pub first: Form<'b>,
    /// When an upstream says that this is too long, if anything can be done then.
    pub spare: Option<Form<'b>>,
}

/// Decides how a request for a model is sent.
pub fn forms<'b>(
    config: &Config,
    allowed: &Allowed,
    kind: Kind,
    model: u32,
    request: &Request<'b>,
    body: &'b [u8],
) -> Result<Forms<'b>, Refusal> {
    let own = config.model(model);
    let context = own.and_then(|model| model.context).filter(|_| kind == Kind::Chat);
    let (Some(own), Some(context)) = (own, context) else {
        let input = request.input_estimate;
        let first = Form { model, request: None, change: None, edits: Vec::new(), input };
        return Ok(Forms { first, spare: None });
    };
    // The body was read as text before.
    let text = std::str::from_utf8(body).unwrap_or_default();
    let making = Making { config, own, request, body: text, conversation: OnceCell::new() };
    let ways = ways(config, allowed, model);
    let first =
        ways.iter().enumerate().find_map(|(index, way)| Some((index, way, making.form(*way, u64::MAX)?)));
    let (input, output) = (request.input_estimate, request.asked_output());
    let (index, way, first) =
        first.ok_or(Refusal::ContextExceeded { window: context.window, input, output })?;
    // What an upstream does not take is longer than it was taken for.
    let most = first.input.saturating_sub(first.input / 4);
    let later = index.saturating_add(usize::from(!matches!(way, Way::Shortened(_))));
    let spare = ways.iter().skip(later).find_map(|way| making.form(*way, most));
    Ok(Forms { first, spare })
}

/// One way to send a request: as what, and to the targets of which model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As it is.
    Whole(u32),
    /// As much of it as the window takes.
    Shortened(u32),
    /// The prompts and the last messages.
    Reduced(u32),
}

/// The ways for a model, the best first. A fallback that the caller may not use is none.
fn ways(config: &Config, allowed: &Allowed, model: u32) -> Vec<Way> {
    let mut ways = vec![Way::Whole(model)];
    let mut at = model;
    loop {
        match config.model(at).and_then(|model| model.context).map(|context| context.overflow) {
            // No circles: a configuration with one was refused.
            Some(Overflow::Fallback(next)) if allowed.contains(next) => {
                ways.push(Way::Whole(next));
                at = next;
            }
            Some(Overflow::Truncate) => {
                ways.push(Way::Shortened(at));
                return ways;
            }
            _ => {
                ways.extend((at != model).then_some(Way::Reduced(at)));
                return ways;
            }
        }
    }
}

/// What forms are made of.
struct Making<'r, 'b> {
    config: &'r Config,
    /// The model asked for.
    own: &'r Model,
    request: &'r Request<'b>,
    body: &'b str,
    /// Read when it is first needed.
    conversation: OnceCell<Conversation<'b>>,
}

impl<'b> Making<'_, 'b> {
    /// The request sent this way; nothing if that does not fit. What is made shorter has at most about so many input
    /// tokens then.
    fn form(&self, way: Way, most: u64) -> Option<Form<'b>> {
        let (Way::Whole(model) | Way::Shortened(model) | Way::Reduced(model)) = way;
        let served = self.config.model(model)?;
        let adapted = if served.parameters == self.own.parameters {
            None
        } else {
            Some(Request::read(Kind::Chat, self.body.as_bytes(), |_| Ok(&served.parameters)).ok()?)
        };
        let request = adapted.as_ref().unwrap_or(self.request);
        let (input, asked) = (request.input_estimate, request.asked_output().unwrap_or(0));
        // How many input tokens there is room for beside the output.
        let room = served.context.map_or(Some(u64::MAX), |context| context.window.checked_sub(asked))?;
        let trimmed = match way {
            Way::Whole(_) => None,
            Way::Shortened(_) => {
                Some(trim::shortened(self.conversation(), input.saturating_sub(room.min(most)))?)
            }
            Way::Reduced(_) => Some(trim::reduced(self.conversation())),
        };
        let input = input.saturating_sub(trimmed.as_ref().map_or(0, |trimmed| trimmed.saved));
        let changes = trimmed.as_ref().is_none_or(|trimmed| !trimmed.edits.is_empty());
        let change = trimmed.as_ref().map(|Trimmed { dropped, cut, .. }| Change {
            dropped: *dropped,
            cut: *cut,
            input,
        });
        let edits = trimmed.map(|trimmed| trimmed.edits).unwrap_or_default();
        (changes && input <= room).then_some(Form { model, request: adapted, change, edits, input })
    }

    fn conversation(&self) -> &Conversation<'b> {
        self.conversation.get_or_init(|| Conversation::read(self.body))
    }
}

/// The edits of a target, and those that make the conversation shorter. What is left out need not be changed.
pub fn joined(own: Vec<Edit>, shorter: &[Edit]) -> Vec<Edit> {
    let is_gone = |edit: &Edit| {
        let before = shorter.partition_point(|other| other.start < edit.start);
        // One that begins before this one and ends after it.
        let around = before.checked_sub(1).and_then(|index| shorter.get(index));
        around.is_some_and(|other| edit.end <= other.end && edit.start < other.end)
            || shorter.get(before).is_some_and(|other| {
                edit.start == other.start && edit.start < edit.end && edit.end <= other.end
            })
    };
    let mut edits = own;
    edits.retain(|edit| !is_gone(edit));
    edits.extend_from_slice(shorter);
    Edit::sort(&mut edits);
    edits
}

/// The header that tells the client what was done, if anything was.
pub fn told(config: &Config, exchange: &Exchange<'_>, step: Step) -> Result<Option<OwnHeader>, BadTicket> {
    let mut value = String::new();
    if step.model != exchange.model {
        let model = config.model(step.model).ok_or(BadTicket)?;
        value.push_str("fallback; model=");
        push_escaped(&mut value, &model.name);
    } else if step.change.is_some() {
        value.push_str("truncated");
    } else {
        return Ok(None);
    }
    if let Some(Change { dropped, cut, .. }) = step.change {
        // Writing to memory does not fail.
        let _ = write!(value, "; dropped={dropped}");
        if cut > 0 {
            let _ = write!(value, "; cut={cut}");
        }
    }
    Ok(Some(OwnHeader { name: Own::TollgateContext, value }))
}

/// A model may have any name, a header not: all but the plainest characters as in a URL, `%20`.
fn push_escaped(value: &mut String, name: &str) {
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/@".contains(&byte) {
            value.push(byte.into());
        } else {
            let _ = write!(value, "%{byte:02X}");
        }
    }
}
