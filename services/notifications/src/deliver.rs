//! The task of one letter: waits until its window and the quiet hours are over, asks again whether it
//! is wanted, and hands it to the mail server, at longer and longer pauses. A crash between the
//! server's word and ours sends it twice at most, under one Message-ID. Not for what a letter says.

use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Answer, Result, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, Order, QueryFilter as _};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use store::{Purpose, TenantRecord, Writer};
use tasks::{Outcome, Run, Work};

use crate::Notifications;
use crate::kind::{Channel, NotificationType};
use crate::letters::{Line, Mail, NotSent, SHOWN, Told, moment};
use crate::preferences::{Layer, Settings, decide};
use crate::tables::delivery::{self, DeliveryId};
use crate::tables::{notification, occurrence, recipient, suppression};
use crate::window::shut;

/// The task of one letter.
pub(crate) const MAIL_JOB: &str = "notifications.mail";

/// The pauses after attempts that failed; there is no attempt after the last.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(12 * 3600),
];

/// How long the mail server may take: less than the task is leased for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends one letter.
pub(crate) struct SendLetter(pub Notifications);

#[derive(Deserialize)]
struct Payload {
    delivery: DeliveryId,
}

/// What is to be done about a letter now.
enum Step {
    Wait(Duration),
    Over,
    Skip(&'static str),
    Send(Box<Ready>),
}

/// A letter that is to leave now.
struct Ready {
    notification: notification::Model,
    occurrences: Vec<occurrence::Model>,
    attempts: i64,
    /// Whether the person may stop letters of this type.
    may_stop: bool,
    suppressed: Option<Vec<u8>>,
}

impl Work for SendLetter {
    fn run<'a>(&'a self, run: &'a mut Run) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            let Payload { delivery } = run.payload()?;
            let system = run.store().system_read(Purpose::Tasks).await?;
            let tenant = system.tenant(run.tenant()).await?;
            system.close().await?;
            let mut ctx = run.ctx();
            let mut writer = run.store().write(&mut ctx).await?;
            let step = look(&mut writer, delivery, &tenant.time_zone).await?;
            if let Step::Skip(why) = &step {
                end(&mut writer, delivery, delivery::SKIPPED, Some(why)).await?;
            }
            writer.commit(Answer::no_content()).await?;
            match step {
                Step::Wait(pause) => Ok(Outcome::Later(pause)),
                Step::Over => Ok(Outcome::Done(json!({}))),
                Step::Skip(why) => Ok(Outcome::Done(json!({ "skipped": why }))),
                Step::Send(ready) => self.send(run, delivery, *ready, &tenant).await,
            }
        })
    }
}

/// Decides what to do about a letter, and notes that an attempt begins.
async fn look(writer: &mut Writer<'_>, id: DeliveryId, home: &str) -> Result<Step> {
    let now = writer.now();
    let row = writer.select_with_deleted::<delivery::Entity>().id(id).lock().one().await?;
    let Some(row) = row.filter(|row| row.state == delivery::WAITING || row.state == delivery::SENDING) else {
        return Ok(Step::Over);
    };
    if row.due_at > now {
        return Ok(Step::Wait(between(now, row.due_at)));
    }
    let notification =
        writer.select_with_deleted::<notification::Entity>().id(row.notification_id).lock().one().await?;
    let person = writer.select_with_deleted::<recipient::Entity>().id(row.user_id).one().await?;
    let (Some(notification), Some(person)) = (notification, person) else { return Ok(Step::Skip("gone")) };
    let Some(kind) = NotificationType::named(&notification.kind) else { return Ok(Step::Skip("gone")) };
    let Some(role) = person.role().filter(|role| kind.roles().contains(role)) else {
        return Ok(Step::Skip("not_a_recipient"));
    };
    let settings = Settings::inside(writer, &[row.user_id]).await?;
    let (policy, wishes) = (settings.policy(writer.tenant())?, settings.wishes(row.user_id)?);
    let ruling = decide(kind, Channel::Email, role, &policy, &wishes);
    if !ruling.enabled {
        return Ok(Step::Skip("turned_off"));
    }
    let may_stop = matches!(ruling.layer, Layer::User | Layer::Role);
    let read = notification.read_at.is_some() || notification.number <= person.read_up_to;
    if may_stop && notification.in_app && read {
        return Ok(Step::Skip("read"));
    }
    let hours = wishes.quiet_hours.or(policy.quiet_hours).filter(|_| !notification.severe);
    if let Some(left) = hours.and_then(|hours| hours.left(now, home)) {
        wait(writer, &row, &notification, now.plus(left)).await?;
        return Ok(Step::Wait(left));
    }
    let occurrences = writer
        .select_with_deleted::<occurrence::Entity>()
        .filter(occurrence::Column::NotificationId.eq(notification.id))
        .order_by(occurrence::Column::Id, Order::Desc)
        .limit(SHOWN as u64)
        .all()
        .await?;
    if occurrences.is_empty() {
        return Ok(Step::Skip("empty"));
    }
    let suppressed = writer.select_with_deleted::<suppression::Entity>().id(row.user_id).one().await?;
    let attempts = row.attempts + 1;
    let begun = delivery::Entity::update_many()
        .col_expr(delivery::Column::State, Expr::val(delivery::SENDING))
        .col_expr(delivery::Column::Attempts, Expr::val(attempts))
        .filter(delivery::Column::Id.eq(id));
    writer.revise(begun).await?;
    // What comes from now on is the next letter's.
    writer.revise(shut(notification.id)).await?;
    let suppressed = suppressed.map(|row| row.address_hash);
    Ok(Step::Send(Box::new(Ready { notification, occurrences, attempts, may_stop, suppressed })))
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(to.0 - from.0).unwrap_or(0))
}

/// Holds a letter back until the quiet hours are over; what happens until then goes into it.
async fn wait(
    writer: &mut Writer<'_>,
    row: &delivery::Model,
    notification: &notification::Model,
    until: Timestamp,
) -> Result<()> {
    let later = delivery::Entity::update_many()
        .col_expr(delivery::Column::DueAt, Expr::val(until))
        .filter(delivery::Column::Id.eq(row.id));
    writer.revise(later).await?;
    let held = notification::Entity::update_many()
        .col_expr(notification::Column::ClosesAt, Expr::val(until))
        .filter(notification::Column::Id.eq(notification.id));
    writer.revise(held).await.map(|_| ())
}

/// Writes down how a letter ended.
async fn end(writer: &mut Writer<'_>, id: DeliveryId, state: &str, why: Option<&str>) -> Result<()> {
    let sent = (state == delivery::SENT).then(|| writer.now());
    let row = writer.select_with_deleted::<delivery::Entity>().id(id).one().await?;
    let ended = delivery::Entity::update_many()
        .col_expr(delivery::Column::State, Expr::val(state))
        .col_expr(delivery::Column::Reason, Expr::val(why.map(str::to_owned)))
        .col_expr(delivery::Column::SentAt, Expr::val(sent))
        .filter(delivery::Column::Id.eq(id));
    writer.revise(ended).await?;
    if let Some(row) = row {
        writer.revise(shut(row.notification_id)).await?;
    }
    Ok(())
}

/// Returns what is kept of an address that a mail server refused.
fn hash(email: &str) -> Vec<u8> {
    Sha256::digest(email.to_lowercase().as_bytes()).to_vec()
}

impl SendLetter {
    async fn send(&self, run: &mut Run, id: DeliveryId, ready: Ready, tenant: &TenantRecord) -> Result<Outcome> {
        let user = ready.notification.user_id;
        let outside = self.0.outside()?;
        let address = outside.directory.address(user).await?;
        let address = match address {
            None => return self.over(run, id, delivery::SKIPPED, "no_address").await,
            Some(address) if ready.suppressed.as_ref().is_some_and(|kept| *kept == hash(&address.email)) => {
                return self.over(run, id, delivery::SKIPPED, "suppressed").await;
            }
            Some(address) => address,
        };
        let email = hash(&address.email);
        let mail = self.compose(id, &ready, address, tenant)?;
        let sending = tokio::time::timeout(PATIENCE, outside.mailer.send(&mail));
        let late = |_| Err(NotSent::Later("the mail server took too long".to_owned()));
        match sending.await.unwrap_or_else(late) {
            Ok(()) => self.over(run, id, delivery::SENT, "").await,
            Err(NotSent::Later(why)) => self.again(run, id, ready.attempts, &why).await,
            Err(NotSent::Refused { why, address }) => {
                tracing::warn!(delivery = %id, why, "a letter was refused for good");
                if address {
                    self.suppress(run, user, email, &why).await?;
                }
                self.over(run, id, delivery::FAILED, &why).await
            }
        }
    }

    fn compose(
        &self,
        id: DeliveryId,
        ready: &Ready,
        to: crate::letters::Address,
        tenant: &TenantRecord,
    ) -> Result<Mail> {
        let line = |row: &occurrence::Model| Line {
            at: moment(row.occurred_at, &tenant.time_zone),
            title: row.title.clone(),
            body: row.body.clone(),
        };
        let kind = NotificationType::named(&ready.notification.kind);
        let unsubscribe = match kind.filter(|_| ready.may_stop) {
            Some(kind) => Some(self.0.unsubscribe_url(tenant.id, ready.notification.user_id, kind)?),
            None => None,
        };
        let told = Told {
            lines: ready.occurrences.iter().map(line).collect(),
            count: ready.notification.count,
            organization: &tenant.name,
            front: &self.0.settings().front_end_url,
            unsubscribe: unsubscribe.as_deref(),
        };
        let (subject, text, html) = self.0.templates().fill(&told)?;
        Ok(Mail { id: id.to_string(), to, subject, text, html, unsubscribe })
    }

    async fn over(&self, run: &mut Run, id: DeliveryId, state: &str, why: &str) -> Result<Outcome> {
        let mut ctx = run.ctx();
        let mut writer = run.store().write(&mut ctx).await?;
        end(&mut writer, id, state, Some(why).filter(|why| !why.is_empty())).await?;
        run.complete(&mut writer, json!({ "state": state })).await?;
        writer.commit(Answer::no_content()).await?;
        Ok(Outcome::Completed)
    }

    async fn again(&self, run: &mut Run, id: DeliveryId, attempts: i64, why: &str) -> Result<Outcome> {
        let made = usize::try_from(attempts).unwrap_or(usize::MAX);
        let Some(pause) = PAUSES.get(made.saturating_sub(1)).copied() else {
            return self.over(run, id, delivery::FAILED, why).await;
        };
        tracing::info!(delivery = %id, attempts, why, pause_s = pause.as_secs(), "a letter waits for the mail server");
        let mut ctx = run.ctx();
        let mut writer = run.store().write(&mut ctx).await?;
        let due = writer.now().plus(pause);
        let later = delivery::Entity::update_many()
            .col_expr(delivery::Column::State, Expr::val(delivery::WAITING))
            .col_expr(delivery::Column::Reason, Expr::val(why))
            .col_expr(delivery::Column::DueAt, Expr::val(due))
            .filter(delivery::Column::Id.eq(id));
        writer.revise(later).await?;
        writer.commit(Answer::no_content()).await?;
        Ok(Outcome::Later(pause))
    }

    async fn suppress(&self, run: &mut Run, user: kernel::UserId, email: Vec<u8>, why: &str) -> Result<()> {
        let mut ctx = run.ctx();
        let mut writer = run.store().write(&mut ctx).await?;
        writer.alone(&format!("notifications.suppression/{user}")).await?;
        writer.remove::<suppression::Entity>(suppression::Column::Id.eq(user)).await?;
        let row = suppression::ActiveModel {
            id: Set(user),
            address_hash: Set(email),
            reason: Set(why.chars().take(500).collect()),
            ..Default::default()
        };
        writer.append::<suppression::Entity>(row).await?;
        writer.commit(Answer::no_content()).await.map(|_| ())
    }
}
