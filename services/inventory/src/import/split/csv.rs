//! Splits CSV: RFC 4180, with LF, CR or CRLF, blank lines left out, and a byte-order mark. What a reader
//! of CSV would let pass in silence is said here: text behind a closing quote, and a quote that is
//! never closed, which is how a file ends that was cut off. Not for what a cell means.

use std::collections::VecDeque;

use super::super::Fault;
use super::{Content, LONGEST, Place, Row, too_long};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the beginning of a cell.
    Begin,
    Plain,
    Quoted,
    /// Behind a quote inside quotes: the end of the cell, or half of a doubled one.
    Quote,
    /// Behind a carriage return: the end of the row, perhaps with a line feed to come.
    Return,
}

/// Splits CSV.
pub(in super::super) struct Splitter {
    state: State,
    place: Place,
    /// The line on which the row begins.
    begin: u64,
    cells: Vec<Vec<u8>>,
    cell: Vec<u8>,
    size: usize,
    /// Whether the row has anything, if only quotes.
    any: bool,
    fault: Option<Fault>,
}

impl Splitter {
    pub fn new(place: Place) -> Self {
        let (cells, cell) = (Vec::new(), Vec::new());
        Self { state: State::Begin, place, begin: place.line, cells, cell, size: 0, any: false, fault: None }
    }

    pub fn take(&mut self, bytes: &[u8], rows: &mut VecDeque<Row>) {
        let mark = if self.place.position == 0 && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        self.place.position += mark as u64;
        for byte in &bytes[mark..] {
            if self.state == State::Return && *byte != b'\n' {
                self.end_row(rows);
            }
            self.place.position += 1;
            self.byte(*byte, rows);
        }
    }

    fn byte(&mut self, byte: u8, rows: &mut VecDeque<Row>) {
        match (self.state, byte) {
            (State::Quoted, b'"') => self.state = State::Quote,
            (State::Quoted, byte) => {
                self.place.line += u64::from(byte == b'\n');
                self.push(byte);
            }
            (State::Return, _) => self.end_row(rows),
            (_, b'\n') => self.end_row(rows),
            (_, b'\r') => self.state = State::Return,
            (_, b',') => self.end_cell(),
            (State::Begin, b'"') => {
                self.any = true;
                self.state = State::Quoted;
            }
            (State::Quote, b'"') => {
                self.push(byte);
                self.state = State::Quoted;
            }
            (State::Quote, byte) => {
                self.fault(Fault::new("inventory.import_malformed_row", "there is text behind a closing quote"));
                self.push(byte);
                self.state = State::Plain;
            }
            (State::Begin | State::Plain, byte) => {
                self.push(byte);
                self.state = State::Plain;
            }
        }
    }

    fn push(&mut self, byte: u8) {
        self.size += 1;
        if self.size <= LONGEST {
            self.cell.push(byte);
        } else {
            self.fault(too_long());
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    fn end_cell(&mut self) {
        self.state = State::Begin;
        // Each cell costs memory, even an empty one.
        self.size += size_of::<Vec<u8>>();
        if self.size <= LONGEST {
            self.cells.push(std::mem::take(&mut self.cell));
        } else {
            self.fault(too_long());
        }
    }

    fn end_row(&mut self, rows: &mut VecDeque<Row>) {
        self.place.line += 1;
        self.finish_row(rows);
    }

    fn finish_row(&mut self, rows: &mut VecDeque<Row>) {
        if self.any || !self.cells.is_empty() || !self.cell.is_empty() || self.fault.is_some() {
            self.end_cell();
            let cells = std::mem::take(&mut self.cells);
            let content = self.fault.take().map_or(Ok(Content::Cells(cells)), Err);
            rows.push_back(Row { line: self.begin, content, after: self.place });
        }
        *self = Self::new(self.place);
    }

    pub fn end(mut self, rows: &mut VecDeque<Row>) {
        if self.state == State::Quoted {
            self.fault(Fault::new("inventory.import_malformed_row", "a quote is never closed; was the file cut off?"));
        }
        self.finish_row(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::FileFormat;
    use super::super::tests::split;
    use super::*;

    fn cells(text: &[u8]) -> Vec<(u64, Result<Vec<String>, &'static str>)> {
        let (rows, _) = split(FileFormat::Csv, text, 5, Place::START);
        let shown = |content| match content {
            Ok(Content::Cells(cells)) => {
                Ok(cells.into_iter().map(|cell| String::from_utf8_lossy(&cell).into_owned()).collect())
            }
            Ok(Content::Object(_)) => Err("an object"),
            Err(Fault { code, .. }) => Err(code),
        };
        rows.into_iter().map(|row| (row.line, shown(row.content))).collect()
    }

    #[test]
    fn it_reads_what_a_csv_writer_writes() {
        let lines = [["a", ""], ["", "b,\"c\""], ["x\r\ny", "5\" pipe"], ["\n", " z "], ["\"", "ü"]];
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        for line in lines {
            writer.write_record(line).expect("a line");
        }
        let text = writer.into_inner().expect("text");
        let read: Vec<_> = cells(&text).into_iter().map(|(_, cells)| cells.expect("cells")).collect();
        assert_eq!(read, lines.map(|line| line.map(str::to_owned).to_vec()));
    }

    #[test]
    fn lines_are_counted_and_what_is_wrong_is_said() {
        let text = b"a,b\r\n\"x\ny\",1\n\n\"q\"z,2\r3,4\n\"open,\n5,6\n";
        let malformed = Err("inventory.import_malformed_row");
        let row = |cells: [&str; 2]| Ok(cells.map(str::to_owned).to_vec());
        let wanted = [
            (1, row(["a", "b"])),
            (2, row(["x\ny", "1"])),
            (5, malformed.clone()),
            (6, row(["3", "4"])),
            (7, malformed),
        ];
        assert_eq!(cells(text), wanted);
        let long = [b"a\n".to_vec(), vec![b'x'; LONGEST + 1], b"\nb\n".to_vec()].concat();
        let row = |cell: &str| Ok(vec![cell.to_owned()]);
        assert_eq!(cells(&long), [(1, row("a")), (2, Err("inventory.import_row_too_long")), (3, row("b"))]);
        assert_eq!(cells(&vec![b','; LONGEST]), [(1, Err("inventory.import_row_too_long"))]);
        assert_eq!(cells(b"\n\r\n"), []);
        assert_eq!(cells(b"\"\""), [(1, row(""))]);
    }
}
