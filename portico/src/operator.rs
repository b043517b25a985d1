//! What whoever runs the installation may ask of a running server: the command line's counterpart.
//! Not for tenants' administrators.

use axum::extract::State;
use kernel::{Answer, Text, Timestamp};
use serde::{Deserialize, Serialize};
use service::{Access, App, Operation, Service};
use utoipa::ToSchema;
use web::Body;

/// Whose sign-in code is wanted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedCode {
    /// The organisation's short name.
    #[schema(value_type = String)]
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

/// The path of the one operation.
pub(crate) const SIGN_IN_CODES: &str = "/operator/sign-in-codes";

/// Returns the service.
pub fn service() -> Service {
    Service::new("operator", "For whoever runs the installation").routes([Operation::post(
        SIGN_IN_CODES,
        "operator_create_sign_in_code",
        create_code,
    )
    .access(Access::Operator)
    .describe(
        "Make a one-use sign-in code",
        "For an administrator of the organisation who cannot get in. It works once and for an hour. Needs the operator token.",
    )
    .takes::<WantedCode>()
    .gives::<Code>(201, "Made")
    .problems(&[400, 401, 404, 415])])
}

async fn create_code(State(app): State<App>, Body(wanted): Body<WantedCode>) -> web::Result {
    let slug: Text<64> = Text::new(&wanted.organization).map_err(|rule| {
        kernel::Error::invalid("request.invalid_body", "the body is not valid").field("organization", rule)
    })?;
    let made = identity::create_sign_in_code(&app.store, slug.as_str()).await?;
    let code = Code { code: made.code, expires_at: made.expires_at };
    Ok(Answer { status: 201, ..Answer::ok(&code)? }.into())
}
