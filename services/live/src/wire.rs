//! Which events sockets are told of, under which name, and from which role on: the one table, and
//! what it makes of an event. Not for who is connected.

use std::collections::BTreeMap;

use kernel::{Timestamp, UserId};
use serde::Serialize;
use serde_json::Value;
use service::{Audience, Role, Service};
use store::EventRow;

use crate::packet;
use crate::rooms::Room;

/// Whom a kind of event is for.
enum To {
    /// These roles get all of it; where there is a summary, the roles below learn that something
    /// happened, and to what.
    Roles { name: &'static str, least: Role, summary: Option<&'static str> },
    /// The person whom `data.user` names gets it.
    Person { name: &'static str },
}

/// The types that begin with this, and whom they are for.
struct Line {
    kinds: &'static str,
    to: To,
}

const STOCK: To = To::Roles { name: "inventory:update", least: Role::Staff, summary: Some("inventory:summary") };

/// Read from the top; the first line that fits counts.
const TABLE: [Line; 3] = [
    Line { kinds: "inventory.item.", to: STOCK },
    Line { kinds: "inventory.batch.", to: STOCK },
    Line { kinds: "notifications.notification.raised", to: To::Person { name: "notification:new" } },
];

/// What a declared type of event becomes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Roles { name: &'static str, least: Role, summary: Option<&'static str> },
    Person { name: &'static str },
}

/// The declared types of events that sockets are told of.
#[derive(Debug)]
pub(crate) struct Wires(BTreeMap<&'static str, Wire>);

/// All of an event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    position: i64,
    epoch: &'a str,
    occurred_at: Timestamp,
    version: i64,
    data: Value,
}

/// That something happened, and to what.
#[derive(Serialize)]
struct Summary<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    position: i64,
    epoch: &'a str,
    version: i64,
}

impl Wires {
    /// Returns the table's lines for the types that these services declare.
    pub(crate) fn of(services: &[Service]) -> Self {
        let declared = services.iter().flat_map(|service| &service.events);
        Self(declared.filter_map(|known| Some((known.name, wire(known.name, known.audience)?))).collect())
    }

    /// Returns the types that sockets are told of.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    /// Returns what the rooms of the event's tenant are told.
    pub(crate) fn messages(&self, event: &EventRow, epoch: &str) -> Vec<(Room, String)> {
        let Some(wire) = self.0.get(event.kind.as_str()) else { return Vec::new() };
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let position = event.position.unwrap_or_default();
        let (kind, id, version) = (event.kind.as_str(), event.subject.as_str(), event.subject_version);
        let person = data["user"].as_str().and_then(|text| text.parse::<UserId>().ok());
        let whole = |name| {
            let occurred_at = event.occurred_at;
            packet::event(name, &Whole { kind, id, position, epoch, occurred_at, version, data: data.clone() })
        };
        match *wire {
            Wire::Person { name } => person.map(|user| (Room::User(user), whole(name))).into_iter().collect(),
            Wire::Roles { name, least, summary } => {
                let all = whole(name);
                let short = summary.map(|name| packet::event(name, &Summary { kind, id, position, epoch, version }));
                let told = |role: Role| if role >= least { Some(all.clone()) } else { short.clone() };
                Room::ROLES.into_iter().filter_map(|role| Some((Room::Role(role.name()), told(role)?))).collect()
            }
        }
    }
}

/// Returns what the type becomes; never for a role that its audience leaves out. A summary holds
/// nothing of what happened, but that it did is not for everybody where it is for administrators.
fn wire(kind: &str, audience: Audience) -> Option<Wire> {
    let line = TABLE.iter().find(|line| kind.starts_with(line.kinds))?;
    Some(match line.to {
        To::Person { name } => Wire::Person { name },
        To::Roles { name, least, summary } => {
            let summary = summary.filter(|_| audience.role() <= Role::Staff);
            Wire::Roles { name, least: least.max(audience.role()), summary }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, data: &str) -> EventRow {
        EventRow {
            seq: 7,
            position: Some(7),
            id: kernel::Id::new(),
            tenant_id: kernel::TenantId::new(),
            kind: kind.to_owned(),
            subject: "itm_1".to_owned(),
            subject_version: 3,
            actor: "system".to_owned(),
            request_id: "r".to_owned(),
            correlation_id: "r".to_owned(),
            occurred_at: Timestamp(0),
            data: data.to_owned(),
            reason: None,
        }
    }

    fn wires(kinds: &[(&'static str, Audience)]) -> Wires {
        Wires(kinds.iter().filter_map(|(kind, audience)| Some((*kind, wire(kind, *audience)?))).collect())
    }

    #[test]
    fn amounts_are_for_staff_and_administrators_only() {
        let wires = wires(&[("inventory.item.adjusted", Audience::Staff)]);
        let told = wires.messages(&row("inventory.item.adjusted", r#"{"quantity":4711}"#), "e");
        let rooms: Vec<_> = told.iter().map(|(room, _)| *room).collect();
        assert_eq!(rooms, [Room::Role("admin"), Room::Role("staff"), Room::Role("viewer")]);
        for (room, text) in &told {
            let viewer = *room == Room::Role("viewer");
            assert_eq!(text.contains("4711"), !viewer, "{text}");
            assert!(text.contains("\"position\":7") && text.contains(if viewer { ":summary" } else { ":update" }));
        }
    }

    #[test]
    fn an_audience_is_never_widened() {
        let wires = wires(&[("inventory.item.audited", Audience::Admins)]);
        let told = wires.messages(&row("inventory.item.audited", "{}"), "e");
        assert_eq!(told.iter().map(|(room, _)| *room).collect::<Vec<_>>(), [Room::Role("admin")]);
    }

    #[test]
    fn what_no_service_declares_and_no_line_names_is_for_nobody() {
        let wires = wires(&[("identity.user.created", Audience::Members)]);
        assert!(wires.kinds().is_empty());
        assert!(wires.messages(&row("inventory.item.adjusted", "{}"), "e").is_empty());
    }

    #[test]
    fn a_notification_is_for_the_person_it_names() {
        let kind = "notifications.notification.raised";
        let (wires, user) = (wires(&[(kind, Audience::Admins)]), UserId::new());
        let told = wires.messages(&row(kind, &format!(r#"{{"user":"{user}"}}"#)), "e");
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, Room::User(user));
        for data in ["{}", r#"{"user":"usr_nobody"}"#, "not JSON"] {
            assert!(wires.messages(&row(kind, data), "e").is_empty(), "{data}");
        }
    }
}
