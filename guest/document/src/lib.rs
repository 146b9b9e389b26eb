//! Walks a TOML document and remembers where it is, so that every problem has a path and a line.
//!
//! One configuration file has several readers: the policy reads its tables, the shell its own. They share this way
//! of reading and nothing of what they read. Each step gives a value or notes a problem and gives nothing: reading
//! goes on, and all problems are reported at once. No message quotes a value that could be a secret; only names of
//! tables and fields are repeated.

#![forbid(unsafe_code)]

use std::ops::Range;

use toml::Spanned;
pub use toml::de::{DeTable, DeValue};
pub use toml_datetime::{Date, Datetime, Offset};

/// One thing wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path into the file, such as `models[2].targets[0].upstream`; empty for the whole file.
    pub at: String,
    /// Line in the file, from 1.
    pub line: Option<u32>,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// Parses a document.
///
/// # Errors
/// Every place where it is not TOML. What could be recovered is not read: it would only raise problems that are
/// not there.
pub fn parse(source: &str) -> Result<Spanned<DeTable<'_>>, Vec<Problem>> {
    let (document, errors) = DeTable::parse_recoverable(source);
    if errors.is_empty() {
        return Ok(document);
    }
    let mut problems = Problems::new(source);
    for error in &errors {
        problems.add("", error.span(), format!("not TOML: {}", error.message()));
    }
    Err(problems.into_sorted())
}

/// The longest duration: 366 days, in milliseconds.
pub const LONGEST_MS: u64 = 366 * 86_400_000;

/// Milliseconds of `250ms`, `30s`, `1m`, `1h` or `1d`; more than 0, at most [`LONGEST_MS`].
pub fn duration(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms).filter(|period| (1..=LONGEST_MS).contains(period))
}

/// What was found wrong so far.
pub struct Problems<'d> {
    source: &'d str,
    /// In the order of the file.
    found: Vec<Problem>,
}

impl<'d> Problems<'d> {
    /// None yet.
    pub fn new(source: &'d str) -> Self {
        Self { source, found: Vec::new() }
    }

    /// Notes one; `at` is empty for the file as a whole.
    pub fn add(&mut self, at: &str, span: Option<Range<usize>>, message: impl Into<String>) {
        let line = span.and_then(|span| self.line(span.start));
        self.take(Problem { at: at.to_owned(), line, message: message.into() });
    }

    /// Takes over one that somebody else has found.
    pub fn take(&mut self, problem: Problem) {
        let is_before = |known: &Problem| (known.line, &known.at) <= (problem.line, &problem.at);
        let place = self.found.partition_point(is_before);
        self.found.insert(place, problem);
    }

    /// All of them, in the order of the file.
    pub fn into_sorted(self) -> Vec<Problem> {
        self.found
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    fn line(&self, offset: usize) -> Option<u32> {
        let before = self.source.as_bytes().get(..offset)?;
        let breaks = before.iter().filter(|byte| **byte == b'\n').count();
        u32::try_from(breaks).ok()?.checked_add(1)
    }
}

/// A value and its place.
pub struct Node<'d> {
    /// Path from the top: `models[2].price`.
    pub at: String,
    value: &'d Spanned<DeValue<'d>>,
}

/// A table and its place.
pub struct Section<'d> {
    /// Path from the top; empty for the whole file.
    pub at: String,
    span: Option<Range<usize>>,
    table: &'d DeTable<'d>,
}

impl<'d> Section<'d> {
    /// The whole file.
    pub fn root(table: &'d DeTable<'d>) -> Self {
        Self { at: String::new(), span: None, table }
    }

    /// A table that is at a path already known.
    pub fn at(at: &str, table: &'d DeTable<'d>) -> Self {
        Self { at: at.to_owned(), span: None, table }
    }

    /// Every field with its name, in the order of their names.
    pub fn entries(&self) -> impl Iterator<Item = (&'d str, Node<'d>)> {
        self.table.iter().map(|(key, value)| {
            let name: &'d str = key.get_ref();
            (name, Node { at: self.path(name), value })
        })
    }

    /// A field, if it is there.
    pub fn get(&self, name: &str) -> Option<Node<'d>> {
        let value = self.table.get(name)?;
        Some(Node { at: self.path(name), value })
    }

    /// A field that must be there.
    pub fn need(&self, name: &str, hint: &str, problems: &mut Problems<'_>) -> Option<Node<'d>> {
        let node = self.get(name);
        if node.is_none() {
            problems.add(&self.path(name), self.span.clone(), format!("`{name}` is missing: {hint}"));
        }
        node
    }

    /// Notes every field that is none of these.
    pub fn only(&self, known: &[&str], problems: &mut Problems<'_>) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let shown = shown(name);
                let message = match nearest(name, known) {
                    Some(near) => format!("`{shown}` is not known here; did you mean `{near}`?"),
                    None => format!("`{shown}` is not known here; known are {}", listed(known)),
                };
                problems.add(&self.path(&shown), Some(key.span()), message);
            }
        }
    }

    fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }
}

impl<'d> Node<'d> {
    /// Notes a problem with the value.
    pub fn wrong(&self, problems: &mut Problems<'_>, message: impl Into<String>) {
        problems.add(&self.at, Some(self.value.span()), message);
    }

    /// The value.
    pub fn value(&self) -> &'d DeValue<'d> {
        self.value.get_ref()
    }

    /// A string.
    pub fn text(&self, problems: &mut Problems<'_>) -> Option<&'d str> {
        let text = self.value().as_str();
        self.expected("a string", text, problems)
    }

    /// A table.
    pub fn section(&self, problems: &mut Problems<'_>) -> Option<Section<'d>> {
        let table = self.expected("a table", self.value().as_table(), problems)?;
        Some(Section { at: self.at.clone(), span: Some(self.value.span()), table })
    }

    /// The values of an array.
    pub fn list(&self, problems: &mut Problems<'_>) -> Option<Vec<Node<'d>>> {
        let array = self.expected("an array", self.value().as_array(), problems)?;
        let node = |(index, value)| Node { at: format!("{}[{index}]", self.at), value };
        Some(array.iter().enumerate().map(node).collect())
    }

    /// A whole number within these bounds.
    pub fn whole(&self, least: u64, most: u64, problems: &mut Problems<'_>) -> Option<u64> {
        let integer = self.expected("a whole number", self.value().as_integer(), problems)?;
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.wrong(problems, format!("must be from {least} to {most}"));
        }
        number
    }

    /// `true` or `false`.
    pub fn truth(&self, problems: &mut Problems<'_>) -> Option<bool> {
        self.expected("`true` or `false`", self.value().as_bool(), problems)
    }

    fn expected<T>(&self, what: &str, value: Option<T>, problems: &mut Problems<'_>) -> Option<T> {
        if value.is_none() {
            let found = self.value().type_str();
            self.wrong(problems, format!("must be {what}, and is of type {found}"));
        }
        value
    }
}

/// A name as it may stand in a message: short, and on one line.
pub fn shown(name: &str) -> String {
    const LONGEST: usize = 64;
    let mut shown: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// `a`, `b`, `c`.
pub fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|name| format!("`{}`", shown(name))).collect::<Vec<_>>().join(", ")
}

/// The known name that was probably meant.
pub fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let allowed = if name.len() < 5 { 1 } else { 2 };
    let distances = known.iter().map(|known| (distance(name, known), *known));
    distances
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, near)| near)
}

/// Levenshtein's, one row at a time. Rows are at most as long as a name.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, left) in one.bytes().enumerate() {
        let mut diagonal = index;
        let mut before = index.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, right) in row.iter_mut().skip(1).zip(other.bytes()) {
            let replaced = diagonal.saturating_add(usize::from(left != right));
            diagonal = *cell;
            *cell = replaced.min(before.saturating_add(1)).min(diagonal.saturating_add(1));
            before = *cell;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_nearby_are_suggested() {
        let known = ["models", "keys", "server"];
        assert_eq!(nearest("model", &known), Some("models"));
        assert_eq!(nearest("kes", &known), Some("keys"));
        assert_eq!(nearest("sevrer", &known), Some("server"));
        assert_eq!(nearest("upstreams", &known), None);
        assert_eq!(nearest("", &known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn shown_names_stay_short_and_on_one_line() {
        assert_eq!(shown("a\nb\"c"), "a\\nb\\\"c");
        assert_eq!(shown(&"é".repeat(100)).chars().count(), 65);
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("250ms"), Some(250));
        assert_eq!(duration("30s"), Some(30_000));
        assert_eq!(duration("1m"), Some(60_000));
        assert_eq!(duration("1h"), Some(3_600_000));
        assert_eq!(duration("366d"), Some(LONGEST_MS));
        for text in
            ["", "1", "s", "0s", "-1s", "1.5s", "1 s", "1mo", "367d", "99999999999999999999s", "1m0s", "１s"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
