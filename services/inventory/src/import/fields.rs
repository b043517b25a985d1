//! The fields of a row: which columns a file may have, and reading what a cell says. Not for what is done
//! with it.

use std::ops::RangeInclusive;

use kernel::{Error, Result, Text, Timestamp};
use serde_json::Value;
use service::without_guard;

use super::split::Content;
use super::{Fault, Kind};

/// Whether a column is looked at, or only known because an export has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Ignored,
}
use Use::{Ignored, Read};

const ITEMS: &[(&str, Use)] = &[
    ("sku", Read),
    ("name", Read),
    ("description", Read),
    ("unit", Read),
    ("quantity", Read),
    ("lowStockLevel", Read),
    ("unitCost", Read),
    ("negativeStock", Read),
    ("deletedAt", Read),
    ("id", Ignored),
    ("reserved", Ignored),
    ("available", Ignored),
    ("version", Ignored),
    ("createdAt", Ignored),
    ("updatedAt", Ignored),
];

const MOVEMENTS: &[(&str, Use)] = &[
    ("itemId", Read),
    ("sku", Read),
    ("delta", Read),
    ("reason", Read),
    ("note", Read),
    ("occurredAt", Read),
    ("amount", Read),
    ("reference", Read),
    ("id", Ignored),
    ("batchId", Ignored),
    ("reverses", Ignored),
    ("createdAt", Ignored),
    ("createdBy", Ignored),
];

fn columns(kind: Kind) -> &'static [(&'static str, Use)] {
    match kind {
        Kind::Items => ITEMS,
        Kind::Movements => MOVEMENTS,
    }
}

fn known(kind: Kind, name: &str) -> Option<(&'static str, Use)> {
    columns(kind).iter().copied().find(|(column, _)| *column == name)
}

/// Checks the header line of a CSV file, and gives the names of its columns.
pub(super) fn check_header(kind: Kind, cells: &[Vec<u8>]) -> Result<Vec<String>> {
    let mut error = Error::invalid("inventory.import_columns", "the columns of this file cannot be imported");
    let mut names: Vec<String> = Vec::new();
    for cell in cells {
        let shown: String = kernel::printable(String::from_utf8_lossy(cell).trim()).chars().take(64).collect();
        let field = if shown.is_empty() { "(empty)".to_owned() } else { shown.clone() };
        match known(kind, &shown) {
            None => error = error.field(field, "is not a column of this kind of import"),
            Some(_) if names.contains(&shown) => error = error.field(field, "is there more than once"),
            Some(_) => names.push(shown),
        }
        if error.fields().len() == 20 {
            break;
        }
    }
    let has = |name: &str| names.iter().any(|column| column == name);
    let missing: &[&str] = match kind {
        Kind::Items if !has("sku") => &["sku"],
        Kind::Movements if !has("delta") => &["delta"],
        Kind::Movements if !has("reason") => &["reason"],
        Kind::Movements if !has("sku") && !has("itemId") => &["sku"],
        _ => &[],
    };
    for name in missing {
        error = error.field(*name, "is missing");
    }
    if error.fields().is_empty() { Ok(names) } else { Err(error) }
}

/// What a row says, by column; a column that is there may be empty.
pub(super) struct Fields {
    values: Vec<(&'static str, Option<String>)>,
    faults: Vec<Fault>,
}

const INVALID: &str = "inventory.import_invalid_value";

impl Fields {
    /// Reads a row; `header` is for CSV.
    pub fn read(kind: Kind, header: &[String], content: Content) -> Result<Self, Fault> {
        let mut fields = Self { values: Vec::new(), faults: Vec::new() };
        match content {
            Content::Cells(cells) if cells.len() != header.len() => {
                let message = format!("the row has {} cells, the header {}", cells.len(), header.len());
                return Err(Fault::new("inventory.import_ragged_row", message));
            }
            Content::Cells(cells) => {
                for (name, cell) in header.iter().zip(cells) {
                    match String::from_utf8(cell) {
                        Ok(text) => fields.set(kind, name, Some(without_guard(&text).to_owned())),
                        Err(_) => fields.fault(name, "inventory.import_not_utf8", "is not UTF-8 text"),
                    }
                }
            }
            Content::Object(object) => {
                for (name, value) in super::split::object(&object)? {
                    match value {
                        Value::Null => fields.set(kind, &name, None),
                        Value::String(text) => fields.set(kind, &name, Some(text)),
                        Value::Number(number) => fields.set(kind, &name, Some(number.to_string())),
                        _ => fields.fault(&name, INVALID, "must be a text or a number"),
                    }
                }
            }
        }
        Ok(fields)
    }

    fn set(&mut self, kind: Kind, name: &str, value: Option<String>) {
        match known(kind, name) {
            Some((name, Read)) => self.values.push((name, value.filter(|text| !text.is_empty()))),
            Some(_) => {}
            None => {
                let name: String = name.chars().take(64).collect();
                self.fault(&name, "inventory.import_unknown_column", "is not a column of this kind of import");
            }
        }
    }

    pub fn fault(&mut self, name: &str, code: &'static str, message: impl Into<String>) {
        self.faults.push(Fault::at(name, code, message));
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(column, _)| *column == name)?.1.as_deref()
    }

    /// Says whether the file has this column at all.
    pub fn has(&self, name: &str) -> bool {
        self.values.iter().any(|(column, _)| *column == name)
    }

    /// Says whether there is something in the cell.
    pub fn filled(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Reads what a cell says; a fault where it says something else.
    pub fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.value(name)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(name, INVALID, message);
                None
            }
        }
    }

    pub fn text<const MAX: usize>(&mut self, name: &str) -> Option<String> {
        self.parsed(name, |text| Text::<MAX>::new(text).map(String::from))
    }

    pub fn number(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.parsed(name, |text| match text.trim().parse::<i64>() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(format!("must be a whole number from {} to {}", range.start(), range.end())),
        })
    }

    /// Reads a time, or a day, which begins at midnight UTC.
    pub fn time(&mut self, name: &str) -> Option<Timestamp> {
        self.parsed(name, |text| {
            let text = text.trim();
            let time = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
            Timestamp::parse(&time).ok_or_else(|| "must be a time in RFC 3339, or a day such as 2026-01-31".to_owned())
        })
    }

    /// Notes a fault where the cell is empty or the column missing.
    pub fn required(&mut self, name: &str) {
        if !self.filled(name) {
            self.fault(name, INVALID, "must not be empty");
        }
    }

    /// Returns the row where nothing was wrong with it.
    pub fn finish<T>(self, row: Option<T>) -> Result<T, Vec<Fault>> {
        match row {
            Some(row) if self.faults.is_empty() => Ok(row),
            _ => Err(self.faults),
        }
    }
}
