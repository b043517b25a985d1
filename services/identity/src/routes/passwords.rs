//! Changing a password, and getting back in without one. A new password ends all other sessions of
//! its owner, everywhere. Not for what a password must be: see `password`.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use kernel::{Answer, Error, RequestId, Result, Text};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use serde::Deserialize;
use serde_json::json;
use service::{Access, App, Operation};
use store::{Event, Purpose, System};
use utoipa::ToSchema;
use web::{Body, Caller, Principal, RequestIds};

use crate::admission::admit;
use crate::authenticate::invalid_code;
use crate::credentials::password::{Checked, Password};
use crate::credentials::secret::{Code, code_hash};
use crate::credentials::throttle::{Attempt, SIGN_IN};
use crate::ending::{Which, end_sessions};
use crate::letters::Letter;
use crate::origin::Origin;
use crate::proof::{proof_failed, proving};
use crate::queries::{self, Account, Wanted};
use crate::routes::me::person_of;
use crate::state;
use crate::state::Identity;
use crate::tables::session::{self, SessionId};
use crate::tables::user::{self, Email};
use crate::tables::{code, reset};

const RESET_LIFETIME: Duration = Duration::from_secs(3600);
/// How fresh a sign-in without a password must be to set the first one.
const FRESH: Duration = Duration::from_secs(3600);

/// What changing a password takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangePassword {
    /// The password until now; left out only by who has none.
    current_password: Option<Password>,
    /// The password from now on.
    new_password: Password,
}

/// Whose password was forgotten.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ForgotPassword {
    /// The e-mail address of the account.
    email: Email,
}

/// What choosing a new password takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResetPassword {
    /// The code from the letter.
    code: Text<64>,
    /// The password from now on.
    new_password: Password,
}

pub(crate) fn operations() -> [Operation; 3] {
    [
        Operation::post("/api/auth/password/change", "identity_change_password", change)
            .access(Access::Session)
            .describe(
                "Change my password",
                "Needs the present password; somebody who signed in within the last hour and has none yet sets the first. All other sessions of the person end, in every organisation.",
            )
            .takes::<ChangePassword>()
            .gives_other(204, "Changed", &[])
            .problems(&[400, 401, 403, 409, 415, 429, 503]),
        Operation::post("/api/auth/password/forgot", "identity_forget_password", forgot)
            .access(Access::Public)
            .describe(
                "Ask for a way back in",
                "Sends a letter with a one-use code, good for an hour, if there is such an account; the answer is the \
                 same if there is none.",
            )
            .takes::<ForgotPassword>()
            .gives_other(202, "If there is such an account, a letter is on its way", &[])
            .problems(&[400, 415, 429]),
        Operation::post("/api/auth/password/reset", "identity_reset_password", reset_password)
            .access(Access::Public)
            .describe(
                "Choose a new password",
                "With the code from the letter. A password that is refused as too weak does not use the code up. All \
                 sessions of the person end, in every organisation.",
            )
            .takes::<ResetPassword>()
            .gives_other(204, "Changed", &[])
            .problems(&[400, 401, 415, 429, 503]),
    ]
}

async fn change(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(principal): Extension<Principal>,
    Caller(ctx): Caller,
    origin: Origin,
    Body(input): Body<ChangePassword>,
) -> web::Result {
    let user = person_of(&principal)?;
    let session: SessionId = principal.credential.parse()?;
    let system = app.store.system_read(Purpose::SignIn).await?;
    let account = queries::account(&system, Wanted::User(user)).await?;
    let row = system.one(session::Entity::find().filter(session::Column::Id.eq(session))).await?;
    system.close().await?;
    let account = account.ok_or_else(|| queries::lost("the person of a session"))?;
    let row = row.ok_or_else(|| queries::lost("the session of a caller"))?;
    match (&account.password_hash, input.current_password) {
        (Some(_), None) => {
            return Err(Error::invalid("request.invalid_body", "the body is not valid")
                .field("currentPassword", "is needed: the account has a password")
                .into());
        }
        (Some(stored), Some(current)) => {
            let attempt = admit(&app.store, &identity, proving(&account, &origin)).await?;
            let slot = identity.passwords().reserve()?;
            if identity.passwords().check(slot, current, Some(stored.clone())).await? == Checked::Wrong {
                proof_failed(&app, &account, ctx.tenant(), "password change", &origin, ctx.request_id()).await?;
                return Err(Error::invalid("identity.wrong_password", "the present password is wrong")
                    .field("currentPassword", "is wrong")
                    .into());
            }
            identity.throttle().succeeded(&attempt);
        }
        (None, _) if app.now() > row.created_at.plus(FRESH) => {
            let message = "this sign-in is too old to set a first password: sign in with a new code";
            return Err(Error::conflict("identity.sign_in_again", message).into());
        }
        (None, _) => {}
    }
    check_new(&identity, &input.new_password, &account)?;
    let hash = identity.passwords().hash(input.new_password).await?;
    let system = app.store.system(Purpose::SignIn).await?;
    let (actor, how) = (ctx.actor().to_string(), "change");
    let change = NewPassword { account: &account, hash, which: Which::AllBut(session), how, origin: &origin };
    set_password(&system, change, &actor, ctx.request_id()).await?;
    // The session must still stand in the transaction that trusts it.
    let stands = session::Entity::update_many()
        .col_expr(session::Column::LastUsedAt, Expr::val(system.now()))
        .filter(session::Column::Id.eq(session))
        .filter(session::Column::DeletedAt.is_null());
    if system.execute(stands.as_query()).await? == 0 {
        return Err(Error::unauthenticated("request.unauthenticated", "send a valid bearer token").into());
    }
    system.commit().await?;
    Ok(Answer::no_content().into())
}

fn check_new(identity: &Identity, password: &Password, account: &Account) -> Result<()> {
    let email = account.email.as_deref().unwrap_or_default();
    password.check_new(identity.settings(), &[email, &account.name], "newPassword")
}

/// A password to be stored.
struct NewPassword<'a> {
    /// The account as it was when its owner proved who they are.
    account: &'a Account,
    hash: String,
    which: Which,
    how: &'static str,
    origin: &'a Origin,
}

/// Stores the hash if the old one is still what it was, spends all codes of the person, ends the
/// sessions, and tells every organisation of the person.
async fn set_password(system: &System, new: NewPassword<'_>, actor: &str, request: &RequestId) -> Result<()> {
    let NewPassword { account, hash, which, how, origin } = new;
    let mut update = user::Entity::update_many()
        .col_expr(user::Column::PasswordHash, Expr::val(hash))
        .filter(user::Column::Id.eq(account.user));
    // Of two who set it at the same moment the second does not know what the first chose.
    update = match &account.password_hash {
        Some(old) => update.filter(user::Column::PasswordHash.eq(old.as_str())),
        None => update.filter(user::Column::PasswordHash.is_null()),
    };
    if system.execute(update.as_query()).await? == 0 {
        return Err(Error::conflict("identity.password_changed", "the password was changed in the same moment"));
    }
    let now = system.now();
    let resets = reset::Entity::update_many()
        .col_expr(reset::Column::UsedAt, Expr::val(now))
        .filter(reset::Column::UserId.eq(account.user))
        .filter(reset::Column::UsedAt.is_null());
    system.execute(resets.as_query()).await?;
    let codes = code::Entity::update_many()
        .col_expr(code::Column::UsedAt, Expr::val(now))
        .filter(code::Column::UserId.eq(account.user))
        .filter(code::Column::UsedAt.is_null());
    system.execute(codes.as_query()).await?;
    let told = json!({ "how": how, "network": origin.network.to_string() });
    let event = Event::about("identity.user.password_changed", account.user, told);
    for place in &account.places {
        system.record(place.tenant, actor, request, &event).await?;
    }
    end_sessions(system, account.user, which, actor, request).await
}

async fn forgot(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    origin: Origin,
    Body(input): Body<ForgotPassword>,
) -> web::Result {
    let account = Some(input.email.as_str().to_owned());
    admit(&app.store, &identity, Attempt { what: "forgot", account, network: origin.network, tenant: None }).await?;
    let code = Code::long()?;
    let system = app.store.system(Purpose::SignIn).await?;
    let account = queries::account(&system, Wanted::Email(input.email.as_str())).await?;
    let account = account.filter(|account| account.active);
    // A row either way: the same work, so that the time it takes tells nothing.
    let row = reset::ActiveModel {
        code_hash: Set(code.hash()),
        user_id: Set(account.as_ref().map(|account| account.user)),
        created_at: Set(system.now()),
        expires_at: Set(system.now().plus(RESET_LIFETIME)),
        used_at: Set(None),
    };
    system.insert(row).await?;
    system.commit().await?;
    if account.is_some() {
        let letter = Letter::reset(input.email.as_str(), &identity.settings().front_end_url, &code);
        state::post(&identity, letter)?;
    }
    Ok(Answer { status: 202, ..Answer::no_content() }.into())
}

async fn reset_password(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(ids): Extension<RequestIds>,
    origin: Origin,
    Body(input): Body<ResetPassword>,
) -> web::Result {
    let attempt = Attempt { what: "code", account: None, network: origin.network, tenant: None };
    let attempt = admit(&app.store, &identity, attempt).await?;
    let hash = code_hash(input.code.as_str());
    let system = app.store.system_read(Purpose::SignIn).await?;
    let now = system.now();
    let found = system.one(reset::Entity::find_by_id(hash.clone())).await?;
    let user = found.filter(|row| row.used_at.is_none() && row.expires_at > now).and_then(|row| row.user_id);
    let account = match user {
        Some(user) => queries::account(&system, Wanted::User(user)).await?,
        None => None,
    };
    system.close().await?;
    let account = account.filter(|account| account.active).ok_or_else(invalid_code)?;
    check_new(&identity, &input.new_password, &account)?;
    let password = identity.passwords().hash(input.new_password).await?;
    let system = app.store.system(Purpose::SignIn).await?;
    // This code is spent here, and all others with the new password.
    let mine = reset::Entity::update_many()
        .col_expr(reset::Column::UsedAt, Expr::val(system.now()))
        .filter(reset::Column::CodeHash.eq(hash))
        .filter(reset::Column::UsedAt.is_null())
        .filter(Expr::col(reset::Column::ExpiresAt).gt(now));
    if system.execute(mine.as_query()).await? == 0 {
        system.close().await?;
        return Err(invalid_code().into());
    }
    let (actor, how) = (account.user.to_string(), "reset");
    let change = NewPassword { account: &account, hash: password, which: Which::All, how, origin: &origin };
    set_password(&system, change, &actor, &ids.request).await?;
    system.commit().await?;
    identity.throttle().succeeded(&attempt);
    if let Some(email) = &account.email {
        identity.throttle().forget_account(SIGN_IN, email);
    }
    Ok(Answer::no_content().into())
}
