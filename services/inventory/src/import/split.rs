//! Splits a file into its rows as it comes, without ever holding more than one row, and knows the line
//! and the place of each, so that work can go on behind any of them. Not for what a row means.

mod csv;
mod json;

use std::collections::VecDeque;

use super::{Fault, FileFormat};

pub(super) use json::fields as object;

/// No row needs more.
const LONGEST: usize = 64 << 10;

/// A row as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The line on which it begins; the first is 1.
    pub line: u64,
    pub content: Result<Content, Fault>,
    /// Where the file goes on behind it.
    pub after: Place,
}

/// What a row holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Cells(Vec<Vec<u8>>),
    Object(Vec<u8>),
}

/// A place between two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How many bytes lie before it.
    pub position: u64,
    /// The line there.
    pub line: u64,
}

impl Place {
    pub const START: Self = Self { position: 0, line: 1 };
}

/// The file cannot be read on from this line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub line: u64,
    pub message: &'static str,
}

/// Splits a file of either format.
pub(super) enum Splitter {
    Csv(csv::Splitter),
    Json(json::Splitter),
}

impl Splitter {
    pub fn new(format: FileFormat, place: Place) -> Self {
        match format {
            FileFormat::Csv => Self::Csv(csv::Splitter::new(place)),
            FileFormat::Json => Self::Json(json::Splitter::new(place)),
        }
    }

    /// Takes the next bytes.
    pub fn take(&mut self, bytes: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Broken> {
        match self {
            Self::Csv(splitter) => {
                splitter.take(bytes, rows);
                Ok(())
            }
            Self::Json(splitter) => splitter.take(bytes, rows),
        }
    }

    /// Says that there are no more bytes.
    pub fn end(self, rows: &mut VecDeque<Row>) -> Result<(), Broken> {
        match self {
            Self::Csv(splitter) => {
                splitter.end(rows);
                Ok(())
            }
            Self::Json(splitter) => splitter.end(),
        }
    }
}

fn too_long() -> Fault {
    Fault::new("inventory.import_row_too_long", format!("the row has more than {LONGEST} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits a text that comes in pieces of this size, from a place on.
    pub(super) fn split(format: FileFormat, text: &[u8], size: usize, from: Place) -> (Vec<Row>, Result<(), Broken>) {
        let (mut splitter, mut rows) = (Splitter::new(format, from), VecDeque::new());
        for piece in text[usize::try_from(from.position).expect("small")..].chunks(size) {
            if let Err(broken) = splitter.take(piece, &mut rows) {
                return (rows.into(), Err(broken));
            }
        }
        let ended = splitter.end(&mut rows);
        (rows.into(), ended)
    }

    #[test]
    fn the_pieces_of_a_file_do_not_matter_and_it_can_go_on_behind_any_row() {
        let texts: [(FileFormat, &[u8]); 3] = [
            (FileFormat::Csv, b"\xef\xbb\xbfa,b\r\n1,\"x\r\ny\"\r\n\r\n\"\"\"q\"\"\",\n,\rlast,1"),
            (FileFormat::Json, b"[\n{\"a\":\"}\\\"{\"},\n\n{\"b\":{\"c\":[1]}} ,{}\n]\n"),
            (FileFormat::Json, b"{\"success\":true,\"data\":[{\"a\":1},{\"a\":2}],\"requestId\":\"x\"}"),
        ];
        for (format, text) in texts {
            let (whole, ended) = split(format, text, text.len(), Place::START);
            assert_eq!(ended, Ok(()));
            for size in 3..7 {
                assert_eq!(
                    split(format, text, size, Place::START),
                    (split(format, text, text.len(), Place::START).0, Ok(()))
                );
            }
            for (behind, row) in whole.iter().enumerate() {
                let (rest, ended) = split(format, text, 4, row.after);
                assert_eq!((rest.as_slice(), ended), (&whole[behind + 1..], Ok(())));
            }
        }
    }
}
