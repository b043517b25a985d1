//! What the organisation rules about notifications, by its administrators. Not for a person's own
//! wishes: see `preferences`.

use axum::extract::State;
use http::Method;
use kernel::{Answer, Error};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::{App, Operation};
use store::Event;
use utoipa::ToSchema;
use web::{Body, Caller};

use crate::kind::{Channel, NotificationType};
use crate::preferences::{Policy, Rule, Settings, change};
use crate::quiet::QuietHours;
use crate::routes::preferences::check_quiet;
use crate::tables::settings;

/// Reading and changing the policy.
pub(crate) const WRITE: &str = "notifications.policy.write";
/// The policy was changed.
pub(crate) const CHANGED: &str = "notifications.policy.changed";

const MOST: i64 = 1_000_000_000_000_000;

/// A rule about one type in one channel.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicyRule {
    /// What it tells of.
    #[serde(rename = "type")]
    kind: NotificationType,
    /// How.
    channel: Channel,
    /// `required`: everybody gets it. `off`: nobody does.
    rule: Rule,
}

/// What the organisation rules. What has no rule is each person's own choice.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NotificationPolicy {
    /// The hours in which the letters of those wait who have no hours of their own.
    quiet_hours: Option<QuietHours>,
    /// The rules.
    #[serde(default)]
    #[schema(max_items = 50)]
    rules: Vec<PolicyRule>,
    /// From how many units on an adjustment is a large one.
    #[serde(default = "usual")]
    #[schema(minimum = 1, maximum = 1000000000000000i64)]
    large_adjustment_threshold: i64,
}

fn usual() -> i64 {
    Policy::default().large_adjustment_threshold
}

pub(crate) fn operations() -> [Operation; 2] {
    const PATH: &str = "/api/notifications/policy";
    [
        Operation::get(PATH, "notifications_get_policy", get)
            .permission(WRITE)
            .describe("Get the policy", "Gives what the organisation rules about notifications.")
            .gives::<NotificationPolicy>(200, "The policy"),
        Operation::new(Method::PUT, PATH, "notifications_put_policy", put)
            .permission(WRITE)
            .describe(
                "Set the policy",
                "Sets what the organisation rules, as a whole: what is left out is no longer ruled. It holds at once, \
                 for letters that wait too. `SYSTEM_ALERT` in the app cannot be turned off: 409 `notifications.locked`. \
                 Writes `notifications.policy.changed`.",
            )
            .takes::<NotificationPolicy>()
            .gives::<NotificationPolicy>(200, "Set")
            .problems(&[400, 409, 415]),
    ]
}

fn shown(policy: &Policy) -> NotificationPolicy {
    let rules = policy.rules.iter().flat_map(|(kind, channels)| {
        channels.iter().map(|(channel, rule)| PolicyRule { kind: *kind, channel: *channel, rule: *rule })
    });
    NotificationPolicy {
        rules: rules.collect(),
        quiet_hours: policy.quiet_hours.clone(),
        large_adjustment_threshold: policy.large_adjustment_threshold,
    }
}

async fn get(State(app): State<App>, Caller(ctx): Caller) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let policy = Settings::of(&reader, &[]).await?.policy(ctx.tenant())?;
    reader.close().await?;
    Ok(Answer::ok(&shown(&policy))?.into())
}

async fn put(State(app): State<App>, Caller(mut ctx): Caller, Body(input): Body<NotificationPolicy>) -> web::Result {
    let wrong =
        |field: &str, why: &str| Error::invalid("request.invalid_body", "the body is not valid").field(field, why);
    check_quiet(input.quiet_hours.as_ref())?;
    if !(1..=MOST).contains(&input.large_adjustment_threshold) {
        return Err(wrong("largeAdjustmentThreshold", &format!("must be from 1 to {MOST}")).into());
    }
    let mut ruled = Policy {
        quiet_hours: input.quiet_hours,
        large_adjustment_threshold: input.large_adjustment_threshold,
        ..Policy::default()
    };
    for PolicyRule { kind, channel, rule } in input.rules {
        if kind.is_mandatory(channel) && rule == Rule::Off {
            let message = format!("{} through {} cannot be turned off", kind.name(), channel.name());
            return Err(Error::conflict("notifications.locked", message).into());
        }
        if ruled.rules.entry(kind).or_default().insert(channel, rule).is_some() {
            return Err(wrong("rules", "must have one rule at most for a type and a channel").into());
        }
    }
    let tenant = ctx.tenant();
    let mut writer = app.store.write(&mut ctx).await?;
    let (policy, changed) = change::<Policy, _>(&mut writer, settings::of_tenant(tenant), |policy| {
        let changed = *policy != ruled;
        *policy = ruled;
        Ok(changed)
    })
    .await?;
    let answer = shown(&policy);
    if changed {
        let policy = serde_json::to_value(&answer).unwrap_or_default();
        writer.record(Event::about(CHANGED, tenant, json!({ "policy": policy }))).await?;
    }
    Ok(writer.commit(Answer::ok(&answer)?).await?.into())
}
