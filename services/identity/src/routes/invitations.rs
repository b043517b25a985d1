//! Inviting people into an organisation, and accepting. Whoever accepts with an address that has an
//! account proves that it is theirs with its password. Not for changing what a member may do.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use kernel::{Answer, Error, Result, TenantId, Text, Timestamp, UserId};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, Order, QueryFilter as _, QueryTrait as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::{Access, App, Operation, Role};
use store::{Event, Purpose};
use utoipa::ToSchema;
use web::{Body, Caller, Path, Principal, Problem, RequestIds};

use crate::admission::admit;
use crate::authenticate::{invalid_code, suspended};
use crate::credentials::password::Password;
use crate::credentials::secret::{Code, code_hash};
use crate::credentials::throttle::Attempt;
use crate::enrol::{self, NewPerson};
use crate::letters::Letter;
use crate::opening::{self, Opening, SignedIn, not_stored};
use crate::origin::Origin;
use crate::proof::{Proof, prove};
use crate::queries::{self, Wanted};
use crate::routes::members::{MemberRole, may_give};
use crate::state::{self, Identity};
use crate::tables::invitation::{ActiveModel, Column, Entity, InvitationId, Model};
use crate::tables::user::Email;

/// How long an invitation works.
pub(crate) const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
const MOST: u64 = 500;

/// Whom to invite.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Invite {
    /// The person's e-mail address.
    email: Email,
    /// What the person is to be.
    role: MemberRole,
}

/// An invitation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InvitationView {
    /// Names the invitation.
    id: InvitationId,
    /// Who is invited.
    email: String,
    /// What the person is to be.
    role: String,
    /// When it was made.
    created_at: Timestamp,
    /// When it stops working.
    expires_at: Timestamp,
    /// When it was accepted.
    accepted_at: Option<Timestamp>,
}

/// A new invitation.
#[derive(Debug, Serialize, ToSchema)]
struct NewInvitation {
    /// The code to accept with; it is shown only now, not in the stored answer of a request that is sent again,
    /// and in the letter.
    #[schema(required = false)]
    code: String,
    /// What is remembered of it.
    #[serde(flatten)]
    shown: InvitationView,
}

/// The invitations.
#[derive(Debug, Serialize, ToSchema)]
struct Invitations {
    /// The invitations, the newest first.
    items: Vec<InvitationView>,
}

/// What accepting takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AcceptInvitation {
    /// The code of the invitation.
    code: Text<64>,
    /// The person's name; only a new account needs it.
    name: Option<Text<100>>,
    /// A new account's password, or that of the account that the address has.
    password: Password,
}

pub(crate) fn operations() -> [Operation; 4] {
    [
        Operation::post("/api/auth/invitations", "identity_create_invitation", invite)
            .permission("identity.members.invite")
            .describe(
                "Invite somebody",
                "Sends a letter with a code that works once, for 7 days; the answer shows the code too, once, for \
                 whoever wants to hand it over in another way.",
            )
            .takes::<Invite>()
            .gives::<NewInvitation>(201, "Invited")
            .problems(&[400, 403, 409, 415]),
        Operation::get("/api/auth/invitations", "identity_list_invitations", list)
            .permission("identity.members.invite")
            .describe("List invitations", "Lists open and accepted invitations, without their codes.")
            .gives::<Invitations>(200, "The invitations"),
        Operation::new(http::Method::DELETE, "/api/auth/invitations/{id}", "identity_withdraw_invitation", withdraw)
            .path::<InvitationId>("id")
            .permission("identity.members.invite")
            .describe("Withdraw an invitation", "Its code stops working.")
            .gives_other(204, "Withdrawn", &[])
            .problems(&[400, 404]),
        Operation::post("/api/auth/invitations/accept", "identity_accept_invitation", accept)
            .access(Access::Public)
            .describe(
                "Accept an invitation",
                "Makes the person a member and signs in. With an address that has an account, `password` must be that \
                 account's.",
            )
            .takes::<AcceptInvitation>()
            .gives::<SignedIn>(200, "Accepted and signed in")
            .problems(&[400, 401, 403, 415, 429, 503]),
    ]
}

fn shown(row: Model) -> InvitationView {
    InvitationView {
        id: row.id,
        email: row.email,
        role: row.role,
        created_at: row.created_at,
        expires_at: row.expires_at,
        accepted_at: row.accepted_at,
    }
}

async fn invite(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(principal): Extension<Principal>,
    Caller(mut ctx): Caller,
    Body(input): Body<Invite>,
) -> Result<Response, Problem> {
    may_give(&principal, input.role)?;
    let system = app.store.system_read(Purpose::SignIn).await?;
    let tenant = system.tenant(ctx.tenant()).await?;
    system.close().await?;
    let code = Code::long()?;
    let mut writer = app.store.write(&mut ctx).await?;
    let now = writer.now();
    let open = writer.select::<Entity>().filter(Column::ExpiresAt.gt(now)).filter(Column::AcceptedAt.is_null());
    if open.limit(MOST).all().await?.len() as u64 >= MOST {
        let message = format!("{MOST} invitations are open: withdraw some first");
        return Err(Error::conflict("identity.too_many_invitations", message).into());
    }
    let row = ActiveModel {
        email: Set(input.email.as_str().to_owned()),
        role: Set(input.role.role().name().to_owned()),
        code_hash: Set(code.hash()),
        expires_at: Set(now.plus(LIFETIME)),
        accepted_at: Set(None),
        ..Default::default()
    };
    let row = writer.insert::<Entity>(row).await?;
    let location = format!("/api/auth/invitations/{}", row.id);
    let shown = shown(row);
    // The stored answer of a repeated request must not hold the code: it is shown once.
    writer.commit(Answer::created(location.clone(), &shown)?).await?;
    let (to, front) = (input.email.as_str(), &identity.settings().front_end_url);
    state::post(&identity, Letter::invitation(to, &tenant.name, input.role.role().name(), front, &code))?;
    let created = NewInvitation { code: code.text().to_owned(), shown };
    Ok(not_stored(Answer::created(location, &created)?))
}

async fn list(State(app): State<App>, Caller(ctx): Caller) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let rows = reader.select::<Entity>().order_by(Column::CreatedAt, Order::Desc).limit(MOST).all().await?;
    reader.close().await?;
    Ok(Answer::ok(&Invitations { items: rows.into_iter().map(shown).collect() })?.into())
}

async fn withdraw(State(app): State<App>, Caller(mut ctx): Caller, Path(id): Path<InvitationId>) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    writer.change::<Entity>(id).delete().run("withdrawn").await?;
    Ok(writer.commit(Answer::no_content()).await?.into())
}

async fn accept(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(ids): Extension<RequestIds>,
    origin: Origin,
    Body(input): Body<AcceptInvitation>,
) -> Result<Response, Problem> {
    let attempt = Attempt { what: "code", account: None, network: origin.network, tenant: None };
    let attempt = admit(&app.store, &identity, attempt).await?;
    let hash = code_hash(input.code.as_str());
    let system = app.store.system_read(Purpose::SignIn).await?;
    let now = system.now();
    let found = system.one(Entity::find().filter(Column::CodeHash.eq(hash))).await?;
    let stands = |row: &Model| row.deleted_at.is_none() && row.accepted_at.is_none() && row.expires_at > now;
    let Some(invitation) = found.filter(stands) else { return Err(invalid_code().into()) };
    let account = queries::account(&system, Wanted::Email(&invitation.email)).await?;
    let tenant = system.tenant(invitation.tenant_id).await?;
    system.close().await?;
    if !tenant.is_active() {
        return Err(suspended().into());
    }
    let who = match account {
        Some(account) if account.active => {
            let (tenant, what) = (invitation.tenant_id, "invitation");
            let proof = Proof { account: &account, tenant, what, origin: &origin, request: &ids.request };
            prove(&app, &identity, proof, input.password).await?;
            Who::Known(account.user, account.password_hash)
        }
        Some(_) => return Err(invalid_code().into()),
        None => {
            let missing = || Error::invalid("request.invalid_body", "the body is not valid").field("name", "is needed");
            let name = input.name.ok_or_else(missing)?;
            input.password.check_new(identity.settings(), &[&invitation.email, name.as_str()], "password")?;
            Who::New(name, identity.passwords().hash(input.password).await?)
        }
    };
    let (user, proof) = join(&app, &invitation, who, &ids).await?;
    identity.throttle().succeeded(&attempt);
    let signed_in = sign_in(&app, &identity, (user, proof), invitation.tenant_id, &ids, &origin).await?;
    Ok(not_stored(Answer::ok(&signed_in)?))
}

enum Who {
    Known(UserId, Option<String>),
    New(Text<100>, String),
}

/// Spends the invitation and makes the member, all or nothing.
async fn join(app: &App, invitation: &Model, who: Who, ids: &RequestIds) -> Result<(UserId, Option<String>)> {
    let system = app.store.system(Purpose::Bootstrap).await?;
    let spend = Entity::update_many()
        .col_expr(Column::AcceptedAt, Expr::val(system.now()))
        .filter(Column::TenantId.eq(invitation.tenant_id))
        .filter(Column::Id.eq(invitation.id))
        .filter(Column::AcceptedAt.is_null())
        .filter(Column::ExpiresAt.gt(system.now()))
        .filter(Expr::col(Column::DeletedAt).is_null());
    if system.execute(spend.as_query()).await? == 0 {
        system.close().await?;
        return Err(invalid_code());
    }
    let (user, proof) = match who {
        Who::Known(user, proof) => (user, proof),
        Who::New(name, hash) => {
            let new = NewPerson {
                name: name.as_str(),
                email: Some(&invitation.email),
                password_hash: Some(hash),
                superadmin: false,
            };
            (enrol::person(&system, new).await?, None)
        }
    };
    let (tenant, actor) = (invitation.tenant_id, user.to_string());
    let event = Event::about("identity.invitation.accepted", invitation.id, json!({ "user": user }));
    system.record(tenant, &actor, &ids.request, &event).await?;
    let role = Role::named(&invitation.role).ok_or_else(|| queries::lost("the role of an invitation"))?;
    enrol::join(&system, tenant, user, role, &actor, &ids.request).await?;
    system.commit().await?;
    Ok((user, proof))
}

async fn sign_in(
    app: &App,
    identity: &Identity,
    (user, proof): (UserId, Option<String>),
    tenant: TenantId,
    ids: &RequestIds,
    origin: &Origin,
) -> Result<SignedIn> {
    let system = app.store.system_read(Purpose::SignIn).await?;
    let account = queries::account(&system, Wanted::User(user)).await?;
    system.close().await?;
    let account = account.ok_or_else(|| queries::lost("a new member"))?;
    let place = account.places.iter().find(|place| place.tenant == tenant);
    let place = place.ok_or_else(|| queries::lost("a new membership"))?;
    let (method, elevation, rehashed) = ("invitation", None, None);
    let opening =
        Opening { account: &account, place, method, origin, request: &ids.request, elevation, proof, rehashed };
    opening::open(app, identity, opening).await
}
