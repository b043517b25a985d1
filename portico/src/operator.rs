//! What whoever runs the installation may ask of a running server: the command line's counterpart.
//! Not for tenants' administrators.

use axum::Extension;
use axum::extract::State;
use identity::Identity;
use kernel::{Answer, Text, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use service::{Access, App, Operation, Service};
use utoipa::ToSchema;
use web::Body;

use crate::operator_events::{self, Known};
use crate::operator_tasks;

/// Whose sign-in code is wanted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedCode {
    /// The organisation's short name.
    #[schema(value_type = Text<64>)]
    pub organization: String,
}

/// A one-use sign-in code.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Code {
    /// What is typed in.
    code: String,
    /// When it stops working.
    expires_at: Timestamp,
}

/// How the signing key is to change.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rotation {
    /// Whether the new key signs at once, instead of after everybody who verifies has met it.
    #[serde(default)]
    pub at_once: bool,
    /// Whether all older keys go at once, and with them every access token; people refresh theirs.
    #[serde(default)]
    pub withdraw: bool,
}

/// A new signing key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Rotated {
    /// From when on it signs.
    signs_from: Timestamp,
}

/// Who is to run the platform.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlatformRole {
    /// The person's id, as `GET /api/auth/me` shows it; addresses of invited people are not confirmed.
    pub user: UserId,
    /// Whether the person is to be a superadmin from now on, or no longer.
    pub superadmin: bool,
}

/// Where sign-in codes are made.
pub(crate) const SIGN_IN_CODES: &str = "/operator/sign-in-codes";
/// Where signing keys are made.
pub(crate) const SIGNING_KEYS: &str = "/operator/signing-keys";
/// Where superadmins are named.
pub(crate) const SUPERADMINS: &str = "/operator/superadmins";

/// Returns the service; `all` are those that the installation has, `sinks` those that are configured.
pub fn service(identity: Identity, all: &[Service], sinks: &[String]) -> Service {
    Service::new("operator", "For whoever runs the installation")
        .routes([
            Operation::post(SIGN_IN_CODES, "operator_create_sign_in_code", create_code)
                .access(Access::Operator)
                .describe(
                    "Make a one-use sign-in code",
                    "For an administrator of the organisation who cannot get in. It works once and for an hour. Needs \
                     the operator token.",
                )
                .takes::<WantedCode>()
                .gives::<Code>(201, "Made")
                .problems(&[400, 401, 404, 415]),
            Operation::post(SIGNING_KEYS, "operator_rotate_signing_keys", rotate)
                .access(Access::Operator)
                .describe(
                    "Make a new signing key",
                    "Keys change by themselves; this is for changing one early. The old key stays published until its \
                     last token has run out, so nobody is signed out. `atOnce` is for haste: whoever verifies tokens \
                     on their own must then fetch the keys again when they meet an unknown one. `withdraw` is for a \
                     key that others may have: all older keys go, every access token is refused within seconds, and \
                     clients refresh theirs. Needs the operator token.",
                )
                .takes::<Rotation>()
                .gives::<Rotated>(201, "Made")
                .problems(&[400, 401, 409, 415]),
            Operation::post(SUPERADMINS, "operator_set_superadmin", set_superadmin)
                .access(Access::Operator)
                .describe(
                    "Name a superadmin",
                    "Gives a person the platform role, or takes it away; their sessions in organisations of others end \
                     within a second. Needs the operator token.",
                )
                .takes::<PlatformRole>()
                .gives_other(204, "Changed", &[])
                .problems(&[400, 401, 404, 415]),
        ])
        .routes(operator_events::operations())
        .routes(operator_tasks::operations())
        .extension(Known::of(all, sinks))
        .extension(identity)
}

fn short<const MAX: usize>(field: &str, text: &str) -> kernel::Result<Text<MAX>> {
    let wrong = |rule| kernel::Error::invalid("request.invalid_body", "the body is not valid").field(field, rule);
    Text::new(text).map_err(wrong)
}

async fn create_code(State(app): State<App>, Body(wanted): Body<WantedCode>) -> web::Result {
    let slug: Text<64> = short("organization", &wanted.organization)?;
    let made = identity::create_sign_in_code(&app.store, slug.as_str()).await?;
    let code = Code { code: made.code, expires_at: made.expires_at };
    Ok(Answer { status: 201, ..Answer::ok(&code)? }.into())
}

async fn rotate(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Body(wanted): Body<Rotation>,
) -> web::Result {
    let signs_from = identity.rotate_keys(&app.store, wanted.at_once, wanted.withdraw).await?;
    Ok(Answer { status: 201, ..Answer::ok(&Rotated { signs_from })? }.into())
}

async fn set_superadmin(State(app): State<App>, Body(wanted): Body<PlatformRole>) -> web::Result {
    identity::set_superadmin(&app.store, wanted.user, wanted.superadmin).await?;
    Ok(Answer::no_content().into())
}
