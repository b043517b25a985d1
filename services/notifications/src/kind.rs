//! What people can be told of, through which channels, and who is told unless somebody says
//! otherwise. Not for what a tenant or a person says: see `preferences`.

use serde::{Deserialize, Serialize};
use service::Role;
use utoipa::ToSchema;

/// What somebody is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NotificationType {
    /// An item has become short.
    LowStock,
    /// A batch did not pass its quality check.
    QcFailed,
    /// Something is wrong with the installation or the organisation's part of it.
    SystemAlert,
    /// Somebody changed an item's stock by much.
    LargeAdjustment,
}

/// How somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// In the list, and at once over the socket.
    InApp,
    /// By a letter, which gathers what happens within its window.
    Email,
    /// By the event `notifications.notification.raised`, which the tenant's endpoints may subscribe to.
    Webhook,
}

impl NotificationType {
    /// Every type.
    pub(crate) const ALL: [Self; 4] = [Self::LowStock, Self::QcFailed, Self::SystemAlert, Self::LargeAdjustment];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::LowStock => "LOW_STOCK",
            Self::QcFailed => "QC_FAILED",
            Self::SystemAlert => "SYSTEM_ALERT",
            Self::LargeAdjustment => "LARGE_ADJUSTMENT",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the roles whose people are told of it.
    pub(crate) const fn roles(self) -> &'static [Role] {
        match self {
            Self::LowStock | Self::QcFailed | Self::LargeAdjustment => &[Role::Staff, Role::Admin],
            Self::SystemAlert => &[Role::Admin],
        }
    }

    /// Says whether nobody can turn the channel off.
    pub(crate) fn is_mandatory(self, channel: Channel) -> bool {
        self == Self::SystemAlert && channel == Channel::InApp
    }

    /// Says what somebody of this role gets who has said nothing.
    pub(crate) fn is_usual(self, channel: Channel, role: Role) -> bool {
        match channel {
            Channel::InApp | Channel::Webhook => true,
            Channel::Email => self != Self::LargeAdjustment || role == Role::Admin,
        }
    }
}

impl Channel {
    /// Every channel.
    pub(crate) const ALL: [Self; 3] = [Self::InApp, Self::Email, Self::Webhook];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InApp => "in_app",
            Self::Email => "email",
            Self::Webhook => "webhook",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_json_uses() {
        for kind in NotificationType::ALL {
            assert_eq!(serde_json::to_value(kind).expect("JSON"), kind.name());
            assert_eq!(NotificationType::named(kind.name()), Some(kind));
        }
        for channel in Channel::ALL {
            assert_eq!(serde_json::to_value(channel).expect("JSON"), channel.name());
        }
    }
}
