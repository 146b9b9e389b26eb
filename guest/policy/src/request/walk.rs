//! Reads any JSON value strictly: no key twice in an object, at any depth, and no deep nesting.
//!
//! Two readers of one text may disagree about which of two equal keys counts; a gateway that checks one and sends
//! the other is no gate. Nothing is kept but the keys of the objects that are open. The depth is limited here, so
//! the parser's own limit is off.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::check::Said;
use crate::estimate::{Input, Part};
use crate::refusal::{Refusal, brief};

/// Objects and arrays may be this deep in one another.
pub const MOST_DEPTH: usize = 128;

/// So many keys may be in objects that are open at the same time: memory is bounded, whatever comes.
const MOST_KEYS: usize = 65_536;

/// Where a reading stands.
#[derive(Default)]
pub struct Walk<'b> {
    /// Keys of the open objects, the innermost last.
    keys: Vec<Cow<'b, str>>,
    steps: Vec<Step>,
    /// Why reading stopped, when it was not the JSON.
    pub refusal: Option<Refusal>,
    /// What counts of what is read.
    pub counting: Counting,
    /// What it sends to the model.
    pub input: Input,
    /// The part of a message that is being read, if it is no text.
    pub part: Part,
    /// How many numbers were read.
    pub numbers: u64,
    /// The text that is read.
    pub body: &'b str,
    /// What its parts said of one another.
    pub said: Said<'b>,
}

/// What counts as input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// Nothing.
    #[default]
    Nothing,
    /// Values.
    Values,
    /// Values and the names of members: a schema.
    Schema,
}

/// One step of the way down to where a reading stands.
#[derive(Clone, Copy)]
enum Step {
    /// Into the key at this place of `Walk::keys`.
    Key(usize),
    /// Into this element.
    Element(usize),
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `null`.
    Null,
    /// `true`, `false` or a number.
    Scalar,
    /// A string.
    String,
    /// An array, and how many elements it has.
    Array(u64),
    /// An object.
    Object,
}

impl<'b> Walk<'b> {
    /// At the beginning of a text that is a body of so many bytes or a part of one.
    pub fn new(body: &'b str, bytes: usize) -> Self {
        Self { body, input: Input::of_body(bytes), ..Self::default() }
    }

    /// Reads the members of an object: `member` is told each key and reads its value.
    pub fn object<M: MapAccess<'b>>(
        &mut self,
        mut map: M,
        mut member: impl FnMut(&mut Self, &str, &mut M) -> Result<(), M::Error>,
    ) -> Result<(), M::Error> {
        let first = self.keys.len();
        while let Some(key) = map.next_key_seed(Key)? {
            if self.keys.len() >= MOST_KEYS {
                return Err(self.refuse(Refusal::TooManyKeys));
            }
            if self.counting == Counting::Schema {
                self.input.add_text(&key);
            }
            self.steps.push(Step::Key(self.keys.len()));
            match key {
                Cow::Borrowed(key) => {
                    self.keys.push(Cow::Borrowed(key));
                    member(self, key, &mut map)?;
                }
                Cow::Owned(key) => {
                    self.keys.push(Cow::Owned(key.clone()));
                    member(self, &key, &mut map)?;
                }
            }
            self.steps.pop();
        }
        let own = self.keys.get_mut(first..).unwrap_or_default();
        own.sort_unstable();
        let twice = own.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some(brief(one)),
            _ => None,
        });
        if let Some(key) = twice {
            let path = self.path();
            let path = if path.is_empty() { key } else { format!("{path}.{key}") };
            return Err(self.refuse(Refusal::DuplicateKey(path)));
        }
        self.keys.truncate(first);
        Ok(())
    }

    /// Stops the reading where it would go too deep.
    pub fn check_depth<E: Error>(&mut self) -> Result<(), E> {
        if self.steps.len() < MOST_DEPTH { Ok(()) } else { Err(self.refuse(Refusal::TooDeep)) }
    }

    /// Stops the reading.
    pub fn refuse<E: Error>(&mut self, refusal: Refusal) -> E {
        self.refusal = Some(refusal);
        E::custom("refused")
    }

    /// Stops the reading at a value that is not of its type.
    pub fn wrong<E: Error>(&mut self, expected: &'static str) -> E {
        self.refuse(Refusal::WrongType { param: self.path().into(), expected })
    }

    /// Stops the reading at a key that a reader who ignores case takes for a known one.
    pub fn check_case<E: Error>(
        &mut self,
        key: &str,
        mut known: impl Iterator<Item = &'static str>,
    ) -> Result<(), E> {
        match known.find(|known| known.chars().eq(key.chars().map(folded))) {
            Some(meant) if meant != key => {
                let key = self.path();
                Err(self.refuse(Refusal::FoldedKey { key, meant }))
            }
            _ => Ok(()),
        }
    }

    /// The way down to here: `messages[0].content`.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.steps {
            match step {
                Step::Element(index) => path.push_str(&format!("[{index}]")),
                Step::Key(index) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&self.keys.get(*index).map_or(String::new(), |key| brief(key)));
                }
            }
        }
        path
    }

    /// The path of a field of the object that stands here.
    pub fn inner(&self, name: &str) -> String {
        let path = self.path();
        if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
    }

    /// Reads the elements of an array: `element` reads the next one and says whether there was one.
    pub fn array<S: SeqAccess<'b>>(
        &mut self,
        mut seq: S,
        mut element: impl FnMut(&mut Self, &mut S) -> Result<bool, S::Error>,
    ) -> Result<usize, S::Error> {
        self.check_depth()?;
        let depth = self.steps.len();
        let mut count = 0_usize;
        self.steps.push(Step::Element(count));
        while element(self, &mut seq)? {
            count = count.saturating_add(1);
            if let Some(step) = self.steps.get_mut(depth) {
                *step = Step::Element(count);
            }
        }
        self.steps.truncate(depth);
        Ok(count)
    }

    /// Takes in a string.
    pub fn text(&mut self, text: &str) {
        if self.counting != Counting::Nothing {
            self.input.add_text(text);
        }
    }

    /// Takes in a number.
    pub fn number(&mut self) {
        self.numbers = self.numbers.saturating_add(1);
        if self.counting != Counting::Nothing {
            self.input.add_number();
        }
    }

    /// A value to be read.
    pub fn any(&mut self) -> Any<'_, 'b> {
        Any(self)
    }
}

/// Go's `encoding/json`, the most common reader that ignores case, also takes these two for ASCII letters.
fn folded(letter: char) -> char {
    match letter {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        _ => letter.to_ascii_lowercase(),
    }
}

/// Reads any value: counts what it sends to the model, and tells its shape.
pub struct Any<'w, 'b>(&'w mut Walk<'b>);

impl<'b> DeserializeSeed<'b> for Any<'_, 'b> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'b>>(self, from: D) -> Result<Shape, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'b> Visitor<'b> for Any<'_, 'b> {
    type Value = Shape;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        self.0.number();
        Ok(Shape::Scalar)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Shape, E> {
        self.visit_u64(0)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Shape, E> {
        self.visit_u64(0)
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        self.0.text(text);
        Ok(Shape::String)
    }

    fn visit_seq<S: SeqAccess<'b>>(self, seq: S) -> Result<Shape, S::Error> {
        let count = self.0.array(seq, |walk, seq| Ok(seq.next_element_seed(walk.any())?.is_some()))?;
        Ok(Shape::Array(u64::try_from(count).unwrap_or(u64::MAX)))
    }

    fn visit_map<M: MapAccess<'b>>(self, map: M) -> Result<Shape, M::Error> {
        self.0.check_depth()?;
        self.0.object(map, |walk, _, map| map.next_value_seed(walk.any()).map(|_| ()))?;
        Ok(Shape::Object)
    }
}

/// A key, borrowed from the body unless it has escapes.
struct Key;

impl<'b> DeserializeSeed<'b> for Key {
    type Value = Cow<'b, str>;

    fn deserialize<D: Deserializer<'b>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'b> Visitor<'b> for Key {
    type Value = Cow<'b, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'b str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
