//! Walks JSON that was found sound before, and tells where values are.
//!
//! Nothing is checked a second time and nothing is copied. In JSON that is not sound the places are wrong, or there
//! are none; it never panics and never goes back.

use std::borrow::Cow;
use std::ops::Range;

use crate::meter::until;
use crate::request::string;

/// A place in JSON.
pub struct Cursor<'b> {
    json: &'b str,
    at: usize,
}

impl<'b> Cursor<'b> {
    /// At this byte.
    pub fn new(json: &'b str, at: usize) -> Self {
        Self { json, at }
    }

    /// Goes into an object or an array that begins here with this bracket; says whether one does.
    pub fn enter(&mut self, bracket: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(bracket);
        self.at = self.at.saturating_add(usize::from(found));
        found
    }

    /// Goes to the next value or key of what was entered, or behind the bracket that closes it.
    pub fn more(&mut self, closing: u8) -> bool {
        self.skip_space();
        if self.peek() == Some(b',') {
            self.at = self.at.saturating_add(1);
            self.skip_space();
        }
        match self.peek() {
            Some(byte) if byte == closing => {
                self.at = self.at.saturating_add(1);
                false
            }
            byte => byte.is_some(),
        }
    }

    /// Reads a key and goes to its value.
    pub fn key(&mut self) -> Option<Cow<'b, str>> {
        let span = self.value()?;
        self.skip_space();
        if self.peek() == Some(b':') {
            self.at = self.at.saturating_add(1);
        }
        string(self.json.get(span)?)
    }

    /// Passes the value that begins here: from its first byte up to, not including, the one after its last.
    pub fn value(&mut self) -> Option<Range<usize>> {
        self.skip_space();
        let start = self.at;
        match self.peek()? {
            b'"' => self.skip_string(),
            b'{' | b'[' => self.skip_nested(),
            _ => self.skip_word(),
        }
        // So that every loop over values ends.
        (start < self.at && self.at <= self.json.len()).then_some(start..self.at)
    }

    /// The first byte of what comes next.
    pub fn place(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    /// The byte after what was passed.
    pub fn passed(&self) -> usize {
        self.at
    }

    fn peek(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'b [u8] {
        self.json.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at = self.at.saturating_add(1);
        }
    }

    fn skip_string(&mut self) {
        self.at = self.at.saturating_add(1);
        loop {
            self.at = self.at.saturating_add(until::<b'"', b'\\'>(self.rest()));
            match self.peek() {
                Some(b'\\') => self.at = self.at.saturating_add(2),
                Some(_) => {
                    self.at = self.at.saturating_add(1);
                    return;
                }
                None => return,
            }
        }
    }

    fn skip_nested(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'{' | b'[' => depth = depth.saturating_add(1),
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at = self.at.saturating_add(1);
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_word(&mut self) {
        while let Some(byte) = self.peek() {
            if matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r') {
                return;
            }
            self.at = self.at.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Every value below this one, as the walk finds it.
    fn found(json: &str, at: usize, into: &mut Vec<Value>) {
        let mut cursor = Cursor::new(json, at);
        if cursor.enter(b'[') {
            while cursor.more(b']') {
                let span = cursor.value().expect("a value");
                into.push(serde_json::from_str(&json[span.clone()]).expect("JSON"));
                found(json, span.start, into);
            }
        } else if cursor.enter(b'{') {
            while cursor.more(b'}') {
                into.push(cursor.key().expect("a key").into());
                let span = cursor.value().expect("a value");
                into.push(serde_json::from_str(&json[span.clone()]).expect("JSON"));
                found(json, span.start, into);
            }
        }
    }

    /// The same by a reader of JSON.
    fn expected(value: &Value, into: &mut Vec<Value>) {
        for child in value.as_array().into_iter().flatten() {
            into.push(child.clone());
            expected(child, into);
        }
        for (key, child) in value.as_object().into_iter().flatten() {
            into.push(key.as_str().into());
            into.push(child.clone());
            expected(child, into);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[\\\\\"{}\\[\\],: a\n🦀]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[\\\\\"{x]{0,4}", inner, 0..5).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_are_where_a_reader_of_json_finds_them(value in any_json(), pretty in any::<bool>()) {
            let json = if pretty { format!(" {value:#} ") } else { value.to_string() };
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            found(&json, 0, &mut ours);
            expected(&value, &mut theirs);
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn what_is_not_sound_ends_too(json in "[\\\\\"{}\\[\\],: a\n🦀0-9]{0,40}") {
            let mut cursor = Cursor::new(&json, 0);
            cursor.enter(b'{');
            let mut steps = 0;
            while cursor.more(b'}') && cursor.key().is_some() && cursor.value().is_some() {
                steps += 1;
                prop_assert!(steps <= json.len());
            }
        }
    }
}
