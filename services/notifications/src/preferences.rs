//! Which channels somebody is told through. Four layers, the first that speaks decides: what nobody
//! can turn off, the tenant's policy, the person's own word, the role's usual. Asked when something
//! is raised, and again when a letter leaves. Not for when: see `quiet`.

use std::collections::BTreeMap;

use kernel::{Error, Result, TenantId, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use service::Role;
use store::{Reader, Writer};
use utoipa::ToSchema;

use crate::kind::{Channel, NotificationType};
use crate::quiet::QuietHours;
use crate::tables::settings::{self, SettingsId};

/// From how many units on an adjustment is a large one, unless the tenant says otherwise.
const LARGE: i64 = 100;

/// What a tenant says about one type in one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Everybody gets it.
    Required,
    /// Nobody gets it.
    Off,
}

/// Which layer decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The product: nobody can turn it off.
    System,
    /// The tenant's policy.
    Policy,
    /// The person's own word.
    User,
    /// What the role gets where nobody said anything.
    Role,
}

/// Values by type and channel.
pub(crate) type Table<T> = BTreeMap<NotificationType, BTreeMap<Channel, T>>;

/// What a tenant rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Policy {
    pub rules: Table<Rule>,
    pub quiet_hours: Option<QuietHours>,
    pub large_adjustment_threshold: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { rules: Table::new(), quiet_hours: None, large_adjustment_threshold: LARGE }
    }
}

/// What a person wants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Wishes {
    pub channels: Table<bool>,
    pub quiet_hours: Option<QuietHours>,
}

/// Whether somebody is told through a channel, and who said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub enabled: bool,
    pub layer: Layer,
}

/// Decides whether somebody of this role is told of a type through a channel.
pub(crate) fn decide(kind: NotificationType, channel: Channel, role: Role, policy: &Policy, wishes: &Wishes) -> Ruling {
    let ruled = policy.rules.get(&kind).and_then(|rules| rules.get(&channel));
    let wished = wishes.channels.get(&kind).and_then(|wishes| wishes.get(&channel));
    let (enabled, layer) = match (ruled, wished) {
        _ if kind.is_mandatory(channel) => (true, Layer::System),
        (Some(rule), _) => (*rule == Rule::Required, Layer::Policy),
        (None, Some(wish)) => (*wish, Layer::User),
        (None, None) => (kind.is_usual(channel, role), Layer::Role),
    };
    Ruling { enabled, layer }
}

fn read<T: DeserializeOwned + Default>(row: Option<&settings::Model>) -> Result<T> {
    let Some(row) = row else { return Ok(T::default()) };
    serde_json::from_str(&row.document)
        .map_err(|error| Error::internal(format!("the settings {} cannot be read", row.id)).source_error(error))
}

/// What a tenant rules and some of its people want.
pub(crate) struct Settings(Vec<settings::Model>);

impl Settings {
    /// Reads them inside a change.
    pub(crate) async fn inside(writer: &Writer<'_>, users: &[UserId]) -> Result<Self> {
        let ids = wanted(writer.tenant(), users);
        let select = writer.select_with_deleted::<settings::Entity>().filter(settings::Column::Id.is_in(ids));
        select.all().await.map(Self)
    }

    /// Reads them.
    pub(crate) async fn of(reader: &Reader<'_>, users: &[UserId]) -> Result<Self> {
        let ids = wanted(reader.tenant(), users);
        let select = reader.select_with_deleted::<settings::Entity>().filter(settings::Column::Id.is_in(ids));
        select.all().await.map(Self)
    }

    fn find(&self, id: SettingsId) -> Option<&settings::Model> {
        self.0.iter().find(|row| row.id == id)
    }

    pub(crate) fn policy(&self, tenant: TenantId) -> Result<Policy> {
        read(self.find(settings::of_tenant(tenant)))
    }

    pub(crate) fn wishes(&self, user: UserId) -> Result<Wishes> {
        read(self.find(settings::of_user(user)))
    }
}

fn wanted(tenant: TenantId, users: &[UserId]) -> Vec<SettingsId> {
    users.iter().map(|user| settings::of_user(*user)).chain([settings::of_tenant(tenant)]).collect()
}

/// Changes the settings under one id, one change after the other, and returns them with what it made
/// of them; an error of `change` changes nothing.
pub(crate) async fn change<T, R>(
    writer: &mut Writer<'_>,
    id: SettingsId,
    change: impl FnOnce(&mut T) -> Result<R>,
) -> Result<(T, R)>
where
    T: DeserializeOwned + Serialize + Default,
{
    writer.alone(&format!("notifications.settings/{id}")).await?;
    let known = writer.select_with_deleted::<settings::Entity>().id(id).one().await?;
    let mut document: T = read(known.as_ref())?;
    let made = change(&mut document)?;
    let text = serde_json::to_string(&document)
        .map_err(|error| Error::internal("settings cannot be written").source_error(error))?;
    match known {
        Some(known) if known.document == text => {}
        Some(_) => {
            let update = settings::Entity::update_many()
                .col_expr(settings::Column::Document, Expr::val(text))
                .filter(settings::Column::Id.eq(id));
            writer.revise(update).await?;
        }
        None => {
            let row = settings::ActiveModel { id: Set(id), document: Set(text), ..Default::default() };
            writer.append::<settings::Entity>(row).await?;
        }
    }
    Ok((document, made))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Channel::{Email, InApp};
    use NotificationType::{LargeAdjustment, LowStock, SystemAlert};

    fn table<T>(kind: NotificationType, channel: Channel, value: T) -> Table<T> {
        [(kind, [(channel, value)].into())].into()
    }

    #[test]
    fn the_first_layer_that_speaks_decides() {
        let (silent, nothing) = (Policy::default(), Wishes::default());
        let by = |kind, channel, role, policy: &Policy, wishes: &Wishes| {
            let ruling = decide(kind, channel, role, policy, wishes);
            (ruling.enabled, ruling.layer)
        };
        assert_eq!(by(LowStock, Email, Role::Staff, &silent, &nothing), (true, Layer::Role));
        assert_eq!(by(LargeAdjustment, Email, Role::Staff, &silent, &nothing), (false, Layer::Role));
        assert_eq!(by(LargeAdjustment, Email, Role::Admin, &silent, &nothing), (true, Layer::Role));
        let no = Wishes { channels: table(LowStock, Email, false), ..Wishes::default() };
        assert_eq!(by(LowStock, Email, Role::Staff, &silent, &no), (false, Layer::User));
        let must = Policy { rules: table(LowStock, Email, Rule::Required), ..Policy::default() };
        assert_eq!(by(LowStock, Email, Role::Staff, &must, &no), (true, Layer::Policy));
        let yes = Wishes { channels: table(LowStock, Email, true), ..Wishes::default() };
        let off = Policy { rules: table(LowStock, Email, Rule::Off), ..Policy::default() };
        assert_eq!(by(LowStock, Email, Role::Staff, &off, &yes), (false, Layer::Policy));
        let off = Policy { rules: table(SystemAlert, InApp, Rule::Off), ..Policy::default() };
        let no = Wishes { channels: table(SystemAlert, InApp, false), ..Wishes::default() };
        assert_eq!(by(SystemAlert, InApp, Role::Admin, &off, &no), (true, Layer::System));
    }

    #[test]
    fn settings_survive_being_written_down() {
        let policy = Policy { rules: table(LowStock, Email, Rule::Off), ..Policy::default() };
        let text = serde_json::to_string(&policy).expect("JSON");
        assert_eq!(text, r#"{"rules":{"LOW_STOCK":{"email":"off"}},"quietHours":null,"largeAdjustmentThreshold":100}"#);
        assert_eq!(serde_json::from_str::<Policy>(&text).expect("a policy"), policy);
        assert_eq!(serde_json::from_str::<Policy>("{}").expect("a policy"), Policy::default());
    }
}
