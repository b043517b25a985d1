//! Lists: filters by equality, one sort column with the id to break ties, keyset cursors. Not for
//! search.

use axum::extract::State;
use kernel::{Answer, Cursor, Error, Result, Timestamp};
use sea_orm::sea_query::Order;
use sea_orm::{ColumnTrait as _, Condition, ModelTrait as _, Value};
use serde::Serialize;
use serde_json::json;
use store::{TenantEntity as _, TenantRow as _};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use web::{Caller, Query};

use super::row_id;
use crate::app::App;
use crate::operation::Parameter;
use crate::resource::{Column, Field, FieldKind, Resource};

const DEFAULT_LIMIT: u64 = 50;
const MOST: u64 = 200;

/// A page as it is written; its fields keep the order in which they are declared.
#[derive(Serialize)]
struct Listing<R> {
    items: Vec<R>,
    next: Option<String>,
}

/// What a list was asked for.
struct Asked<C> {
    filters: Vec<(C, Value)>,
    sort: Field<C>,
    descending: bool,
    limit: u64,
    cursor: Option<Cursor>,
    deleted: bool,
}

/// Returns the query parameters, for the document.
pub(super) fn parameters<R: Resource>() -> Vec<Parameter> {
    let fields = R::fields();
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let sorts: Vec<String> = fields
        .iter()
        .filter(|field| field.sort)
        .flat_map(|field| [field.name.to_owned(), format!("-{}", field.name)])
        .collect();
    let parameter = |name: &str, summary: String, schema: ObjectBuilder| Parameter {
        name: name.to_owned(),
        summary,
        schema: schema.into(),
        required: false,
    };
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(MOST as f64));
    let boolean = || ObjectBuilder::new().schema_type(Type::Boolean);
    let mut parameters = vec![
        parameter("limit", format!("How many at most; {DEFAULT_LIMIT} unless said."), number),
        parameter("cursor", "Where to go on: `next` of the page before.".to_owned(), text()),
        parameter(
            "sort",
            "The field to sort by; `-` before it for descending.".to_owned(),
            text().enum_values(Some(sorts)),
        ),
        parameter("includeDeleted", "Whether to show what is deleted too.".to_owned(), boolean()),
    ];
    for field in fields.iter().filter(|field| field.filter) {
        let schema = match field.kind {
            FieldKind::Text => text(),
            FieldKind::Integer => ObjectBuilder::new().schema_type(Type::Integer),
            FieldKind::Boolean => boolean(),
            FieldKind::Time => {
                text().format(Some(utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::DateTime)))
            }
        };
        parameters.push(parameter(field.name, format!("Only those whose `{}` is this.", field.name), schema));
    }
    parameters
}

fn refuse(field: &str, message: impl Into<String>) -> Error {
    Error::invalid("request.invalid_query", "the query is not valid").field(field, message)
}

fn ask<R: Resource>(pairs: Vec<(String, String)>) -> Result<Asked<Column<R>>> {
    let fields = R::fields();
    let default = *fields.first().expect("a resource has at least one field");
    let mut asked = Asked {
        filters: Vec::new(),
        sort: default,
        descending: false,
        limit: DEFAULT_LIMIT,
        cursor: None,
        deleted: false,
    };
    let mut cursor = None;
    let mut seen = std::collections::BTreeSet::new();
    for (name, value) in pairs {
        if !seen.insert(name.clone()) {
            return Err(refuse(&name, "must be given once"));
        }
        match name.as_str() {
            "limit" => match value.parse() {
                Ok(limit @ 1..=MOST) => asked.limit = limit,
                _ => return Err(refuse("limit", format!("must be a number from 1 to {MOST}"))),
            },
            "cursor" => cursor = Some(value),
            "sort" => {
                let name = value.strip_prefix('-').unwrap_or(&value);
                asked.descending = name.len() < value.len();
                let found = fields.iter().find(|field| field.sort && field.name == name);
                let names: Vec<&str> = fields.iter().filter(|field| field.sort).map(|field| field.name).collect();
                asked.sort = *found.ok_or_else(|| refuse("sort", format!("must be one of {}", names.join(", "))))?;
            }
            "includeDeleted" => asked.deleted = boolean(&name, &value)?,
            _ => {
                let field = fields.iter().find(|field| field.filter && field.name == name);
                let field = field.ok_or_else(|| refuse(&name, "is not a parameter of this list"))?;
                asked.filters.push((field.column, parse(field, &value)?));
            }
        }
    }
    let sort = sort_name(&asked);
    asked.cursor = cursor.map(|text| Cursor::decode(&text, &sort)).transpose()?;
    Ok(asked)
}

fn sort_name<C>(asked: &Asked<C>) -> String {
    format!("{}{}", if asked.descending { "-" } else { "" }, asked.sort.name)
}

fn boolean(name: &str, value: &str) -> Result<bool> {
    value.parse().map_err(|_| refuse(name, "must be true or false"))
}

fn parse<C>(field: &Field<C>, value: &str) -> Result<Value> {
    Ok(match field.kind {
        FieldKind::Text => Value::from(value),
        FieldKind::Integer => {
            let number: i64 = value.parse().map_err(|_| refuse(field.name, "must be a whole number"))?;
            number.into()
        }
        FieldKind::Boolean => boolean(field.name, value)?.into(),
        FieldKind::Time => {
            Timestamp::parse(value).ok_or_else(|| refuse(field.name, "must be a time in RFC 3339"))?.into()
        }
    })
}

fn key_of(value: &Value) -> serde_json::Value {
    match value {
        Value::String(Some(text)) => json!(text),
        Value::BigInt(Some(number)) => json!(number),
        Value::Bool(Some(yes)) => json!(yes),
        _ => serde_json::Value::Null,
    }
}

fn value_of(key: &serde_json::Value, kind: FieldKind) -> Result<Value> {
    let fits = match (kind, key) {
        (FieldKind::Text, serde_json::Value::String(text)) => Some(text.as_str().into()),
        (FieldKind::Integer | FieldKind::Time, key) => key.as_i64().map(Value::from),
        (FieldKind::Boolean, key) => key.as_bool().map(Value::from),
        _ => None,
    };
    fits.ok_or_else(|| {
        Error::invalid("request.invalid_cursor", "this cursor is not valid here: start again without it")
    })
}

pub(super) async fn list<R: Resource>(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(pairs): Query<Vec<(String, String)>>,
) -> web::Result {
    let asked = ask::<R>(pairs)?;
    if asked.deleted {
        ctx.require(R::SPEC.permissions.restore)?;
    }
    let order = if asked.descending { Order::Desc } else { Order::Asc };
    let id = R::Entity::ID;
    let reader = app.store.read(&ctx).await?;
    let mut query = reader.select_with_deleted::<R::Entity>();
    if !asked.deleted {
        query = query.filter(R::Entity::DELETED_AT.is_null());
    }
    for (column, value) in &asked.filters {
        query = query.filter(column.eq(value.clone()));
    }
    if let Some(cursor) = &asked.cursor {
        let key = value_of(&cursor.key, asked.sort.kind)?;
        let (column, after) = (asked.sort.column, cursor.id);
        // The bound says nothing new, but an index can begin there: it cannot at an OR.
        let (bound, beyond, tie) = match asked.descending {
            false => (column.gte(key.clone()), column.gt(key.clone()), id.gt(after)),
            true => (column.lte(key.clone()), column.lt(key.clone()), id.lt(after)),
        };
        let beyond = Condition::any().add(beyond).add(Condition::all().add(column.eq(key)).add(tie));
        query = query.filter(bound).filter(beyond);
    }
    // One row more than asked for tells whether there is a next page.
    let mut rows =
        query.order_by(asked.sort.column, order.clone()).order_by(id, order).limit(asked.limit + 1).all().await?;
    reader.close().await?;
    let more = rows.len() as u64 > asked.limit;
    rows.truncate(asked.limit as usize);
    let next = rows.last().filter(|_| more).map(|row| {
        let key = key_of(&row.get(asked.sort.column));
        Cursor::after(&sort_name(&asked), key, row_id::<R::Entity>(row).uuid()).encode()
    });
    let items: Vec<R> = rows.iter().map(R::view).collect();
    Ok(Answer::ok(&Listing { items, next })?.into())
}
