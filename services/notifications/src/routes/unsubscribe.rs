//! Stopping letters of one type from the letter itself, without signing in: by one POST, as RFC 8058
//! has it. A GET only asks, because programs that look through letters follow every link. Not for
//! anything else that somebody may want: see `preferences`.

use axum::Extension;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use kernel::{Actor, Answer, Ctx, CtxParts, PermissionSet};
use serde::{Deserialize, Serialize};
use service::{Access, App, Operation};
use utoipa::ToSchema;
use web::{Query, RequestIds};

use crate::Notifications;
use crate::kind::{Channel, NotificationType};
use crate::preferences::{Wishes, change};
use crate::tables::settings;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    token: String,
}

/// What no longer comes.
#[derive(Debug, Serialize, ToSchema)]
struct Unsubscribed {
    /// The type.
    #[serde(rename = "type")]
    kind: NotificationType,
    /// The channel.
    channel: Channel,
}

pub(crate) fn operations() -> [Operation; 2] {
    const PATH: &str = "/api/notifications/unsubscribe";
    [
        Operation::get(PATH, "notifications_ask_to_unsubscribe", ask)
            .access(Access::Public)
            .required_query::<String>("token", "What the letter carries.")
            .describe("Ask whether to stop letters", "Gives a page with one button; nothing is changed.")
            .gives_other(200, "The page", &["text/html"])
            .problems(&[400]),
        Operation::post(PATH, "notifications_unsubscribe", stop)
            .access(Access::Public)
            .required_query::<String>("token", "What the letter carries.")
            .describe(
                "Stop letters",
                "Turns letters of one type off for one person, as the token says, which only a letter to that person \
                 carries. The body is not looked at. Saying it again changes nothing.",
            )
            .gives::<Unsubscribed>(200, "They are stopped")
            .problems(&[400]),
    ]
}

const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
                    content=\"width=device-width\"><title>Stop letters</title><h1>Stop letters of this type?</h1>\
                    <form method=\"post\"><button>Stop them</button></form></html>";

async fn ask(Extension(notifications): Extension<Notifications>, Query(asked): Query<Asked>) -> web::Result<Response> {
    notifications.opened_token(&asked.token)?;
    let mut response = Html(PAGE).into_response();
    let policy = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    for (name, value) in
        [(CONTENT_SECURITY_POLICY, policy), (REFERRER_POLICY, "no-referrer"), (CACHE_CONTROL, "no-store")]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

async fn stop(
    State(app): State<App>,
    Extension(notifications): Extension<Notifications>,
    Extension(ids): Extension<RequestIds>,
    Query(asked): Query<Asked>,
) -> web::Result {
    let (tenant, user, kind) = notifications.opened_token(&asked.token)?;
    let mut ctx = Ctx::new(CtxParts {
        tenant,
        actor: Actor::User(user),
        permissions: PermissionSet::default(),
        request_id: ids.request,
        correlation_id: ids.correlation,
        idempotency: None,
        reason: None,
    });
    let mut writer = app.store.write(&mut ctx).await?;
    let stopped = change::<Wishes, _>(&mut writer, settings::of_user(user), |wishes| {
        wishes.channels.entry(kind).or_default().insert(Channel::Email, false);
        Ok(())
    });
    stopped.await?;
    Ok(writer.commit(Answer::ok(&Unsubscribed { kind, channel: Channel::Email })?).await?.into())
}
