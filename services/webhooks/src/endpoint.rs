//! An endpoint: a URL of the tenant's own that gets the events it chose. Its secrets are in its row,
//! sealed, and never in its view. Not for how it is doing, which `standing` keeps.

use kernel::{Error, Id, IdKind, Result, TenantId, Text, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::{NotSet, Set};
use serde::{Deserialize, Serialize};
use service::{Field, FieldKind, Permissions, Resource, Shape, Spec, UpdateVerb};
use utoipa::ToSchema;

use crate::pattern::{self, Pattern};

/// The most that an endpoint may ask for; more is what it gets without a rate.
const FASTEST: u32 = 1_000;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhooks_endpoint")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EndpointId,
    pub url: String,
    pub description: Option<String>,
    pub events: String,
    pub enabled: bool,
    pub rate: Option<i64>,
    pub disabled_at: Option<Timestamp>,
    pub disabled_reason: Option<String>,
    pub secret_sealed: Vec<u8>,
    pub old_secret_sealed: Option<Vec<u8>>,
    pub old_secret_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub version: i64,
    pub updated_at: Timestamp,
    pub updated_by: String,
    pub deleted_at: Option<Timestamp>,
}

impl Model {
    /// Returns the patterns that it chose its events by.
    pub(crate) fn patterns(&self) -> Vec<String> {
        serde_json::from_str(&self.events).unwrap_or_default()
    }

    /// Says whether anything is sent to it now.
    pub(crate) fn is_on(&self) -> bool {
        self.enabled && self.deleted_at.is_none()
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_entity!(Entity, Endpoint, "webhooks.endpoint", |row: &Model| {
    serde_json::to_value(Endpoint::view(row)).unwrap_or_default()
});

/// A URL that gets events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookEndpoint)]
pub struct Endpoint {
    /// Names the endpoint.
    pub id: EndpointId,
    /// Where messages are posted to.
    pub url: String,
    /// What it is for.
    pub description: Option<String>,
    /// The types that it gets, such as `inventory.item.created` or `inventory.*`; empty means all.
    pub events: Vec<String>,
    /// Whether messages are sent to it.
    pub enabled: bool,
    /// How many messages a second it takes at most; null means as many as it manages.
    pub rate: Option<i64>,
    /// When it was switched off because it failed, if it was.
    pub disabled_at: Option<Timestamp>,
    /// Why it was: `gone` (it answered 410) or `failing` (no success for 5 days).
    pub disabled_reason: Option<String>,
    /// Until when the secret before the present one signs too, if there was one.
    pub old_secret_until: Option<Timestamp>,
    /// Counts its changes; the ETag is `"v<version>"`.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// Names an endpoint.
pub type EndpointId = Id<Endpoint>;

impl IdKind for Endpoint {
    const PREFIX: &'static str = "whe";
}

/// What creating an endpoint takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = CreateWebhookEndpoint)]
pub struct CreateEndpoint {
    /// Where messages are posted to: `https://`, without user name, fragment, or an address that is not public.
    #[schema(pattern = "^https?://", max_length = 2048)]
    pub url: String,
    /// What it is for.
    pub description: Option<Text<500>>,
    /// The types that it gets; `*` at the end of a pattern stands for any ending. All unless said.
    #[serde(default)]
    #[schema(value_type = Vec<Pattern>, max_items = 50)]
    pub events: Vec<String>,
    /// Whether messages are sent to it; yes unless said.
    pub enabled: Option<bool>,
    /// How many messages a second it takes at most, up to 1000; 0 or nothing means as many as it manages.
    #[schema(maximum = 1000)]
    pub rate: Option<u32>,
}

/// What changing an endpoint takes: the fields to set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = UpdateWebhookEndpoint)]
pub struct UpdateEndpoint {
    /// Where messages are posted to.
    #[schema(pattern = "^https?://", max_length = 2048)]
    pub url: Option<String>,
    /// What it is for.
    pub description: Option<Text<500>>,
    /// The types that it gets; an empty list means all.
    #[schema(value_type = Option<Vec<Pattern>>, max_items = 50)]
    pub events: Option<Vec<String>>,
    /// Whether messages are sent to it; `true` also takes a switched-off one back into service.
    pub enabled: Option<bool>,
    /// How many messages a second it takes at most, up to 1000; 0 means as many as it manages.
    #[schema(maximum = 1000)]
    pub rate: Option<u32>,
}

impl Resource for Endpoint {
    type Entity = Entity;
    type Create = CreateEndpoint;
    type Update = UpdateEndpoint;

    const SPEC: Spec = Spec {
        service: "webhooks",
        singular: "endpoint",
        plural: "endpoints",
        path: "/api/webhooks/endpoints",
        item_path: "/api/webhooks/endpoints/{id}",
        restore_path: "/api/webhooks/endpoints/{id}/restore",
        export_path: None,
        update: UpdateVerb::Patch,
        permissions: Permissions {
            read: "webhooks.endpoints.read",
            write: "webhooks.endpoints.write",
            delete: "webhooks.endpoints.write",
            restore: "webhooks.endpoints.write",
            export: "webhooks.endpoints.read",
        },
        shape: Shape::Plain,
        export: &[],
    };

    fn fields() -> Vec<Field<Column>> {
        vec![
            Field::new("createdAt", Column::CreatedAt, FieldKind::Time),
            Field::new("updatedAt", Column::UpdatedAt, FieldKind::Time),
            Field::new("url", Column::Url, FieldKind::Text),
            Field::new("enabled", Column::Enabled, FieldKind::Boolean),
        ]
    }

    fn view(row: &Model) -> Self {
        Self {
            id: row.id,
            url: row.url.clone(),
            description: row.description.clone(),
            events: row.patterns(),
            enabled: row.enabled,
            rate: row.rate,
            disabled_at: row.disabled_at,
            disabled_reason: row.disabled_reason.clone(),
            old_secret_until: row.old_secret_until,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        }
    }

    /// The secret is added by the action that creates an endpoint.
    fn create(input: CreateEndpoint) -> Result<ActiveModel> {
        Ok(ActiveModel {
            url: Set(input.url),
            description: Set(input.description.map(String::from)),
            events: Set(written(input.events)?),
            enabled: Set(input.enabled.unwrap_or(true)),
            rate: Set(rate(input.rate)?),
            disabled_at: Set(None),
            disabled_reason: Set(None),
            old_secret_sealed: Set(None),
            old_secret_until: Set(None),
            ..Default::default()
        })
    }

    fn update(input: UpdateEndpoint) -> Result<ActiveModel> {
        let back = input.enabled == Some(true);
        Ok(ActiveModel {
            url: service::set_if(input.url),
            description: input.description.map_or(NotSet, |text| Set(Some(text.into()))),
            events: service::set_if(input.events.map(written).transpose()?),
            enabled: service::set_if(input.enabled),
            rate: match input.rate {
                Some(_) => Set(rate(input.rate)?),
                None => NotSet,
            },
            disabled_at: if back { Set(None) } else { NotSet },
            disabled_reason: if back { Set(None) } else { NotSet },
            ..Default::default()
        })
    }
}

fn written(patterns: Vec<String>) -> Result<String> {
    Ok(serde_json::json!(pattern::checked(patterns)?).to_string())
}

fn rate(rate: Option<u32>) -> Result<Option<i64>> {
    match rate {
        Some(rate) if rate > FASTEST => {
            let why = format!("must be from 0 to {FASTEST}");
            Err(Error::invalid("request.invalid_body", "the body is not valid").field("rate", why))
        }
        Some(0) | None => Ok(None),
        Some(rate) => Ok(Some(rate.into())),
    }
}
