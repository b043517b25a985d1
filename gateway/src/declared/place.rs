//! Where in a file something is: for messages that a person can follow. Not for reading the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernel::{Error, Result};

/// A file's name and text.
#[derive(Clone, Debug)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
}

impl Source {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let name: PathBuf = path.to_owned();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::invalid("gateway.no_file", format!("{} cannot be read: {error}", name.display()))
        })?;
        Ok(Self::new(&name.display().to_string(), &text))
    }

    /// Returns a text under a name.
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Says what is wrong with what has this name: where its section begins.
    pub(crate) fn wrong_in(&self, kind: &str, name: &str, reason: &str) -> Error {
        let header = format!("[{kind}.{name}");
        let quoted = format!("[{kind}.\"{name}\"");
        let at = self.text.find(&header).or_else(|| self.text.find(&quoted)).unwrap_or_default();
        self.wrong(at, reason)
    }

    /// Says what is wrong at a byte of the text, with line and column.
    pub fn wrong(&self, at: usize, reason: &str) -> Error {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        Error::invalid("gateway.invalid_file", format!("{}:{line}:{column}: {}", self.name, reason.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_its_line_and_column() {
        let source = Source::new("gateway.toml", "a = 1\nbæ = 2\n");
        assert_eq!(source.wrong(0, "no").message(), "gateway.toml:1:1: no");
        assert_eq!(source.wrong(6, "no").message(), "gateway.toml:2:1: no");
        assert_eq!(source.wrong(9, "no\n").message(), "gateway.toml:2:3: no");
        assert_eq!(source.wrong(999, "no").message(), "gateway.toml:3:1: no");
        let source = Source::new("gateway.toml", "\n[limits.a]\n[limits.\"b\"]\n");
        assert_eq!(source.wrong_in("limits", "b", "no").message(), "gateway.toml:3:1: no");
    }
}
