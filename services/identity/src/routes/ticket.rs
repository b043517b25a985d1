//! `POST /api/auth/tickets`: a ticket for a browser that opens a stream or a socket and can set no
//! header (decision 0010). Not for spending it: see `authenticate`.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use kernel::{Answer, Error, Text, Timestamp};
use sea_orm::ActiveValue::Set;
use serde::{Deserialize, Serialize};
use service::{Access, App, Operation};
use store::Purpose;
use utoipa::ToSchema;
use web::{Body, Principal, Problem, Standing};

use crate::credentials::ticket::Ticket;
use crate::opening::not_stored;
use crate::routes::me::person_of;
use crate::tables::ticket;

/// How long a ticket waits to be used.
const LIFETIME: Duration = Duration::from_secs(30);

/// What a ticket is for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateTicket {
    /// The path of the connection, without its query, such as `/api/events/stream`.
    #[schema(value_type = String, max_length = 500, pattern = "^/[^?#\\s\\u0000-\\u001f\\u007f-\\u009f]*$")]
    path: Text<500>,
}

/// A ticket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewTicket {
    /// The ticket; send it as `?ticket=`. It works once.
    ticket: String,
    /// When it stops working.
    expires_at: Timestamp,
}

pub(crate) fn operation() -> Operation {
    Operation::post("/api/auth/tickets", "identity_create_ticket", create)
        .access(Access::SignedIn)
        .describe(
            "Get a ticket for a connection",
            "For browsers, whose EventSource and WebSocket can set no header. The ticket opens one connection at \
             this path, once, within 30 seconds, in the name of the caller, and nothing else. What it opened ends \
             when the credential ends that it was got with, or is revoked.",
        )
        .takes::<CreateTicket>()
        .gives::<NewTicket>(201, "Made")
        .problems(&[400, 403, 415])
}

async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Extension(standing): Extension<Standing>,
    Body(input): Body<CreateTicket>,
) -> Result<Response, Problem> {
    let path = input.path.as_str();
    if !path.starts_with('/') || path.contains(['?', '#']) || path.contains(char::is_whitespace) {
        let wrong = Error::invalid("request.invalid_body", "the body is not valid");
        return Err(wrong.field("path", "must be a path such as /api/events/stream, without a query").into());
    }
    let ticket = Ticket::create()?;
    let system = app.store.system(Purpose::SignIn).await?;
    let now = system.now();
    let expires_at = now.plus(LIFETIME).min(standing.until);
    let row = ticket::ActiveModel {
        ticket_hash: Set(ticket.hash()),
        tenant_id: Set(principal.tenant),
        user_id: Set(person_of(&principal)?),
        credential: Set(principal.credential.to_string()),
        path: Set(path.to_owned()),
        until: Set(standing.until),
        created_at: Set(now),
        expires_at: Set(expires_at),
        used_at: Set(None),
    };
    system.insert(row).await?;
    system.commit().await?;
    let answer = Answer::created("/api/auth/tickets".to_owned(), &NewTicket { ticket: ticket.text(), expires_at })?;
    Ok(not_stored(Answer { location: None, ..answer }))
}
