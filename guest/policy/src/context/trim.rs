//! Makes a conversation shorter, as edits of the client's body.
//!
//! Never left out: prompts (`system`, `developer`), what the user said last, and one half of a call of a tool.
//! First the oldest turns go, each with all that was said until the user spoke again; then, in the turn that is under
//! way, the oldest answers and calls of tools, but for the last. Only when nothing else can go, texts lose their ends,
//! the longest text first.

use std::ops::Range;

use super::conversation::{Conversation, Message, Role};
use super::cut;
use crate::message::Edit;

/// A conversation that was made shorter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// In the order of the body, and apart.
    pub edits: Vec<Edit>,
    /// How many messages were left out.
    pub dropped: u32,
    /// How many texts lost their ends.
    pub cut: u32,
    /// About how many tokens that is, and not more than it is.
    pub saved: u64,
}

/// So many of the last messages a reduced conversation keeps.
const LAST: usize = 3;

/// Leaves out about so many tokens, or a little more; nothing if that cannot be done.
pub fn shortened(conversation: &Conversation<'_>, excess: u64) -> Option<Trimmed> {
    let mut gone = vec![false; conversation.messages.len()];
    let mut saved = 0_u64;
    for unit in units(&conversation.messages) {
        if saved >= excess {
            break;
        }
        saved = saved.saturating_add(leave_out(conversation, unit, &mut gone));
    }
    let ends = cut::ends(conversation, &gone, excess.saturating_sub(saved))?;
    let saved = saved.saturating_add(ends.saved);
    Some(trimmed(conversation, &gone, ends, saved))
}

/// Keeps the prompts, the last messages and what the user said last, with whole calls of tools.
pub fn reduced(conversation: &Conversation<'_>) -> Trimmed {
    let messages = &conversation.messages;
    let spoken = || messages.iter().enumerate().rev().filter(|(_, message)| !message.is_prompt());
    let kept_from = joined_start(messages, spoken().take(LAST).last().map_or(0, |(index, _)| index));
    let user = spoken().find(|(_, message)| message.role == Role::User).map(|(index, _)| index);
    let user = user.map_or(0..0, |index| block(messages, index));
    let mut gone = vec![false; messages.len()];
    let mut saved = 0_u64;
    for unit in [0..kept_from.min(user.start), user.end.min(kept_from)..kept_from] {
        saved = saved.saturating_add(leave_out(conversation, unit, &mut gone));
    }
    trimmed(conversation, &gone, cut::Ends::default(), saved)
}

fn trimmed(conversation: &Conversation<'_>, gone: &[bool], ends: cut::Ends, saved: u64) -> Trimmed {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let mut edits = removals(&conversation.messages, gone);
    let cut = count(ends.edits.len());
    edits.extend(ends.edits);
    Edit::sort(&mut edits);
    Trimmed { edits, dropped: count(gone.iter().filter(|gone| **gone).count()), cut, saved }
}

/// Marks the messages of a unit, but for prompts, and tells about how many tokens they have.
fn leave_out(conversation: &Conversation<'_>, unit: Range<usize>, gone: &mut [bool]) -> u64 {
    let mut saved = 0_u64;
    let messages = conversation.messages.iter().zip(gone).skip(unit.start).take(unit.len());
    for (message, gone) in messages.filter(|(message, _)| !message.is_prompt()) {
        *gone = true;
        saved = saved.saturating_add(conversation.tokens(message));
    }
    saved
}

/// What can be left out, in the order in which it goes.
fn units(messages: &[Message]) -> Vec<Range<usize>> {
    let mut turns = vec![0];
    let mut last_user = None;
    let mut before = None;
    for (index, message) in messages.iter().enumerate().filter(|(_, message)| !message.is_prompt()) {
        if message.role == Role::User {
            if before != Some(Role::User) && !message.joined && index > 0 {
                turns.push(index);
            }
            last_user = Some(index);
        }
        before = Some(message.role);
    }
    // Behind what the user said last.
    let behind = last_user.map_or(0, |index| block(messages, index).end);
    let starts_block = |(_, message): &(usize, &Message)| !message.is_prompt() && !message.joined;
    let blocks = messages.iter().enumerate().skip(behind).filter(starts_block).map(|(index, _)| index);
    let blocks: Vec<usize> = blocks.collect();
    windows(&turns).chain(windows(&blocks)).collect()
}

/// From each start to the next one; not from the last.
fn windows(starts: &[usize]) -> impl Iterator<Item = Range<usize>> {
    starts.iter().zip(starts.iter().skip(1)).map(|(start, end)| *start..*end)
}

/// All that must stay together with the message at this index.
fn block(messages: &[Message], index: usize) -> Range<usize> {
    let next = index.saturating_add(1);
    let more = messages.iter().skip(next).take_while(|message| message.joined).count();
    joined_start(messages, index)..next.saturating_add(more)
}

fn joined_start(messages: &[Message], index: usize) -> usize {
    let before = messages.iter().take(index.saturating_add(1)).rev();
    index.saturating_sub(before.take_while(|message| message.joined).count())
}

/// The edits that take messages out, each run of them with one of the commas around it. Some message stays.
fn removals(messages: &[Message], gone: &[bool]) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    // The end of the last message that stays, and what stands open since then.
    let mut kept: Option<usize> = None;
    let mut open: Option<Range<usize>> = None;
    for (message, gone) in messages.iter().zip(gone) {
        let Range { start, end } = message.span;
        if *gone {
            // With the comma before it, unless nothing stays before it.
            let from = open.map_or(kept.unwrap_or(start), |open| open.start);
            open = Some(from..end);
            continue;
        }
        if let Some(open) = open.take() {
            // Then with the comma behind it.
            edits.extend(removal(open.start..if kept.is_none() { start } else { open.end }));
        }
        kept = Some(end);
    }
    edits.extend(open.and_then(removal));
    edits
}

fn removal(span: Range<usize>) -> Option<Edit> {
    let (start, end) = (u32::try_from(span.start).ok()?, u32::try_from(span.end).ok()?);
    Some(Edit { start, end, bytes: Vec::new() })
}
