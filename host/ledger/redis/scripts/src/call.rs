//! One script, what it is told, and how its answer is read.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::script::Script;

/// A run of a script whose answer is a `T`.
#[derive(Debug)]
pub struct Call<T> {
    /// Which script.
    pub script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<String>,
    /// Where the keys of the hold's cells begin, if the script may ask for others.
    cells_from: Option<usize>,
    read: fn(&[Word]) -> Result<T, String>,
}

/// A word of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// A whole number.
    Integer(i64),
    /// A text: an id, the name of a key, or a record in JSON.
    Text(String),
}

/// What an answer says.
#[derive(Debug)]
pub enum Next<T> {
    /// This.
    Answer(T),
    /// Nothing was done, because the hold has other cells than were passed: ask this.
    Ask(Call<T>),
}

impl<T> Call<T> {
    pub(crate) fn new(script: &'static Script, read: fn(&[Word]) -> Result<T, String>) -> Self {
        Self { script, keys: Vec::new(), arguments: Vec::new(), cells_from: None, read }
    }

    pub(crate) fn key(&mut self, key: &str) -> &mut Self {
        self.keys.push(key.to_owned());
        self
    }

    pub(crate) fn keys(&mut self, keys: impl IntoIterator<Item = String>) -> &mut Self {
        self.keys.extend(keys);
        self
    }

    /// The keys of the hold's cells, of which the script may say that they are others.
    pub(crate) fn cells(&mut self, cells: &Arc<[String]>) -> &mut Self {
        self.cells_from = Some(self.keys.len());
        self.keys(cells.iter().cloned())
    }

    pub(crate) fn argument(&mut self, argument: impl ToString) -> &mut Self {
        self.arguments.push(argument.to_string());
        self
    }

    /// The arguments of `EVALSHA`, in their order.
    pub fn evaluation(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let head = [Cow::Borrowed(self.script.hash()), Cow::Owned(self.keys.len().to_string())];
        head.into_iter()
            .chain(self.keys.iter().chain(&self.arguments).map(|word| Cow::Borrowed(word.as_str())))
    }

    /// Reads what came back: every word of it, in one list.
    ///
    /// # Errors
    /// It is no answer that the script gives; which one came.
    pub fn read(mut self, answer: &[Word]) -> Result<Next<T>, String> {
        match (self.cells_from, answer) {
            (Some(from), [Word::Integer(-1), cells @ ..]) => {
                self.keys.truncate(from);
                self.keys.extend(texts(cells)?);
                Ok(Next::Ask(self))
            }
            _ => (self.read)(answer).map(Next::Answer),
        }
    }
}

/// The numbers of an answer that has nothing else.
pub(crate) fn integers(answer: &[Word]) -> Result<Vec<i64>, String> {
    let number = |word: &Word| match word {
        Word::Integer(number) => Ok(*number),
        Word::Text(_) => Err(unread(answer)),
    };
    answer.iter().map(number).collect()
}

/// The texts of an answer that has nothing else.
pub(crate) fn texts(answer: &[Word]) -> Result<Vec<String>, String> {
    let text = |word: &Word| match word {
        Word::Text(text) => Ok(text.clone()),
        Word::Integer(_) => Err(unread(answer)),
    };
    answer.iter().map(text).collect()
}

/// A record as it is kept.
pub(crate) fn record<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|cause| format!("a record that cannot be read: {cause}"))
}

/// Why an answer is none.
pub(crate) fn unread(answer: &(impl Debug + ?Sized)) -> String {
    format!("an answer that the script does not give: {answer:?}")
}
