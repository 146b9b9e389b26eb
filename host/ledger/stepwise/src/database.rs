//! What a database must do, and the values that go in and out of it.

use tollgate_ledger::Unavailable;

/// An SQLite database that is asked one statement at a time, always on the same connection. A statement sees everything
/// that was committed before it began: a replica that lags behind would refuse what was given back meanwhile.
pub trait Database: Send + 'static {
    /// Runs one statement to its end. Its parameters are `?1`, `?2` and so on.
    ///
    /// # Errors
    /// What went wrong, for the log.
    fn run(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Row>, String>;
}

/// A value in a statement or in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
    /// Nothing.
    Null,
}

/// One row of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// A number that is never negative.
    pub(crate) fn number(&self, column: usize) -> Result<u64, Unavailable> {
        self.maybe_number(column)?.ok_or_else(unreadable)
    }

    pub(crate) fn maybe_number(&self, column: usize) -> Result<Option<u64>, Unavailable> {
        match self.0.get(column) {
            Some(Value::Integer(i64::MAX)) => Ok(Some(u64::MAX)),
            Some(Value::Integer(number)) => Ok(Some(u64::try_from(*number).unwrap_or(0))),
            Some(Value::Null) => Ok(None),
            _ => Err(unreadable()),
        }
    }

    pub(crate) fn text(&self, column: usize) -> Result<&str, Unavailable> {
        self.maybe_text(column)?.ok_or_else(unreadable)
    }

    pub(crate) fn maybe_text(&self, column: usize) -> Result<Option<&str>, Unavailable> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            _ => Err(unreadable()),
        }
    }

    /// A text that stands for something.
    pub(crate) fn parsed<T>(
        &self,
        column: usize,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Unavailable> {
        parse(self.text(column)?).ok_or_else(unreadable)
    }
}

pub(crate) fn unreadable() -> Unavailable {
    Unavailable::new("a row of the ledger cannot be read")
}

/// A number as SQLite keeps it. Amounts are below 2^53 by contract; what is beyond SQLite's integers is kept as the
/// largest of them, for a row that says too little is better than books that stop.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
