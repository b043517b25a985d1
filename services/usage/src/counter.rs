//! What was used and is reserved of a budget: one row for each budget and whom it is for, found by its key and
//! changed under its lock, so that nothing is ever summed up to decide. Not for the arithmetic: see `kernel::Account`.

use std::collections::BTreeMap;

use kernel::{Account, Error, Id, IdKind, Period, PermissionSet, Result, TenantId, Timestamp};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, Order};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use store::{Event, Store, Writer};

use crate::budget::BudgetId;
use crate::call::{Limit, Per, Unit, Wanted};

/// A row of the table; its id is made of what it counts.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "usage_counter")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: CounterId,
    /// Who made the budget: `gateway` or `tenant`.
    pub source: String,
    /// The budget: its name in the gateway's file, or its id.
    pub budget: String,
    pub per: Per,
    /// Which user, credential or route; nothing where the whole tenant has one.
    pub subject: Option<String>,
    pub unit: Unit,
    pub period: Period,
    pub most: i64,
    pub used: i64,
    pub reserved: i64,
    pub at: i64,
    /// The period for which people have been told that it is exhausted.
    pub told: Option<i64>,
    pub touched_at: Timestamp,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Counter);

/// Marks the ids of counters.
#[derive(Debug)]
pub struct Counter;

impl IdKind for Counter {
    const PREFIX: &'static str = "usc";
}

/// Names a counter.
pub type CounterId = Id<Counter>;

/// A budget that counts for a call: the gateway's, or the tenant's own.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub limit: Limit,
    pub own: Option<BudgetId>,
}

impl Rule {
    fn source(&self) -> &'static str {
        if self.own.is_some() { "tenant" } else { "gateway" }
    }

    /// A budget of the tenant's may get another name and is still the same.
    fn budget(&self) -> String {
        self.own.map_or_else(|| self.limit.name.to_string(), |id| id.to_string())
    }

    fn subject(&self, wanted: &Wanted) -> Option<String> {
        let subject = match self.limit.per {
            Per::Tenant => return None,
            Per::User => &wanted.user,
            Per::Credential => &wanted.credential,
            Per::Route => &wanted.route,
        };
        Some(stored_text(subject))
    }

    fn key(&self, wanted: &Wanted) -> CounterId {
        let per = self.limit.per.to_value();
        let subject = self.subject(wanted).unwrap_or_default();
        id_of(wanted.tenant, &[self.source(), &self.budget(), &per, &subject])
    }
}

/// Returns text as it may be stored: PostgreSQL takes no NUL, and nobody needs a novel.
pub(crate) fn stored_text(text: &str) -> String {
    let mut text = kernel::printable(text);
    text.truncate(text.floor_char_boundary(200));
    text
}

/// Returns the id that these parts always give in a tenant.
pub(crate) fn id_of<K>(tenant: TenantId, parts: &[&str]) -> Id<K> {
    let mut digest = Sha256::new_with_prefix(tenant.uuid());
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finalize()[..16]);
    Id::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// A counter under its lock, as it is now.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub row: Model,
    pub account: Account,
}

impl Held {
    fn of(row: Model, now: Timestamp) -> Self {
        let mut account = Account { used: row.used, reserved: row.reserved, at: row.at };
        account.roll(row.period, row.most, now);
        Self { row, account }
    }

    pub fn left(&self) -> i64 {
        self.account.left(self.row.most)
    }

    /// Reserves so much more; less than nothing gives back.
    pub fn reserve(&mut self, amount: i64) {
        self.account.reserved = self.account.reserved.saturating_add(amount).max(0);
    }

    /// Enters so much as used; less than nothing takes out.
    pub fn charge(&mut self, amount: i64) {
        self.account.used = self.account.used.saturating_add(amount).max(0);
    }
}

/// Opens a Writer of this tenant in which the counters of these rules are locked, in one order everywhere; makes
/// those that there are not yet. They come in the order of the rules.
pub(crate) async fn lock_for(writer: &Writer<'_>, rules: &[Rule], wanted: &Wanted) -> Result<Option<Vec<Held>>> {
    let ids: Vec<CounterId> = rules.iter().map(|rule| rule.key(wanted)).collect();
    let mut held = lock(writer, &ids).await?;
    if held.len() < rules.len() {
        return Ok(None);
    }
    let now = writer.now();
    let in_order = rules.iter().zip(&ids).filter_map(|(rule, id)| {
        let mut held = held.remove(id)?;
        let (row, limit) = (&mut held.row, &rule.limit);
        if (row.unit, row.period) != (limit.unit, limit.period) {
            // It counts something else now: what was used before does not count, what is open does in its unit.
            let reserved = if row.unit == limit.unit { held.account.reserved } else { 0 };
            held.account = Account { reserved, ..Account::new(limit.period, now) };
        } else if row.most != limit.most {
            held.account = Account { used: row.used, reserved: row.reserved, at: row.at };
            held.account.roll(limit.period, limit.most, now);
        }
        (row.unit, row.period, row.most) = (limit.unit, limit.period, limit.most);
        Some(held)
    });
    Ok(Some(in_order.collect()))
}

/// Locks counters, always in the same order, so that two calls never wait for each other.
pub(crate) async fn lock(writer: &Writer<'_>, ids: &[CounterId]) -> Result<BTreeMap<CounterId, Held>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let now = writer.now();
    let query = writer.select_with_deleted::<Entity>().filter(Column::Id.is_in(ids.iter().copied()));
    let rows = query.order_by(Column::Id, Order::Asc).lock().all().await?;
    Ok(rows.into_iter().map(|row| (row.id, Held::of(row, now))).collect())
}

/// Makes the counters that there are not yet, in a transaction of their own: nobody waits for it with a lock.
pub(crate) async fn make(store: &Store, rules: &[Rule], wanted: &Wanted) -> Result<()> {
    let mut ctx = store::system_context(wanted.tenant, PermissionSet::default());
    let mut writer = store.write(&mut ctx).await?;
    writer.alone("usage.counters").await?;
    let now = writer.now();
    for rule in rules {
        let id = rule.key(wanted);
        if writer.select_with_deleted::<Entity>().id(id).one().await?.is_some() {
            continue;
        }
        let account = Account::new(rule.limit.period, now);
        let row = ActiveModel {
            id: Set(id),
            source: Set(rule.source().to_owned()),
            budget: Set(rule.budget()),
            per: Set(rule.limit.per),
            subject: Set(rule.subject(wanted)),
            unit: Set(rule.limit.unit),
            period: Set(rule.limit.period),
            most: Set(rule.limit.most),
            used: Set(0),
            reserved: Set(0),
            at: Set(account.at),
            told: Set(None),
            touched_at: Set(now),
            ..Default::default()
        };
        writer.append::<Entity>(row).await?;
    }
    writer.commit(kernel::Answer::no_content()).await.map(|_| ())
}

/// Writes a locked counter down. The guard says what the lock promises: nobody reserved in between.
pub(crate) async fn write(writer: &mut Writer<'_>, held: &Held) -> Result<()> {
    let now = writer.now();
    let (row, account) = (&held.row, held.account);
    let update = Entity::update_many()
        .col_expr(Column::Unit, Expr::val(row.unit.to_value()))
        .col_expr(Column::Period, Expr::val(row.period.to_value()))
        .col_expr(Column::Most, Expr::val(row.most))
        .col_expr(Column::Used, Expr::val(account.used))
        .col_expr(Column::Reserved, Expr::val(account.reserved))
        .col_expr(Column::At, Expr::val(account.at))
        .col_expr(Column::Told, Expr::val(row.told))
        .col_expr(Column::TouchedAt, Expr::val(now))
        .filter(Column::Id.eq(row.id));
    match writer.revise(update).await? {
        1 => Ok(()),
        _ => Err(Error::internal("a locked counter is gone")),
    }
}

/// Tells administrators that a budget had no room, once in its period; says whether it was told now.
pub(crate) async fn tell(writer: &mut Writer<'_>, held: &Held, name: &str) -> Result<bool> {
    let row = &held.row;
    // Of a rate once a day, for it comes back within a minute.
    let told = if row.period == Period::Minute { Period::Day } else { row.period };
    let period = told.at(writer.now());
    if row.told == Some(period) {
        return Ok(false);
    }
    let told = Held { row: Model { told: Some(period), ..row.clone() }, account: held.account };
    write(writer, &told).await?;
    let data = json!({
        "budget": name,
        "source": row.source,
        "per": row.per,
        "subject": row.subject,
        "period": row.period,
        "unit": row.unit,
        "limit": row.most,
        "used": held.account.used,
        "reserved": held.account.reserved,
    });
    writer.record(Event::about(crate::BUDGET_EXHAUSTED, &row.budget, data)).await?;
    Ok(true)
}
