//! Turns a row into the cells of a CSV line, straight from its fields. Text that a spreadsheet would
//! run as a formula gets an apostrophe, which an import takes away again. Not for nested fields: a
//! cell holds a text, a number or nothing.

use std::fmt::{Display, Write as _};
use std::ops::Range;

use serde::Serialize;
use serde::ser::{self, Error as _, Impossible, Serializer};
use serde_json::Error;

/// The cells of one line at a time.
pub(super) struct Cells {
    columns: Vec<&'static str>,
    text: String,
    places: Vec<Range<usize>>,
}

impl Cells {
    pub fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), text: String::new(), places: Vec::new() }
    }

    /// Returns the cells of a row, in the order of the columns; empty where the row has no such field.
    pub fn of<V: Serialize>(&mut self, row: &V) -> Result<impl Iterator<Item = &[u8]>, Error> {
        self.text.clear();
        self.places.clear();
        self.places.resize(self.columns.len(), 0..0);
        row.serialize(Row(self))?;
        Ok(self.places.iter().map(|place| &self.text.as_bytes()[place.clone()]))
    }

    fn set<V: Serialize + ?Sized>(&mut self, name: &str, value: &V) -> Result<(), Error> {
        let Some(column) = self.columns.iter().position(|column| *column == name) else { return Ok(()) };
        let begin = self.text.len();
        value.serialize(Cell(&mut self.text))?;
        self.places[column] = begin..self.text.len();
        Ok(())
    }
}

/// Says whether a spreadsheet would run this text. One that only begins with apostrophes before that
/// is treated alike, so that taking one away gives back exactly what there was.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// Returns a cell's text without the apostrophe that an export puts before formulas.
pub fn without_guard(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if is_formula(rest) => rest,
        _ => cell,
    }
}

fn no_cell<T>() -> Result<T, Error> {
    Err(Error::custom("a cell holds a text, a number or nothing"))
}

/// Takes the fields of a row.
struct Row<'c>(&'c mut Cells);

impl ser::SerializeStruct for Row<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<V: Serialize + ?Sized>(&mut self, name: &'static str, value: &V) -> Result<(), Error> {
        self.0.set(name, value)
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

/// Takes the value of a field.
struct Cell<'t>(&'t mut String);

impl Cell<'_> {
    fn display(self, value: impl Display) -> Result<(), Error> {
        write!(self.0, "{value}").map_err(Error::custom)
    }
}

macro_rules! refused {
    ($($name:ident($($argument:ident: $type:ty),*) -> $gives:ty;)*) => {
        $(fn $name(self, $($argument: $type),*) -> Result<$gives, Error> {
            $(let _ = $argument;)*
            no_cell()
        })*
    };
}

macro_rules! displayed {
    ($($name:ident: $type:ty;)*) => {
        $(fn $name(self, value: $type) -> Result<(), Error> {
            self.display(value)
        })*
    };
}

macro_rules! compounds {
    ($($name:ident),*) => { $(type $name = Impossible<(), Error>;)* };
}

impl Serializer for Cell<'_> {
    type Ok = ();
    type Error = Error;
    compounds!(
        SerializeSeq,
        SerializeTuple,
        SerializeTupleStruct,
        SerializeTupleVariant,
        SerializeMap,
        SerializeStruct,
        SerializeStructVariant
    );

    displayed! {
        serialize_bool: bool; serialize_i8: i8; serialize_i16: i16; serialize_i32: i32; serialize_i64: i64;
        serialize_u8: u8; serialize_u16: u16; serialize_u32: u32; serialize_u64: u64;
        serialize_f32: f32; serialize_f64: f64; serialize_char: char;
    }

    fn serialize_str(self, text: &str) -> Result<(), Error> {
        if is_formula(text) {
            self.0.push('\'');
        }
        self.0.push_str(text);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<(), Error> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<V: Serialize + ?Sized>(self, _: &'static str, value: &V) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &V,
    ) -> Result<(), Error> {
        no_cell()
    }

    refused! {
        serialize_bytes(bytes: &[u8]) -> ();
        serialize_unit_struct(name: &'static str) -> ();
        serialize_seq(length: Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(length: usize) -> Self::SerializeTuple;
        serialize_tuple_struct(name: &'static str, length: usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, length: usize)
            -> Self::SerializeTupleVariant;
        serialize_map(length: Option<usize>) -> Self::SerializeMap;
        serialize_struct(name: &'static str, length: usize) -> Self::SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, length: usize)
            -> Self::SerializeStructVariant;
    }
}

impl<'c> Serializer for Row<'c> {
    type Ok = ();
    type Error = Error;
    type SerializeStruct = Row<'c>;
    compounds!(
        SerializeSeq,
        SerializeTuple,
        SerializeTupleStruct,
        SerializeTupleVariant,
        SerializeMap,
        SerializeStructVariant
    );

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_newtype_struct<V: Serialize + ?Sized>(self, _: &'static str, value: &V) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &V,
    ) -> Result<(), Error> {
        no_cell()
    }

    refused! {
        serialize_bool(value: bool) -> ();
        serialize_i8(value: i8) -> ();
        serialize_i16(value: i16) -> ();
        serialize_i32(value: i32) -> ();
        serialize_i64(value: i64) -> ();
        serialize_u8(value: u8) -> ();
        serialize_u16(value: u16) -> ();
        serialize_u32(value: u32) -> ();
        serialize_u64(value: u64) -> ();
        serialize_f32(value: f32) -> ();
        serialize_f64(value: f64) -> ();
        serialize_char(value: char) -> ();
        serialize_str(text: &str) -> ();
        serialize_bytes(bytes: &[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(name: &'static str) -> ();
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> ();
        serialize_seq(length: Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(length: usize) -> Self::SerializeTuple;
        serialize_tuple_struct(name: &'static str, length: usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, length: usize)
            -> Self::SerializeTupleVariant;
        serialize_map(length: Option<usize>) -> Self::SerializeMap;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, length: usize)
            -> Self::SerializeStructVariant;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Sample {
        name: &'static str,
        count: i64,
        low_level: Option<u8>,
        open: bool,
        list: Vec<u8>,
    }

    #[test]
    fn cells_come_in_the_order_of_the_columns_and_formulas_are_made_harmless() {
        let mut cells = Cells::new(&["count", "name", "missing", "lowLevel", "open"]);
        let mut line = |name, count| {
            let row = Sample { name, count, low_level: None, open: true, list: vec![1] };
            let cells = cells.of(&row).expect("cells").map(|cell| String::from_utf8_lossy(cell).into_owned());
            cells.collect::<Vec<_>>().join("|")
        };
        assert_eq!(line("plain", 5), "5|plain|||true");
        assert_eq!(line("=1+1", -5), "-5|'=1+1|||true", "a number is no formula");
        assert_eq!(line("-5", 0), "0|'-5|||true");
        assert!(
            Cells::new(&["list"])
                .of(&Sample { name: "", count: 0, low_level: Some(1), open: false, list: vec![] })
                .is_err()
        );
        assert!(Cells::new(&["a"]).of(&Value::from(1)).is_err(), "a row has fields");
    }

    #[test]
    fn what_was_guarded_comes_back_as_it_was() {
        for text in ["=1", "'=1", "''=1", "'a", "a", "'", "", "@SUM(A1)", "\t", "+1", "-1", "''"] {
            let mut cell = String::new();
            text.serialize(Cell(&mut cell)).expect("a cell");
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{text}");
            assert_eq!(without_guard(&cell), text);
        }
    }
}
