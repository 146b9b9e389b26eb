//! Takes the ends off texts: between two characters, never inside of an escape or of a pair of surrogates.

use std::ops::Range;

use super::conversation::{Conversation, Message};
use super::cursor::Cursor;
use crate::estimate::Text;
use crate::message::Edit;

/// Ends that were taken off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// One for each text; in no order.
    pub edits: Vec<Edit>,
    /// About how many tokens that is, and not more than it is.
    pub saved: u64,
}

/// Takes so many tokens off the texts of the messages that stay, the longest text first. No text becomes empty, and
/// no prompt is cut; nothing if that is not enough.
pub fn ends(conversation: &Conversation<'_>, gone: &[bool], excess: u64) -> Option<Ends> {
    let mut ends = Ends::default();
    if excess == 0 {
        return Some(ends);
    }
    let stays = |(message, gone): &(&Message, &bool)| !**gone && !message.is_prompt();
    let staying = conversation.messages.iter().zip(gone).filter(stays);
    let mut texts = Vec::new();
    for (message, _) in staying {
        if let Some(content) = &message.content {
            find_texts(conversation.body, content.clone(), &mut texts);
        }
    }
    texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    for span in texts {
        let left = excess.saturating_sub(ends.saved);
        if left == 0 {
            break;
        }
        let Some(inner) = conversation.body.get(span.clone()) else { continue };
        let (kept, saved) = shortened(inner, left);
        if saved > 0 {
            ends.edits.push(Edit {
                start: u32::try_from(span.start.saturating_add(kept)).ok()?,
                end: u32::try_from(span.end).ok()?,
                bytes: Vec::new(),
            });
            ends.saved = ends.saved.saturating_add(saved);
        }
    }
    (ends.saved >= excess).then_some(ends)
}

/// Where the texts of a `content` stand, without their quotes: it is one, or has parts that are.
fn find_texts(body: &str, content: Range<usize>, into: &mut Vec<Range<usize>>) {
    let mut cursor = Cursor::new(body, content.start);
    if !cursor.enter(b'[') {
        into.extend(inner(body, content));
        return;
    }
    while cursor.more(b']') {
        if !cursor.enter(b'{') {
            if cursor.value().is_none() {
                return;
            }
            continue;
        }
        while cursor.more(b'}') {
            let is_text = cursor.key().is_some_and(|key| key == "text");
            let Some(value) = cursor.value() else { return };
            into.extend(Some(value).filter(|_| is_text).and_then(|value| inner(body, value)));
        }
    }
}

/// A string without its quotes.
fn inner(body: &str, span: Range<usize>) -> Option<Range<usize>> {
    let is_string = body.get(span.clone())?.starts_with('"');
    is_string.then(|| span.start.saturating_add(1)..span.end.saturating_sub(1))
}

/// How many bytes of the inside of a string stay when it loses so many tokens, or as many as it can, and how many
/// tokens it loses at least.
fn shortened(inner: &str, excess: u64) -> (usize, u64) {
    let mut all = Text::default();
    let mut at = 0;
    while let Some(unit) = next(inner, at, usize::MAX) {
        unit.add_to(&mut all);
        at = unit.end;
    }
    let tokens = all.tokens();
    // What stays is rounded up too.
    let most = tokens.saturating_sub(excess).saturating_sub(1);
    let mut kept = Text::default();
    let mut end = 0;
    loop {
        // No character has more tokens than bytes: so many bytes always fit.
        let room = usize::try_from(most.saturating_sub(kept.tokens())).unwrap_or(usize::MAX);
        let Some(unit) = next(inner, end, room) else { break };
        let mut more = kept;
        unit.add_to(&mut more);
        // The first character stays, however little room there is.
        if more.tokens() > most && end > 0 {
            break;
        }
        (kept, end) = (more, unit.end);
    }
    (end, tokens.saturating_sub(kept.tokens()).saturating_sub(1))
}

/// Characters, or an escape that must not be taken apart.
struct Unit<'b> {
    json: &'b str,
    end: usize,
}

impl Unit<'_> {
    /// What a tokenizer sees is what an escape stands for.
    fn add_to(&self, text: &mut Text) {
        match self.json.strip_prefix('\\') {
            Some(escape) => text.add(meaning(escape).encode_utf8(&mut [0; 4]).as_bytes()),
            None => text.add(self.json.as_bytes()),
        }
    }
}

/// What stands at this byte of the inside of a string: an escape, or characters of at most so many bytes, but one.
fn next(inner: &str, at: usize, most: usize) -> Option<Unit<'_>> {
    let rest = inner.get(at..)?;
    let length = match rest.strip_prefix('\\') {
        Some(escape) => length(escape).saturating_add(1),
        None => {
            let near = rest.get(..rest.floor_char_boundary(most)).unwrap_or_default();
            near.find('\\').unwrap_or(near.len()).max(rest.chars().next()?.len_utf8())
        }
    };
    Some(Unit { json: rest.get(..length)?, end: at.saturating_add(length) })
}

/// How many bytes an escape has behind its backslash; two surrogates are one.
fn length(escape: &str) -> usize {
    match units(escape) {
        (None, _) => "n".len(),
        (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => r"ud800\udc00".len(),
        _ => "u0000".len(),
    }
}

/// The character that an escape stands for.
fn meaning(escape: &str) -> char {
    match (units(escape), escape.chars().next()) {
        ((Some(high), Some(low)), _) => {
            let pair = char::decode_utf16([high, low]).next();
            pair.and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        ((Some(unit), None), _) => char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER),
        (_, Some('b')) => '\u{8}',
        (_, Some('f')) => '\u{c}',
        (_, Some('n')) => '\n',
        (_, Some('t')) => '\t',
        (_, Some('r')) => '\r',
        (_, other) => other.unwrap_or(' '),
    }
}

/// The code unit of UTF-16 that an escape names, and the one that the next escape names.
fn units(escape: &str) -> (Option<u16>, Option<u16>) {
    let unit = |escape: &str| u16::from_str_radix(escape.strip_prefix('u')?.get(..4)?, 16).ok();
    (unit(escape), escape.get(5..).and_then(|rest| rest.strip_prefix('\\')).and_then(unit))
}
