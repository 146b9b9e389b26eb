//! What was found: notes as they come, and at the end one table of figures against their targets.

use std::fmt::Write as _;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    target: Target,
}

/// The figures of one run.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a figure that has a target.
    pub fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str, target: Target) {
        self.rows.push(Row { name: name.into(), value, unit, target });
    }

    /// Prints the table, and how many targets were met.
    pub fn print(&self) {
        println!("\n{}", self.table());
        let met = self.rows.iter().filter(|row| row.met()).count();
        println!("{met} of {} targets met", self.rows.len());
    }

    fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max(6);
        let mut table = format!("{:width$}  {:>12}  {:>14}  met\n", "figure", "measured", "target");
        for row in &self.rows {
            let target = match row.target {
                Target::AtLeast(limit) => format!(">= {}", show(limit, row.unit)),
                Target::AtMost(limit) => format!("<= {}", show(limit, row.unit)),
            };
            let met = if row.met() { "yes" } else { "NO" };
            // Writing to a string does not fail.
            let _ = writeln!(
                table,
                "{:width$}  {:>12}  {target:>14}  {met}",
                row.name,
                show(row.value, row.unit)
            );
        }
        table
    }
}

impl Row {
    fn met(&self) -> bool {
        match self.target {
            Target::AtLeast(limit) => self.value >= limit,
            Target::AtMost(limit) => self.value <= limit,
        }
    }
}

fn show(value: f64, unit: &str) -> String {
    format!("{value:.2} {unit}").trim_end().to_owned()
}

/// The middle value; 0 of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied().unwrap_or_default();
    if values.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|index| values.get(index)).copied().unwrap_or_default();
    (lower + upper) / 2.0
}
