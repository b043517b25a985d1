//! Makes people, organisations and memberships: what first start, registration and invitations have
//! in common. Not for deciding who may.

use kernel::{Error, RequestId, Result, TenantId, UserId};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use serde_json::json;
use service::{Role, check_slug};
use store::{Event, System, TenantRecord};

use crate::tables::{membership, user};

/// A new person.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewPerson<'a> {
    pub name: &'a str,
    pub email: Option<&'a str>,
    pub password_hash: Option<String>,
    pub superadmin: bool,
}

/// Inserts a person.
pub(crate) async fn person(system: &System, new: NewPerson<'_>) -> Result<UserId> {
    let row = user::ActiveModel {
        id: Set(UserId::new()),
        email: Set(new.email.map(str::to_owned)),
        name: Set(new.name.to_owned()),
        created_at: Set(system.now()),
        password_hash: Set(new.password_hash),
        platform_role: Set(new.superadmin.then(|| Role::Superadmin.name().to_owned())),
        state: Set(user::ACTIVE.to_owned()),
    };
    Ok(system.insert(row).await?.id)
}

/// Makes a person a member of a tenant, or a former member one again; who is a member stays as is.
pub(crate) async fn join(
    system: &System,
    tenant: TenantId,
    user: UserId,
    role: Role,
    actor: &str,
    request: &RequestId,
) -> Result<()> {
    let now = system.now();
    let known = membership::Entity::find()
        .filter(membership::Column::TenantId.eq(tenant))
        .filter(membership::Column::Id.eq(user));
    match system.one(known).await? {
        Some(row) if row.deleted_at.is_none() => return Ok(()),
        Some(_) => {
            let back = membership::Entity::update_many()
                .col_expr(membership::Column::DeletedAt, Expr::val(Option::<i64>::None))
                .col_expr(membership::Column::Role, Expr::val(role.name()))
                .col_expr(membership::Column::Version, Expr::col(membership::Column::Version).add(1i64))
                .col_expr(membership::Column::UpdatedAt, Expr::val(now))
                .col_expr(membership::Column::UpdatedBy, Expr::val(actor))
                .filter(membership::Column::TenantId.eq(tenant))
                .filter(membership::Column::Id.eq(user));
            system.execute(back.as_query()).await?;
        }
        None => {
            let row = membership::ActiveModel {
                tenant_id: Set(tenant),
                id: Set(user),
                user_id: Set(user),
                role: Set(role.name().to_owned()),
                created_at: Set(now),
                created_by: Set(actor.to_owned()),
                version: Set(1),
                updated_at: Set(now),
                updated_by: Set(actor.to_owned()),
                deleted_at: Set(None),
            };
            system.insert(row).await?;
        }
    }
    let event = Event::about("identity.user.created", user, json!({ "role": role.name() }));
    system.record(tenant, actor, request, &event).await
}

/// Returns a short name like the long one.
fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.to_lowercase().chars() {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
        if slug.len() >= 30 {
            break;
        }
    }
    let slug = slug.trim_matches('-').to_owned();
    if check_slug(&slug).is_ok() { slug } else { format!("org-{slug}").trim_end_matches('-').to_owned() }
}

/// Creates an organisation. A short name that was asked for is taken or refused; one that is made up
/// gets a number of its own where it is taken.
pub(crate) async fn organization(system: &System, name: &str, slug: Option<&str>) -> Result<TenantRecord> {
    let taken = || Error::conflict("tenants.slug_taken", "another organisation has this short name");
    if let Some(slug) = slug {
        if system.tenant_by_slug(slug).await?.is_some() {
            return Err(taken().field("organizationSlug", "is taken"));
        }
        return system.create_tenant(slug, name).await;
    }
    let base = slug_of(name);
    let mut slug = base.clone();
    for _ in 0..5 {
        if system.tenant_by_slug(&slug).await?.is_none() {
            return system.create_tenant(&slug, name).await;
        }
        slug = format!("{base}-{}", crate::credentials::secret::hex(&crate::credentials::secret::random::<3>()?));
    }
    Err(taken())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_made_from_long_ones_and_checked() {
        for (name, slug) in [
            ("Green Farm", "green-farm"),
            ("  --Müller & Søn--  ", "m-ller-s-n"),
            ("Admin", "org-admin"),
            ("株式会社", "org"),
            ("A very long name of an organisation that goes on", "a-very-long-name-of-an-organis"),
        ] {
            assert_eq!(slug_of(name), slug, "{name}");
            check_slug(&slug_of(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
        }
        for wrong in ["", "ab", "-abc", "abc-", "ABC", "a b", "api", "x_y_z"] {
            assert!(check_slug(wrong).is_err(), "{wrong}");
        }
    }
}
