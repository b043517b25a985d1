//! The people of the organisation: who there is, what they are, and letting them go. The last
//! administrator stays. Not for inviting: see `invitations`.

use axum::Extension;
use axum::extract::State;
use kernel::{Answer, Error, Result, Timestamp, UserId};
use sea_orm::{ColumnTrait as _, EntityTrait as _, Order, QueryFilter as _};
use serde::{Deserialize, Serialize};
use service::{App, Operation, Role};
use store::{Purpose, Writer, not_found};
use utoipa::ToSchema;
use web::{Body, Caller, CredentialKind, IfMatch, Path, Principal};

use crate::tables::membership::{Column, Entity, Model};
use crate::tables::{invitation, session, token, user};

const MOST: u64 = 200;

/// The roles that a member can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MemberRole {
    /// Reads.
    Viewer,
    /// Works with the data.
    Staff,
    /// Runs the organisation.
    Admin,
}

impl MemberRole {
    pub(crate) fn role(self) -> Role {
        match self {
            Self::Viewer => Role::Viewer,
            Self::Staff => Role::Staff,
            Self::Admin => Role::Admin,
        }
    }
}

/// A member.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MemberView {
    /// Names the person.
    id: UserId,
    /// The person's name.
    name: String,
    /// The person's e-mail address.
    email: Option<String>,
    /// What the person is in the organisation.
    role: String,
    /// When the person joined.
    created_at: Timestamp,
}

/// A page of members.
#[derive(Debug, Serialize, ToSchema)]
struct Members {
    /// The members, in the order of their ids.
    items: Vec<MemberView>,
    /// Send it back as `after` to read on; null when there are no more.
    next: Option<UserId>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<UserId>,
}

/// What a member is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeMember {
    /// The new role.
    role: MemberRole,
}

/// Whose role is to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AssignRole {
    /// The person.
    user_id: UserId,
    /// The new role.
    role: MemberRole,
}

pub(crate) fn operations() -> [Operation; 4] {
    let rule = "The change holds for the person's sessions and API tokens within a second, everywhere. The last \
                administrator cannot be made something else: 409 `identity.last_administrator`.";
    [
        Operation::get("/api/v1/identity/members", "identity_list_members", list)
            .permission("identity.members.read")
            .query::<UserId>("after", "Where to go on: `next` of the page before.")
            .describe("List members", "Lists the people of the organisation, 200 at a time.")
            .gives::<Members>(200, "A page")
            .problems(&[400]),
        Operation::new(http::Method::PATCH, "/api/v1/identity/members/{id}", "identity_change_member", change)
            .path::<UserId>("id")
            .permission("identity.members.write")
            .describe("Change a member's role", rule)
            .takes::<ChangeMember>()
            .gives::<MemberView>(200, "Changed")
            .problems(&[400, 404, 409, 412, 415]),
        Operation::post("/api/users/roles", "identity_assign_role", assign)
            .permission("identity.members.write")
            .describe("Change a member's role", rule)
            .takes::<AssignRole>()
            .gives::<MemberView>(200, "Changed")
            .problems(&[400, 404, 409, 415]),
        Operation::new(http::Method::DELETE, "/api/v1/identity/members/{id}", "identity_remove_member", remove)
            .path::<UserId>("id")
            .permission("identity.members.write")
            .describe(
                "Remove a member",
                "The person's sessions and API tokens for the organisation stop working within a second. The account \
                 and its other memberships stay.",
            )
            .gives_other(204, "Removed", &[])
            .problems(&[400, 404, 409]),
    ]
}

async fn list(State(app): State<App>, Caller(ctx): Caller, web::Query(asked): web::Query<Asked>) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let mut select = reader.select::<Entity>().order_by(Column::Id, Order::Asc).limit(MOST + 1);
    if let Some(after) = asked.after {
        select = select.filter(Column::Id.gt(after));
    }
    let mut rows = select.all().await?;
    reader.close().await?;
    let more = rows.len() as u64 > MOST;
    rows.truncate(MOST as usize);
    let next = rows.last().filter(|_| more).map(|row| row.id);
    let items = shown(&app, rows).await?;
    Ok(Answer::ok(&Members { items, next })?.into())
}

/// Adds names and addresses, which live outside the tenant, to memberships.
async fn shown(app: &App, rows: Vec<Model>) -> Result<Vec<MemberView>> {
    let ids: Vec<UserId> = rows.iter().map(|row| row.id).collect();
    let system = app.store.system_read(Purpose::SignIn).await?;
    let people = system.all(user::Entity::find().filter(user::Column::Id.is_in(ids))).await?;
    system.close().await?;
    let people: std::collections::HashMap<UserId, user::Model> =
        people.into_iter().map(|person| (person.id, person)).collect();
    let show = |row: Model| {
        let person = people.get(&row.id);
        MemberView {
            id: row.id,
            name: person.map(|person| person.name.clone()).unwrap_or_default(),
            email: person.and_then(|person| person.email.clone()),
            role: row.role,
            created_at: row.created_at,
        }
    };
    Ok(rows.into_iter().map(show).collect())
}

/// Refuses to let a program make administrators: its scopes would be worth nothing.
pub(crate) fn may_give(principal: &Principal, role: MemberRole) -> Result<()> {
    if principal.kind == CredentialKind::ApiToken && role == MemberRole::Admin {
        let message = "an API token cannot make an administrator: sign in to do that";
        return Err(Error::forbidden("identity.session_required", message));
    }
    Ok(())
}

async fn change(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Caller(ctx): Caller,
    Path(id): Path<UserId>,
    IfMatch(expected): IfMatch,
    Body(input): Body<ChangeMember>,
) -> web::Result {
    may_give(&principal, input.role)?;
    set_role(&app, ctx, id, expected, input.role).await
}

async fn assign(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Caller(ctx): Caller,
    Body(input): Body<AssignRole>,
) -> web::Result {
    may_give(&principal, input.role)?;
    set_role(&app, ctx, input.user_id, None, input.role).await
}

async fn set_role(app: &App, mut ctx: kernel::Ctx, id: UserId, expected: Option<i64>, role: MemberRole) -> web::Result {
    // Read first: while the Writer is open nothing else is asked.
    let reader = app.store.read(&ctx).await?;
    let row = reader.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
    reader.close().await?;
    let mut named = shown(app, vec![row]).await?;
    let mut writer = app.store.write(&mut ctx).await?;
    if role != MemberRole::Admin {
        keep_an_administrator(&writer, id).await?;
    }
    let change = writer.change::<Entity>(id).expect_version(expected).set(Column::Role, role.role().name());
    let row = change.run("updated").await?;
    let mut person = named.remove(0);
    person.role = row.role;
    Ok(writer.commit(Answer::ok(&person)?.version(row.version)).await?.into())
}

async fn remove(State(app): State<App>, Caller(mut ctx): Caller, Path(id): Path<UserId>) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    keep_an_administrator(&writer, id).await?;
    // What the person holds goes too, or it would work again after the next invitation.
    writer.delete_all::<session::Entity>(session::Column::UserId.eq(id)).await?;
    writer.delete_all::<token::Entity>(token::Column::UserId.eq(id)).await?;
    // What the person promised goes too, or an invitation in their own pocket would let them back in.
    let promised = invitation::Column::CreatedBy.eq(id.to_string());
    writer.delete_all::<invitation::Entity>(promised).await?;
    writer.change::<Entity>(id).delete().run("deactivated").await?;
    Ok(writer.commit(Answer::no_content()).await?.into())
}

/// Refuses when nobody but this person runs the organisation. Two administrators who demote each
/// other at the same moment wait for one another here.
async fn keep_an_administrator(writer: &Writer<'_>, id: UserId) -> Result<()> {
    writer.alone("administrators").await?;
    let admins = writer.select::<Entity>().filter(Column::Role.eq(Role::Admin.name()));
    let admin = admins.filter(Column::Id.ne(id)).limit(1).one().await?;
    let target = writer.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
    if admin.is_none() && target.role == Role::Admin.name() {
        let message = "this is the last administrator: make somebody else one first";
        return Err(Error::conflict("identity.last_administrator", message));
    }
    Ok(())
}
