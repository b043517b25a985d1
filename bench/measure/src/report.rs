//! The report: tables with a title, and sentences below them, as Markdown. Not for measuring.

use std::fmt;

/// A table.
pub struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// Returns a table without rows.
    pub fn new(title: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|&cell| cell.to_owned()).collect();
        Self { title: title.into(), head, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl fmt::Display>) {
        self.rows.push(cells.into_iter().map(|cell| cell.to_string()).collect());
    }

    /// Adds a sentence below the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        if !self.rows.is_empty() {
            writeln!(f, "| {} |", self.head.join(" | "))?;
            writeln!(f, "|{}", "---|".repeat(self.head.len()))?;
            for row in &self.rows {
                writeln!(f, "| {} |", row.join(" | "))?;
            }
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "{note}\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new("Checks", &["what", "µs"]);
        table.row(["one", "2"]);
        table.note("As seen by one caller.");
        assert_eq!(
            table.to_string(),
            "### Checks\n\n| what | µs |\n|---|---|\n| one | 2 |\n\nAs seen by one caller.\n\n"
        );
    }
}
