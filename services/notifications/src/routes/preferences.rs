//! What the caller wants to be told, through which channels, and when letters wait. Not for what the
//! organisation rules: see `policy`.

use axum::extract::State;
use kernel::{Answer, Error, Result, TenantId, UserId};
use sea_orm::ColumnTrait as _;
use serde::{Deserialize, Deserializer, Serialize};
use service::{App, Operation, Role};
use utoipa::ToSchema;
use web::{Body, Caller};

use crate::kind::{Channel, NotificationType};
use crate::preferences::{Layer, Policy, Settings, Wishes, change, decide};
use crate::quiet::QuietHours;
use crate::routes::person;
use crate::tables::{recipient, settings, suppression};

/// One type in one channel.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Preference {
    /// What it tells of.
    #[serde(rename = "type")]
    kind: NotificationType,
    /// How.
    channel: Channel,
    /// Whether the caller is told.
    enabled: bool,
    /// Who decided: `system`, `policy`, `user`, `role`.
    decided_by: Layer,
    /// Whether the caller's own word counts.
    locked: bool,
}

/// What the caller is told, and when letters wait.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Preferences {
    /// Each type in each channel that concerns the caller's role.
    preferences: Vec<Preference>,
    /// The hours in which letters wait; null where neither the caller nor the organisation has any.
    quiet_hours: Option<QuietHours>,
    /// Whether the quiet hours are the organisation's.
    quiet_hours_by_policy: bool,
}

/// A word about one type in one channel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wish {
    /// What it tells of.
    #[serde(rename = "type")]
    kind: NotificationType,
    /// How.
    channel: Channel,
    /// Whether to be told; null takes the word back.
    enabled: Option<bool>,
}

/// What is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangePreferences {
    /// Words about types in channels.
    #[schema(max_items = 50)]
    preferences: Option<Vec<Wish>>,
    /// The hours in which letters wait; null takes them back.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<QuietHours>)]
    quiet_hours: Option<Option<QuietHours>>,
}

/// Tells null, which takes something back, from nothing said.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<QuietHours>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub(crate) fn operations() -> [Operation; 2] {
    const PATH: &str = "/api/notifications/preferences";
    [
        Operation::get(PATH, "notifications_get_preferences", get)
            .describe(
                "Get preferences",
                "Gives what the caller is told through which channel and who decided it. The first that speaks decides: \
                 the product (`SYSTEM_ALERT` in the app), the organisation's policy, the caller, the role's usual.",
            )
            .gives::<Preferences>(200, "The preferences"),
        Operation::post(PATH, "notifications_change_preferences", post)
            .describe(
                "Change preferences",
                "Changes what is named and leaves the rest. What the product or the organisation has decided is 409 \
                 `notifications.locked`, and nothing is changed. Letters that wait are judged by the new word. Asking \
                 for letters takes back that an address was refused by a mail server.",
            )
            .takes::<ChangePreferences>()
            .gives::<Preferences>(200, "Changed")
            .problems(&[400, 409, 415]),
    ]
}

/// What somebody who was never told anything is: a superadmin in the organisation, for one.
fn role_of(person: Option<&recipient::Model>) -> Role {
    person.and_then(recipient::Model::role).unwrap_or(Role::Viewer)
}

fn shown(role: Role, policy: Policy, wishes: Wishes) -> Preferences {
    let mut preferences = Vec::new();
    for kind in NotificationType::ALL.into_iter().filter(|kind| kind.roles().contains(&role)) {
        for channel in Channel::ALL {
            let ruling = decide(kind, channel, role, &policy, &wishes);
            let locked = matches!(ruling.layer, Layer::System | Layer::Policy);
            let (enabled, decided_by) = (ruling.enabled, ruling.layer);
            preferences.push(Preference { kind, channel, enabled, decided_by, locked });
        }
    }
    let quiet_hours_by_policy = wishes.quiet_hours.is_none() && policy.quiet_hours.is_some();
    Preferences { preferences, quiet_hours: wishes.quiet_hours.or(policy.quiet_hours), quiet_hours_by_policy }
}

async fn get(State(app): State<App>, Caller(ctx): Caller) -> web::Result {
    let user = person(&ctx)?;
    let reader = app.store.read(&ctx).await?;
    let known = reader.select_with_deleted::<recipient::Entity>().id(user).one().await?;
    let settings = Settings::of(&reader, &[user]).await?;
    reader.close().await?;
    let answer = shown(role_of(known.as_ref()), settings.policy(ctx.tenant())?, settings.wishes(user)?);
    Ok(Answer::ok(&answer)?.into())
}

/// Says what is wrong with quiet hours, if anything.
pub(crate) fn check_quiet(hours: Option<&QuietHours>) -> Result<()> {
    match hours.and_then(QuietHours::fault) {
        Some((field, why)) => Err(Error::invalid("request.invalid_body", "the body is not valid").field(field, why)),
        None => Ok(()),
    }
}

fn apply(input: ChangePreferences, role: Role, policy: &Policy, wishes: &mut Wishes) -> Result<()> {
    for wish in input.preferences.unwrap_or_default() {
        let (kind, channel) = (wish.kind, wish.channel);
        let ruling = decide(kind, channel, role, policy, wishes);
        let locked = matches!(ruling.layer, Layer::System | Layer::Policy);
        if locked && wish.enabled.is_some_and(|enabled| enabled != ruling.enabled) {
            let message = format!("{} through {} is not yours to decide", kind.name(), channel.name());
            return Err(Error::conflict("notifications.locked", message));
        }
        let channels = wishes.channels.entry(kind).or_default();
        match wish.enabled {
            Some(enabled) => channels.insert(channel, enabled),
            None => channels.remove(&channel),
        };
    }
    if let Some(hours) = input.quiet_hours {
        wishes.quiet_hours = hours;
    }
    Ok(())
}

async fn post(State(app): State<App>, Caller(mut ctx): Caller, Body(input): Body<ChangePreferences>) -> web::Result {
    let (user, tenant): (UserId, TenantId) = (person(&ctx)?, ctx.tenant());
    let wishes = input.preferences.as_deref().unwrap_or_default();
    if wishes.len() > 50 {
        return Err(Error::invalid("request.invalid_body", "the body is not valid")
            .field("preferences", "must be at most 50")
            .into());
    }
    check_quiet(input.quiet_hours.as_ref().and_then(Option::as_ref))?;
    let asks_for_letters = wishes.iter().any(|wish| wish.channel == Channel::Email && wish.enabled == Some(true));
    let mut writer = app.store.write(&mut ctx).await?;
    let known = writer.select_with_deleted::<recipient::Entity>().id(user).one().await?;
    let (role, policy) = (role_of(known.as_ref()), Settings::inside(&writer, &[]).await?.policy(tenant)?);
    let change =
        change::<Wishes, _>(&mut writer, settings::of_user(user), |wishes| apply(input, role, &policy, wishes));
    let (wishes, ()) = change.await?;
    if asks_for_letters {
        writer.remove::<suppression::Entity>(suppression::Column::Id.eq(user)).await?;
    }
    Ok(writer.commit(Answer::ok(&shown(role, policy, wishes))?).await?.into())
}
