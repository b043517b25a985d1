//! The fingerprint of a table's rows, the same on every engine and in whatever order the rows come.
//! Each row is hashed over its values in the order of the column names; the hashes are added up, so
//! nothing is sorted and nothing is held in memory. Finds damage and mistakes. Not a signature: who
//! can change the rows can compute it again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use crate::transfer::Cell;

/// A SHA-256 over the rows of one table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Checksum([u8; 32]);

impl Checksum {
    /// Returns the first 12 hexadecimal digits, enough for people to compare.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Checksum {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a checksum has 64 hexadecimal digits";
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(WRONG);
        }
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[place * 2..place * 2 + 2], 16).map_err(|_| WRONG)?;
        }
        Ok(Self(bytes))
    }
}
impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Adds up the rows of one table.
pub(crate) struct TableDigest {
    columns: Sha256,
    rows: u64,
    // A number of 256 bits, lowest word first. A sum, because XOR would let two equal rows vanish.
    sum: [u64; 4],
    encoded: Vec<u8>,
}

impl TableDigest {
    /// Starts with the names of the columns, in the order in which the cells of each row will come.
    pub(crate) fn new(columns: &[String]) -> Self {
        let mut hash = Sha256::new();
        for column in columns {
            hash.update((column.len() as u64).to_be_bytes());
            hash.update(column.as_bytes());
        }
        Self { columns: hash, rows: 0, sum: [0; 4], encoded: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: &[Cell]) {
        self.encoded.clear();
        for cell in row {
            encode(cell, &mut self.encoded);
        }
        let hash = Sha256::digest(&self.encoded);
        let mut carry = 0;
        for (word, bytes) in self.sum.iter_mut().zip(hash.chunks_exact(8)) {
            let added = u64::from_be_bytes(bytes.try_into().expect("a chunk has eight bytes"));
            let total = u128::from(*word) + u128::from(added) + carry;
            *word = total as u64;
            carry = total >> 64;
        }
        self.rows += 1;
    }

    pub(crate) fn finish(mut self) -> (u64, Checksum) {
        self.columns.update(self.rows.to_be_bytes());
        for word in self.sum {
            self.columns.update(word.to_be_bytes());
        }
        (self.rows, Checksum(self.columns.finalize().into()))
    }
}

/// Writes a value so that no two different rows give the same bytes. A boolean is 0 or 1 and a UUID
/// its 16 bytes, because that is all that SQLite knows of them.
fn encode(cell: &Cell, into: &mut Vec<u8>) {
    let (tag, bytes) = match cell {
        Cell::Null => return into.push(0),
        Cell::Integer(number) => {
            into.push(1);
            return into.extend(number.to_be_bytes());
        }
        Cell::Text(text) => (2, text.as_bytes()),
        Cell::Bytes(bytes) => (3, bytes.as_slice()),
    };
    into.push(tag);
    into.extend((bytes.len() as u64).to_be_bytes());
    into.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[&[Cell]]) -> (u64, Checksum) {
        let mut digest = TableDigest::new(&["a".to_owned(), "b".to_owned()]);
        rows.iter().for_each(|row| digest.add(row));
        digest.finish()
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    #[test]
    fn the_order_of_rows_does_not_matter_and_their_values_do() {
        let (first, second) = ([text("ä"), Cell::Null], [Cell::Integer(7), Cell::Bytes(vec![0])]);
        assert_eq!(of(&[&first, &second]), of(&[&second, &first]));
        assert_ne!(of(&[&first, &second]), of(&[&first]));
        assert_ne!(of(&[&first, &first]), of(&[]), "equal rows must not cancel out");
        assert_ne!(of(&[&[text(""), Cell::Null]]), of(&[&[Cell::Null, text("")]]));
        assert_ne!(of(&[&[text("ab"), text("c")]]), of(&[&[text("a"), text("bc")]]));
        assert_ne!(of(&[&[text("1"), Cell::Null]]), of(&[&[Cell::Integer(1), Cell::Null]]));
        assert_ne!(TableDigest::new(&["a".to_owned()]).finish(), TableDigest::new(&[]).finish());
    }

    #[test]
    fn a_checksum_is_read_as_it_is_written() {
        let (_, checksum) = of(&[&[text("x"), Cell::Integer(-1)]]);
        assert_eq!(checksum.to_string().parse(), Ok(checksum));
        assert!(checksum.to_string().starts_with(&checksum.short()));
        for wrong in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert!(wrong.parse::<Checksum>().is_err(), "{wrong}");
        }
    }
}
