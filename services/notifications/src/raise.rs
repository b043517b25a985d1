//! From something to tell to what each person is told: recipients, preferences, what was told before,
//! the open window, the row, the letter in the queue and the event for sockets and webhooks, in one
//! transaction. A few people at a time: the rest is a task. Not for sending.

use std::collections::HashSet;

use futures_util::future::BoxFuture;
use kernel::{Answer, Result, Timestamp, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, Order, QueryFilter as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::Role;
use store::{Event, Writer};
use tasks::{NewTask, Outcome, Run, Work, enqueue};

use crate::deliver;
use crate::kind::Channel;
use crate::notice::Notice;
use crate::preferences::{Policy, Settings, Wishes, decide};
use crate::tables::notification::NotificationId;
use crate::tables::{delivery, occurrence, recipient};
use crate::window::{begin, find_open, grow};

/// Somebody has something new to read; subject is the notification, data says whose.
pub(crate) const RAISED: &str = "notifications.notification.raised";
/// The task that tells those who are left.
pub(crate) const RAISE_JOB: &str = "notifications.raise";

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

async fn tell(writer: &mut Writer<'_>, notice: &Notice, person: &recipient::Model, channels: &[Channel]) -> Result<()> {
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
