//! A resource declared once. The trait removes typing and carries no safety: tenant, audit,
//! events, versions and soft delete belong to the Writer, so leaving `crud()` for a plain handler
//! costs nothing. Not for actions with rules of their own.

use kernel::{Permission, Result};
use sea_orm::{ActiveValue, EntityTrait, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{TenantEntity, TenantRow};
use utoipa::ToSchema;

use crate::operation::Shape;

/// The method that changes a resource; the contract fixes it per suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateVerb {
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
}

/// The permissions of the standard verbs.
#[derive(Clone, Copy, Debug)]
pub struct Permissions {
    /// List and get.
    pub read: Permission,
    /// Create and update.
    pub write: Permission,
    /// Delete.
    pub delete: Permission,
    /// Restore, and see what is deleted.
    pub restore: Permission,
    /// Export.
    pub export: Permission,
}

/// What the standard verbs need to know of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The service.
    pub service: &'static str,
    /// One of them, in snake case.
    pub singular: &'static str,
    /// Many of them, in snake case.
    pub plural: &'static str,
    /// The path of the collection.
    pub path: &'static str,
    /// The path of one of them.
    pub item_path: &'static str,
    /// The path that restores one.
    pub restore_path: &'static str,
    /// The path that exports all, if there is one.
    pub export_path: Option<&'static str>,
    /// The method that changes one.
    pub update: UpdateVerb,
    /// The permissions.
    pub permissions: Permissions,
    /// How the gateway writes the bodies.
    pub shape: Shape,
    /// The columns of an export, by JSON name, in order.
    pub export: &'static [&'static str],
}

/// What a field holds, as far as sorting and filtering must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A moment.
    Time,
}

/// A field that lists may sort or filter by. Sortable columns are never empty.
#[derive(Clone, Copy, Debug)]
pub struct Field<C> {
    /// Its JSON name.
    pub name: &'static str,
    /// Its column.
    pub column: C,
    /// What it holds.
    pub kind: FieldKind,
    /// Whether `sort=` may name it.
    pub sort: bool,
    /// Whether `?name=value` keeps the rows with that value.
    pub filter: bool,
}

impl<C> Field<C> {
    /// Returns a field that lists may sort and filter by.
    pub const fn new(name: &'static str, column: C, kind: FieldKind) -> Self {
        Self { name, column, kind, sort: true, filter: true }
    }

    /// Takes sorting away, for columns that may be empty.
    #[must_use]
    pub const fn unsorted(mut self) -> Self {
        self.sort = false;
        self
    }
}

/// The row type of a resource.
pub(crate) type Row<R> = <<R as Resource>::Entity as EntityTrait>::Model;
/// The column type of a resource.
pub(crate) type Column<R> = <<R as Resource>::Entity as EntityTrait>::Column;
/// The id's kind of a resource.
pub(crate) type Kind<R> = <<R as Resource>::Entity as TenantRow>::Kind;

/// A resource with the standard verbs. The implementing type is its public view.
pub trait Resource: Serialize + ToSchema + Send + Sync + 'static {
    /// The table.
    type Entity: TenantEntity;
    /// What creating one takes.
    type Create: DeserializeOwned + ToSchema + Send + 'static;
    /// What changing one takes; fields that are absent stay as they are.
    type Update: DeserializeOwned + ToSchema + Send + 'static;

    /// What the standard verbs need to know.
    const SPEC: Spec;

    /// Returns the fields that lists may sort and filter by; the first is the default sort.
    fn fields() -> Vec<Field<Column<Self>>>;

    /// Returns the public view of a row.
    fn view(row: &Row<Self>) -> Self;

    /// Returns the row that a creation makes; the Writer fills in what it owns.
    fn create(input: Self::Create) -> Result<<Self::Entity as EntityTrait>::ActiveModel>;

    /// Returns the columns that an update sets.
    fn update(input: Self::Update) -> Result<<Self::Entity as EntityTrait>::ActiveModel>;
}

/// Sets a column when the input has a value, and leaves it alone otherwise.
pub fn set_if<T, U>(input: Option<T>) -> ActiveValue<U>
where
    T: Into<U>,
    U: Into<Value>,
{
    match input {
        Some(value) => ActiveValue::Set(value.into()),
        None => ActiveValue::NotSet,
    }
}
