//! Registration: a new person with a new organisation. Unless the installation says otherwise the
//! address is confirmed first, and whoever asks learns nothing about who is known. Not for joining
//! an organisation that is there: see `invitations`.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use kernel::{Answer, Error, RequestId, Result, Text, UserId};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use serde::Deserialize;
use service::{Access, App, Operation, Role, check_slug};
use store::Purpose;
use utoipa::ToSchema;
use web::{Body, Problem, Reply, RequestIds};

use crate::admission::admit;
use crate::authenticate::{invalid_code, invalid_credentials};
use crate::credentials::password::{Checked, Password};
use crate::credentials::secret::{Code, code_hash};
use crate::credentials::throttle::Attempt;
use crate::enrol::{self, NewPerson};
use crate::letters::Letter;
use crate::opening::{self, Opening, SignedIn, not_stored};
use crate::origin::Origin;
use crate::queries::{self, Wanted};
use crate::settings::Registration;
use crate::state::{self, Identity};
use crate::tables::registration;
use crate::tables::user::Email;

const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What registering takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Register {
    /// The person's e-mail address.
    email: Email,
    /// The password.
    password: Password,
    /// The person's name.
    name: Text<100>,
    /// The name of the new organisation.
    organization_name: Text<100>,
    /// Its short name: 3 to 40 of a-z, 0-9 and -; made from the name where it is left out.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$")]
    organization_slug: Option<String>,
}

/// What confirming takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfirmRegistration {
    /// The code from the letter.
    code: Text<64>,
    /// The password that was registered with: whoever reads the letter must be who wrote the form.
    password: Password,
}

pub(crate) fn operations() -> [Operation; 2] {
    [
        Operation::post("/api/auth/register", "identity_register", register)
            .access(Access::Public)
            .describe(
                "Register",
                "Makes a person and a new organisation with that person as its administrator. With \
                 `identity.registration = \"confirm\"`, the default, the answer is 202 whoever asks, and a letter has \
                 the code to confirm with; with `open` it is 201 and signed in; with `closed` it is 403.",
            )
            .takes::<Register>()
            .gives::<SignedIn>(201, "Registered and signed in, where registration is open")
            .gives_other(202, "A letter is on its way", &[])
            .problems(&[400, 403, 409, 415, 429, 503]),
        Operation::post("/api/auth/register/confirm", "identity_confirm_registration", confirm)
            .access(Access::Public)
            .describe(
                "Confirm a registration",
                "With the code from the letter and the password of the registration, within a day. Works once.",
            )
            .takes::<ConfirmRegistration>()
            .gives::<SignedIn>(201, "Registered and signed in")
            .problems(&[400, 401, 403, 409, 415, 429, 503]),
    ]
}

async fn register(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(ids): Extension<RequestIds>,
    origin: Origin,
    Body(input): Body<Register>,
) -> Result<Response, Problem> {
    let settings = identity.settings();
    refuse_when_closed(&identity)?;
    if let Some(Err(why)) = input.organization_slug.as_deref().map(check_slug) {
        return Err(Error::invalid("request.invalid_body", "the body is not valid")
            .field("organizationSlug", why)
            .into());
    }
    let email = input.email.as_str();
    input.password.check_new(settings, &[email, input.name.as_str(), input.organization_name.as_str()], "password")?;
    let attempt = Attempt { what: "register", account: Some(email.to_owned()), network: origin.network, tenant: None };
    admit(&app.store, &identity, attempt).await?;
    let password_hash = identity.passwords().hash(input.password.clone()).await?;
    let code = Code::long()?;
    let new = registration::Model {
        code_hash: code.hash(),
        email: email.to_owned(),
        name: input.name.clone().into(),
        password_hash,
        organization_name: input.organization_name.clone().into(),
        organization_slug: input.organization_slug.clone(),
        created_at: app.now(),
        expires_at: app.now().plus(LIFETIME),
        used_at: None,
    };
    if settings.registration == Registration::Open {
        let user = enrol_both(&app, &new, &ids.request, None).await?;
        return signed_in(&app, &identity, user, &ids.request, &origin).await;
    }
    let system = app.store.system(Purpose::SignIn).await?;
    let known = queries::account(&system, Wanted::Email(email)).await?.is_some();
    // A row either way: the same work, so that the time it takes tells nothing.
    system.insert(pending(new)).await?;
    system.commit().await?;
    let front = &settings.front_end_url;
    let (name, organization) = (input.name.as_str(), input.organization_name.as_str());
    let letter = match known {
        true => Letter::known_already(email, front),
        false => Letter::registration(email, name, organization, front, &code),
    };
    state::post(&identity, letter)?;
    Ok(Reply(Answer { status: 202, ..Answer::no_content() }).into_response())
}

fn refuse_when_closed(identity: &Identity) -> Result<()> {
    if identity.settings().registration == Registration::Closed {
        let message = "registration is closed here: ask an administrator for an invitation";
        return Err(Error::forbidden("identity.registration_closed", message));
    }
    Ok(())
}

fn pending(new: registration::Model) -> registration::ActiveModel {
    registration::ActiveModel {
        code_hash: Set(new.code_hash),
        email: Set(new.email),
        name: Set(new.name),
        password_hash: Set(new.password_hash),
        organization_name: Set(new.organization_name),
        organization_slug: Set(new.organization_slug),
        created_at: Set(new.created_at),
        expires_at: Set(new.expires_at),
        used_at: Set(None),
    }
}

async fn confirm(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(ids): Extension<RequestIds>,
    origin: Origin,
    Body(input): Body<ConfirmRegistration>,
) -> Result<Response, Problem> {
    refuse_when_closed(&identity)?;
    let attempt = Attempt { what: "code", account: None, network: origin.network, tenant: None };
    let attempt = admit(&app.store, &identity, attempt).await?;
    let hash = code_hash(input.code.as_str());
    let system = app.store.system_read(Purpose::SignIn).await?;
    let now = system.now();
    let found = system.one(registration::Entity::find_by_id(hash.clone())).await?;
    system.close().await?;
    let found = found.filter(|row| row.used_at.is_none() && row.expires_at > now).ok_or_else(invalid_code)?;
    let slot = identity.passwords().reserve()?;
    if identity.passwords().check(slot, input.password, Some(found.password_hash.clone())).await? == Checked::Wrong {
        return Err(invalid_credentials().into());
    }
    let user = enrol_both(&app, &found, &ids.request, Some(hash)).await?;
    identity.throttle().succeeded(&attempt);
    signed_in(&app, &identity, user, &ids.request, &origin).await
}

/// Makes the person and the organisation, and spends the code where there is one.
async fn enrol_both(
    app: &App,
    new: &registration::Model,
    request: &RequestId,
    code: Option<Vec<u8>>,
) -> Result<UserId> {
    let system = app.store.system(Purpose::Bootstrap).await?;
    if let Some(code) = code {
        let spend = registration::Entity::update_many()
            .col_expr(registration::Column::UsedAt, Expr::val(system.now()))
            .filter(registration::Column::CodeHash.eq(code))
            .filter(registration::Column::ExpiresAt.gt(system.now()))
            .filter(Expr::col(registration::Column::UsedAt).is_null());
        if system.execute(spend.as_query()).await? == 0 {
            system.close().await?;
            return Err(invalid_code());
        }
    }
    let person = NewPerson {
        name: &new.name,
        email: Some(&new.email),
        password_hash: Some(new.password_hash.clone()),
        superadmin: false,
    };
    let user = enrol::person(&system, person).await?;
    let tenant = enrol::organization(&system, &new.organization_name, new.organization_slug.as_deref()).await?;
    let actor = user.to_string();
    let told = serde_json::json!({ "slug": tenant.slug, "name": tenant.name });
    let event = store::Event::about("tenants.tenant.provisioned", tenant.id, told);
    system.record(tenant.id, &actor, request, &event).await?;
    enrol::join(&system, tenant.id, user, Role::Admin, &actor, request).await?;
    system.commit().await?;
    Ok(user)
}

async fn signed_in(
    app: &App,
    identity: &Identity,
    user: UserId,
    request: &RequestId,
    origin: &Origin,
) -> Result<Response, Problem> {
    let system = app.store.system_read(Purpose::SignIn).await?;
    let account = queries::account(&system, Wanted::User(user)).await?;
    system.close().await?;
    let account = account.ok_or_else(|| queries::lost("a new person"))?;
    let place = account.places.first().ok_or_else(|| queries::lost("a new membership"))?;
    let (method, elevation, proof, rehashed) = ("registration", None, None, None);
    let opening = Opening { account: &account, place, method, origin, request, elevation, proof, rehashed };
    let signed_in = opening::open(app, identity, opening).await?;
    Ok(not_stored(Answer { status: 201, ..Answer::ok(&signed_in)? }))
}
