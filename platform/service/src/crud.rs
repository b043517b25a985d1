//! The standard verbs of a declared resource: list, get, create, update, delete, restore, export.
//! Each is one small handler; the operations below are all that mounts and documents them. Not for
//! odd resources: write plain handlers, they are as safe.

mod export;
mod list;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::Method;
use kernel::{Answer, Id, Result};
use sea_orm::{EntityTrait, IntoActiveModel, ModelTrait as _, Value};
use store::{TenantEntity, TenantRow, not_found};
use utoipa::openapi::Schema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr};
use web::{Body, Caller, IfMatch, IfNoneMatch, Path};

use crate::app::App;
use crate::operation::Operation;
use crate::resource::{Kind, Resource, Row, UpdateVerb};

/// A page of a list: the items, and the cursor that continues after them.
struct Page<R>(std::marker::PhantomData<R>);

impl<R: Resource> utoipa::PartialSchema for Page<R> {
    fn schema() -> RefOr<Schema> {
        let item = Ref::from_schema_name(R::name());
        let next = ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("Send it back as `cursor` to read on; null on the last page."));
        ObjectBuilder::new()
            .property("items", ArrayBuilder::new().items(item))
            .property("next", next)
            .required("items")
            .required("next")
            .into()
    }
}
impl<R: Resource> utoipa::ToSchema for Page<R> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("{}Page", R::name()).into()
    }
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        R::schemas(schemas);
        schemas.push((R::name().into_owned(), R::schema()));
    }
}

/// All of them, as an export gives them.
struct All<R>(std::marker::PhantomData<R>);

impl<R: Resource> utoipa::PartialSchema for All<R> {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new().items(Ref::from_schema_name(R::name())).into()
    }
}
impl<R: Resource> utoipa::ToSchema for All<R> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("All{}", R::name()).into()
    }
}

/// Returns the operations of the standard verbs.
pub fn crud<R: Resource>() -> Vec<Operation>
where
    Row<R>: IntoActiveModel<<R::Entity as EntityTrait>::ActiveModel>,
    <R::Entity as EntityTrait>::ActiveModel: Send,
{
    let spec = R::SPEC;
    let name = |verb: &str, noun: &str| format!("{}_{verb}_{noun}", spec.service);
    let noun = spec.singular.replace('_', " ");
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    let one = format!("{article} {noun}");
    let many = spec.plural.replace('_', " ");
    let events = R::Entity::EVENTS;
    let update = match spec.update {
        UpdateVerb::Put => Method::PUT,
        UpdateVerb::Patch => Method::PATCH,
    };
    let mut operations = vec![
        Operation::get(spec.path, name("list", spec.plural), list::list::<R>)
            .permission(spec.permissions.read)
            .parameters(list::parameters::<R>())
            .describe(
                format!("List {many}"),
                format!(
                    "Takes filters, a sort and a cursor; gives a page and the cursor of the next. A page holds at most \
                     200. `includeDeleted=true` also shows what is deleted and needs `{}`.",
                    spec.permissions.restore
                ),
            )
            .gives::<Page<R>>(200, "A page")
            .problems(&[400]),
        Operation::post(spec.path, name("create", spec.singular), create::<R>)
            .permission(spec.permissions.write)
            .describe(
                format!("Create {one}"),
                format!("Gives the new {noun} with its ETag and writes `{events}.created`."),
            )
            .takes::<R::Create>()
            .gives::<R>(201, "Created")
            .problems(&[400, 409, 415]),
        Operation::get(spec.item_path, name("get", spec.singular), get::<R>)
            .permission(spec.permissions.read)
            .describe(format!("Get {one}"), "Gives it with its ETag; `If-None-Match` answers 304 when it is unchanged.")
            .gives::<R>(200, "Found")
            .gives_other(304, "Unchanged", &[])
            .problems(&[400, 404]),
        Operation::new(update, spec.item_path, name("update", spec.singular), self::update::<R>)
            .permission(spec.permissions.write)
            .describe(
                format!("Change {one}"),
                format!(
                    "Sets the fields that are named and leaves the others. With `If-Match`, only if that is still the \
                     current version, else 412. Writes `{events}.updated`."
                ),
            )
            .takes::<R::Update>()
            .gives::<R>(200, "Changed")
            .problems(&[400, 404, 409, 412, 415]),
        Operation::new(Method::DELETE, spec.item_path, name("delete", spec.singular), delete::<R>)
            .permission(spec.permissions.delete)
            .describe(
                format!("Delete {one}"),
                format!("It can be restored. `If-Match` as with a change. Writes `{events}.deleted`."),
            )
            .gives_other(204, "Deleted", &[])
            .problems(&[400, 404, 412]),
        Operation::post(spec.restore_path, name("restore", spec.singular), restore::<R>)
            .permission(spec.permissions.restore)
            .describe(
                format!("Restore {one} that was deleted"),
                format!("409 where something live has taken its place. Writes `{events}.restored`."),
            )
            .gives::<R>(200, "Restored")
            .problems(&[400, 404, 409]),
    ];
    if let Some(path) = spec.export_path {
        operations.push(export::operation::<R>(path, name("export", spec.plural), &many));
    }
    let finish = |mut operation: Operation| {
        operation.shape = spec.shape;
        if operation.path.contains("{id}") { operation.path::<Id<Kind<R>>>("id") } else { operation }
    };
    operations.into_iter().map(finish).collect()
}

pub(crate) fn version<E: TenantEntity>(row: &E::Model) -> i64 {
    match row.get(E::VERSION) {
        Value::BigInt(Some(version)) => version,
        _ => 0,
    }
}

pub(crate) fn row_id<E: TenantRow>(row: &E::Model) -> Id<E::Kind> {
    match row.get(E::ID) {
        Value::Uuid(Some(uuid)) => Id::from_uuid(uuid),
        _ => unreachable!("the id column of a tenant row is a UUID"),
    }
}

fn answer<R: Resource>(row: &Row<R>) -> Result<Answer> {
    Ok(Answer::ok(&R::view(row))?.version(version::<R::Entity>(row)))
}

async fn get<R: Resource>(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(id): Path<Id<Kind<R>>>,
    known: IfNoneMatch,
) -> web::Result<Response> {
    let reader = app.store.read(&ctx).await?;
    let row = reader.select::<R::Entity>().id(id).one().await?.ok_or_else(not_found)?;
    let version = version::<R::Entity>(&row);
    if known.has(version) {
        return Ok(web::not_modified(version));
    }
    Ok(web::Reply(answer::<R>(&row)?).into_response())
}

async fn create<R: Resource>(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Body(input): Body<R::Create>,
) -> web::Result
where
    Row<R>: IntoActiveModel<<R::Entity as EntityTrait>::ActiveModel>,
    <R::Entity as EntityTrait>::ActiveModel: Send,
{
    let row = R::create(input)?;
    let mut writer = app.store.write(&mut ctx).await?;
    let row = writer.insert::<R::Entity>(row).await?;
    let location = R::SPEC.item_path.replace("{id}", &row_id::<R::Entity>(&row).to_string());
    let answer = Answer::created(location, &R::view(&row))?.version(version::<R::Entity>(&row));
    Ok(writer.commit(answer).await?.into())
}

async fn update<R: Resource>(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<Id<Kind<R>>>,
    IfMatch(expected): IfMatch,
    Body(input): Body<R::Update>,
) -> web::Result {
    let changes = R::update(input)?;
    let mut writer = app.store.write(&mut ctx).await?;
    let row = writer.update::<R::Entity>(id, expected, changes).await?;
    let answer = answer::<R>(&row)?;
    Ok(writer.commit(answer).await?.into())
}

async fn delete<R: Resource>(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<Id<Kind<R>>>,
    IfMatch(expected): IfMatch,
) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    writer.delete::<R::Entity>(id, expected).await?;
    Ok(writer.commit(Answer::no_content()).await?.into())
}

async fn restore<R: Resource>(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<Id<Kind<R>>>,
) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    let row = writer.restore::<R::Entity>(id).await?;
    let answer = answer::<R>(&row)?;
    Ok(writer.commit(answer).await?.into())
}
