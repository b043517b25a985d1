//! From something to tell to what each person is told: recipients, preferences, what was told before,
//! the open window, the row, the letter in the queue and the event for sockets and webhooks, in one
//! transaction. A few people at a time: the rest is a task. Not for sending.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Answer, Id, Result, Timestamp, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, Order, QueryFilter as _, UpdateMany};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::Role;
use store::{Event, Writer};
use tasks::{NewTask, Outcome, Run, Work, enqueue};

use crate::deliver;
use crate::kind::Channel;
use crate::notice::Notice;
use crate::preferences::{Policy, Settings, Wishes, decide};
use crate::tables::notification::{self, NotificationId};
use crate::tables::{delivery, occurrence, recipient};

/// Somebody has something new to read; subject is the notification, data says whose.
pub(crate) const RAISED: &str = "notifications.notification.raised";
/// The task that tells those who are left.
pub(crate) const RAISE_JOB: &str = "notifications.raise";

/// How long a window stays open after what came last.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// How long it stays open at most.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// How many people are told in one transaction.
const AT_ONCE: u64 = 50;

/// Tells those who are told of this, and leaves a task behind where there are many.
pub(crate) async fn raise(writer: &mut Writer<'_>, notice: &Notice) -> Result<()> {
    if let Some(last) = tell_some(writer, notice, None).await? {
        let rest = Rest { notice: notice.clone(), after: last };
        let payload = serde_json::to_value(&rest).unwrap_or_default();
        enqueue(writer, NewTask::new(RAISE_JOB, payload).unique(&notice.dedupe_key)).await?;
    }
    Ok(())
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Rest {
    notice: Notice,
    after: UserId,
}

/// Tells those who are left.
pub(crate) struct TellRest;

impl Work for TellRest {
    fn run<'a>(&'a self, run: &'a mut Run) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            let Rest { notice, after } = run.payload()?;
            let (mut after, mut told) = (Some(after), 0u64);
            while let Some(last) = after {
                let mut ctx = run.ctx();
                let mut writer = run.store().write(&mut ctx).await?;
                after = tell_some(&mut writer, &notice, Some(last)).await?;
                writer.commit(Answer::no_content()).await?;
                told += AT_ONCE;
                run.progress(told, None, "telling people").await?;
            }
            Ok(Outcome::Done(json!({})))
        })
    }
}

/// Tells some people, in the order of their ids; gives the last one where there may be more.
async fn tell_some(writer: &mut Writer<'_>, notice: &Notice, after: Option<UserId>) -> Result<Option<UserId>> {
    if let Some(size) = notice.size {
        let policy = Settings::inside(writer, &[]).await?.policy(writer.tenant())?;
        if size < policy.large_adjustment_threshold {
            return Ok(None);
        }
    }
    let roles = notice.kind.roles().iter().map(|role| role.name());
    let mut select = writer.select_with_deleted::<recipient::Entity>().filter(recipient::Column::Role.is_in(roles));
    if let Some(after) = after {
        select = select.filter(recipient::Column::Id.gt(after));
    }
    // Locked in one order: whoever else tells or reads waits here, and the counts stay right.
    let people = select.order_by(recipient::Column::Id, Order::Asc).limit(AT_ONCE).lock().all().await?;
    let Some(last) = people.last().map(|person| person.id) else { return Ok(None) };
    let users: Vec<UserId> = people.iter().map(|person| person.id).collect();
    let settings = Settings::inside(writer, &users).await?;
    let policy = settings.policy(writer.tenant())?;
    let told = writer
        .select_with_deleted::<occurrence::Entity>()
        .filter(occurrence::Column::UserId.is_in(users))
        .filter(occurrence::Column::DedupeKey.eq(notice.dedupe_key.as_str()));
    let told: HashSet<UserId> = told.all().await?.into_iter().map(|row| row.user_id).collect();
    for person in &people {
        let Some(role) = person.role().filter(|_| !told.contains(&person.id) && !knows(notice, person.id)) else {
            continue;
        };
        let channels = channels(notice, role, &policy, &settings.wishes(person.id)?);
        if !channels.is_empty() {
            tell(writer, notice, person, &channels).await?;
        }
    }
    Ok((people.len() as u64 == AT_ONCE).then_some(last))
}

/// Says whether the person did it; what nobody can turn off is told to who did it too.
fn knows(notice: &Notice, user: UserId) -> bool {
    let user = user.to_string();
    let did = notice.actor == user || notice.actor.strip_prefix("superadmin:") == Some(user.as_str());
    did && !Channel::ALL.iter().any(|channel| notice.kind.is_mandatory(*channel))
}

fn channels(notice: &Notice, role: Role, policy: &Policy, wishes: &Wishes) -> Vec<Channel> {
    let wanted = |channel: &Channel| decide(notice.kind, *channel, role, policy, wishes).enabled;
    Channel::ALL.into_iter().filter(wanted).collect()
}

async fn tell(
    writer: &mut Writer<'_>,
    notice: &Notice,
    person: &recipient::Model,
    channels: &[Channel],
) -> Result<()> {
    let in_app = channels.contains(&Channel::InApp);
    let number = person.last_number + 1;
    let open = match notice.severe {
        true => None,
        false => find_open(writer, notice, person.id).await?,
    };
    let (row, was_unread) = match open {
        Some(open) => {
            let unread = open.in_app && open.read_at.is_none() && open.number > person.read_up_to;
            (grow(writer, notice, open, number, in_app).await?, unread)
        }
        None => (begin(writer, notice, person.id, number, in_app).await?, false),
    };
    let line = occurrence::ActiveModel {
        notification_id: Set(row.id),
        user_id: Set(person.id),
        dedupe_key: Set(notice.dedupe_key.clone()),
        title: Set(notice.title.clone()),
        body: Set(notice.body.clone()),
        occurred_at: Set(notice.occurred_at),
        ..Default::default()
    };
    writer.append::<occurrence::Entity>(line).await?;
    let unread = person.unread + i64::from(row.in_app && !was_unread);
    let count = recipient::Entity::update_many()
        .col_expr(recipient::Column::LastNumber, Expr::val(number))
        .col_expr(recipient::Column::Unread, Expr::val(unread))
        .filter(recipient::Column::Id.eq(person.id));
    writer.revise(count).await?;
    if channels.contains(&Channel::Email) {
        let due = if notice.severe { writer.now() } else { row.closes_at };
        write_letter(writer, row.id, person.id, due).await?;
    }
    let data = json!({
        "user": person.id,
        "type": notice.kind,
        "channels": channels,
        "count": row.count,
        "severe": notice.severe,
    });
    writer.record(Event::about(RAISED, row.id, data)).await
}

/// Returns the notification that this may be added to. One whose window has closed by itself is shut.
async fn find_open(writer: &mut Writer<'_>, notice: &Notice, user: UserId) -> Result<Option<notification::Model>> {
    let open = writer
        .select_with_deleted::<notification::Entity>()
        .filter(notification::Column::UserId.eq(user))
        .filter(notification::Column::Kind.eq(notice.kind.name()))
        .filter(notification::Column::Object.eq(notice.object.as_str()))
        .filter(notification::Column::Open.eq(true));
    let Some(open) = open.lock().one().await? else { return Ok(None) };
    if open.closes_at > writer.now() {
        return Ok(Some(open));
    }
    writer.revise(shut(open.id)).await?;
    Ok(None)
}

/// Lets nothing more be added to a notification.
pub(crate) fn shut(id: NotificationId) -> UpdateMany<notification::Entity> {
    notification::Entity::update_many()
        .col_expr(notification::Column::Open, Expr::val(false))
        .filter(notification::Column::Id.eq(id))
}

async fn begin(
    writer: &mut Writer<'_>,
    notice: &Notice,
    user: UserId,
    number: i64,
    in_app: bool,
) -> Result<notification::Model> {
    let now = writer.now();
    let row = notification::ActiveModel {
        id: Set(Id::new()),
        user_id: Set(user),
        kind: Set(notice.kind.name().to_owned()),
        object: Set(notice.object.clone()),
        severe: Set(notice.severe),
        in_app: Set(in_app),
        title: Set(notice.title.clone()),
        body: Set(notice.body.clone()),
        count: Set(1),
        number: Set(number),
        read_at: Set(None),
        open: Set(!notice.severe),
        closes_at: Set(now.plus(WINDOW)),
        updated_at: Set(now),
        ..Default::default()
    };
    writer.append::<notification::Entity>(row).await
}

/// Adds to an open notification: it says the latest, is unread again and comes first.
async fn grow(
    writer: &mut Writer<'_>,
    notice: &Notice,
    open: notification::Model,
    number: i64,
    in_app: bool,
) -> Result<notification::Model> {
    let now = writer.now();
    let closes_at = closing(&open, now);
    let row = notification::Model {
        title: notice.title.clone(),
        body: notice.body.clone(),
        count: open.count + 1,
        in_app: open.in_app || in_app,
        read_at: None,
        updated_at: now,
        number,
        closes_at,
        ..open
    };
    let update = notification::Entity::update_many()
        .col_expr(notification::Column::Title, Expr::val(row.title.as_str()))
        .col_expr(notification::Column::Body, Expr::val(row.body.as_str()))
        .col_expr(notification::Column::Count, Expr::val(row.count))
        .col_expr(notification::Column::InApp, Expr::val(row.in_app))
        .col_expr(notification::Column::ReadAt, Expr::val(row.read_at))
        .col_expr(notification::Column::UpdatedAt, Expr::val(row.updated_at))
        .col_expr(notification::Column::Number, Expr::val(row.number))
        .col_expr(notification::Column::ClosesAt, Expr::val(row.closes_at))
        .filter(notification::Column::Id.eq(row.id));
    writer.revise(update).await?;
    Ok(row)
}

/// The window slides, and ends; only quiet hours hold it open for longer.
fn closing(open: &notification::Model, now: Timestamp) -> Timestamp {
    let end = now.plus(WINDOW).min(open.created_at.plus(LONGEST));
    end.max(open.closes_at)
}

/// Puts the letter about a notification in the queue, or lets the one that waits wait for more.
async fn write_letter(writer: &mut Writer<'_>, id: NotificationId, user: UserId, due: Timestamp) -> Result<()> {
    let email = Channel::Email.name();
    let known = writer
        .select_with_deleted::<delivery::Entity>()
        .filter(delivery::Column::NotificationId.eq(id))
        .filter(delivery::Column::Channel.eq(email));
    if let Some(known) = known.one().await? {
        let later = delivery::Entity::update_many()
            .col_expr(delivery::Column::DueAt, Expr::val(due))
            .filter(delivery::Column::Id.eq(known.id))
            .filter(delivery::Column::State.eq(delivery::WAITING));
        return writer.revise(later).await.map(|_| ());
    }
    let row = delivery::ActiveModel {
        notification_id: Set(id),
        user_id: Set(user),
        channel: Set(email.to_owned()),
        state: Set(delivery::WAITING.to_owned()),
        reason: Set(None),
        due_at: Set(due),
        attempts: Set(0),
        sent_at: Set(None),
        ..Default::default()
    };
    let row = writer.append::<delivery::Entity>(row).await?;
    let task = NewTask::new(deliver::MAIL_JOB, json!({ "delivery": row.id })).unique(row.id.to_string());
    enqueue(writer, task.at(due)).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides_and_ends() {
        let at = |minutes: u64| Timestamp(0).plus(Duration::from_secs(60 * minutes));
        let open = |closes: u64| notification::Model {
            tenant_id: Id::new(),
            id: Id::new(),
            user_id: UserId::new(),
            kind: String::new(),
            object: String::new(),
            severe: false,
            in_app: true,
            title: String::new(),
            body: String::new(),
            count: 1,
            number: 1,
            read_at: None,
            open: true,
            closes_at: at(closes),
            updated_at: at(0),
            created_at: at(0),
            created_by: String::new(),
        };
        assert_eq!(closing(&open(5), at(4)), at(9));
        assert_eq!(closing(&open(29), at(28)), at(30), "thirty minutes at most");
        assert_eq!(closing(&open(500), at(100)), at(500), "quiet hours hold it open");
    }
}
