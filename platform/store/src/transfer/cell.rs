//! A value on its way between two engines: read from whatever the source stores, checked against
//! what the target's column holds, never rounded or guessed. Not for business types.

use sea_orm::sqlx::postgres::{PgArguments, PgRow};
use sea_orm::sqlx::sqlite::{SqliteArguments, SqliteRow};
use sea_orm::sqlx::{Arguments as _, Column as _, Error, Row as _, TypeInfo as _, ValueRef as _};
use uuid::Uuid;

use crate::engine::Engine;
use crate::schema::Type;

/// What both engines can say of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    /// A number, or a boolean as 0 or 1.
    Integer(i64),
    Text(String),
    /// Bytes, or the 16 bytes of a UUID.
    Bytes(Vec<u8>),
}

/// Reads a row by what is stored, not by what the column was declared as.
pub(crate) fn from_sqlite(row: &SqliteRow) -> Result<Vec<Cell>, Error> {
    let mut cells = Vec::with_capacity(row.len());
    for index in 0..row.len() {
        let value = row.try_get_raw(index)?;
        let stored = value.type_info().name().to_owned();
        cells.push(match stored.as_str() {
            _ if value.is_null() => Cell::Null,
            "INTEGER" => Cell::Integer(row.try_get_unchecked(index)?),
            "TEXT" => Cell::Text(row.try_get_unchecked(index)?),
            "BLOB" => Cell::Bytes(row.try_get_unchecked(index)?),
            other => return Err(unknown(row.column(index).name(), other)),
        });
    }
    Ok(cells)
}

/// Reads a row by the types that the server names.
pub(crate) fn from_postgres(row: &PgRow) -> Result<Vec<Cell>, Error> {
    let mut cells = Vec::with_capacity(row.len());
    for index in 0..row.len() {
        if row.try_get_raw(index)?.is_null() {
            cells.push(Cell::Null);
            continue;
        }
        let column = row.column(index);
        cells.push(match column.type_info().name() {
            "INT8" => Cell::Integer(row.try_get(index)?),
            "BOOL" => Cell::Integer(i64::from(row.try_get::<bool, _>(index)?)),
            "TEXT" => Cell::Text(row.try_get(index)?),
            "UUID" => Cell::Bytes(row.try_get::<Uuid, _>(index)?.as_bytes().to_vec()),
            "BYTEA" => Cell::Bytes(row.try_get(index)?),
            other => return Err(unknown(column.name(), other)),
        });
    }
    Ok(cells)
}

fn unknown(column: &str, stored: &str) -> Error {
    let text = format!("{column} holds a value of the type {stored}, which has no counterpart");
    Error::ColumnDecode { index: column.to_owned(), source: text.into() }
}

impl Cell {
    /// Returns the number, of a query that asked for one.
    pub(crate) fn integer(&self) -> i64 {
        if let Self::Integer(number) = self { *number } else { 0 }
    }

    /// Returns the text, of a query that asked for some.
    pub(crate) fn text(&self) -> &str {
        if let Self::Text(text) = self { text } else { "" }
    }

    /// Returns how much memory the value takes, roughly.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Says why a column of this type cannot hold the value.
    pub(crate) fn misfit(&self, engine: Engine, holds: Type) -> Option<&'static str> {
        match (self, holds) {
            (Self::Text(text), Type::Text) if engine == Engine::Postgres && text.contains('\0') => {
                Some("PostgreSQL cannot store text with a NUL character")
            }
            (Self::Bytes(bytes), Type::Uuid) if bytes.len() != 16 => Some("a UUID has 16 bytes"),
            (Self::Integer(number), Type::Boolean) if !(0..=1).contains(number) => Some("a boolean is 0 or 1"),
            (Self::Null, _)
            | (Self::Integer(_), Type::Integer | Type::Boolean)
            | (Self::Text(_), Type::Text)
            | (Self::Bytes(_), Type::Bytes | Type::Uuid) => None,
            _ => Some("the stored value has another type than its column"),
        }
    }

    pub(crate) fn bind_sqlite(&self, arguments: &mut SqliteArguments) -> Result<(), Error> {
        match self {
            Self::Null => arguments.add(None::<i64>),
            Self::Integer(number) => arguments.add(*number),
            Self::Text(text) => arguments.add(text.as_str()),
            Self::Bytes(bytes) => arguments.add(bytes.as_slice()),
        }
        .map_err(Error::Encode)
    }

    /// Binds as the column's type; [`Cell::misfit`] was asked before.
    pub(crate) fn bind_postgres(&self, holds: Type, arguments: &mut PgArguments) -> Result<(), Error> {
        let bytes = if let Self::Bytes(bytes) = self { Some(bytes.as_slice()) } else { None };
        let number = if let Self::Integer(number) = self { Some(*number) } else { None };
        let text = if let Self::Text(text) = self { Some(text.as_str()) } else { None };
        match holds {
            Type::Uuid => arguments.add(bytes.and_then(|bytes| Uuid::from_slice(bytes).ok())),
            Type::Bytes => arguments.add(bytes),
            Type::Text => arguments.add(text),
            Type::Integer => arguments.add(number),
            Type::Boolean => arguments.add(number.map(|number| number != 0)),
        }
        .map_err(Error::Encode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_target_would_change_or_refuse_is_named_before_it_is_sent() {
        let (sqlite, postgres) = (Engine::Sqlite, Engine::Postgres);
        assert!(Cell::Bytes(vec![0; 15]).misfit(postgres, Type::Uuid).is_some());
        assert!(Cell::Bytes(vec![0; 16]).misfit(postgres, Type::Uuid).is_none());
        assert!(Cell::Integer(2).misfit(postgres, Type::Boolean).is_some());
        assert!(Cell::Text("a\0b".to_owned()).misfit(postgres, Type::Text).is_some());
        assert!(Cell::Text("a\0b".to_owned()).misfit(sqlite, Type::Text).is_none());
        assert!(Cell::Text("1".to_owned()).misfit(sqlite, Type::Integer).is_some());
        assert!(Cell::Null.misfit(postgres, Type::Boolean).is_none());
    }
}
