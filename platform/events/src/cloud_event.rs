//! An event of the log as others read it: CloudEvents 1.0 in JSON, with what is known of it as
//! `data`. Not for reading such documents, and not for deciding who may see them.

use kernel::{TenantId, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use store::EventRow;

/// An event as a CloudEvents 1.0 document. Names of extensions have only lower-case letters.
#[derive(Clone, Debug, Serialize)]
pub struct CloudEvent<'a> {
    /// Always `1.0`.
    pub specversion: &'static str,
    /// Names the event, in this log and in every copy of it.
    pub id: String,
    /// `/tenants/{tenant}/{service}`: with the id it is unique in the world.
    pub source: String,
    /// The type, such as `inventory.item.created`.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The id of what changed.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub subject: &'a str,
    /// When it happened.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: &'static str,
    /// Whose event it is.
    pub tenantid: TenantId,
    /// Its place in the order of all events, as the sequence extension writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// The version of what changed, after the change; missing for what has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subjectversion: Option<i32>,
    /// Who did it.
    pub actor: &'a str,
    /// The request that did it.
    pub requestid: &'a str,
    /// The chain of requests that it belongs to.
    pub correlationid: &'a str,
    /// Why, where somebody had to say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// What is known of it.
    pub data: &'a RawValue,
}

impl<'a> CloudEvent<'a> {
    /// Returns the document of an event.
    pub fn of(row: &'a EventRow) -> Self {
        let service = row.kind.split('.').next().unwrap_or_default();
        Self {
            specversion: "1.0",
            id: row.id.to_string(),
            source: format!("/tenants/{}/{service}", row.tenant_id),
            kind: &row.kind,
            subject: &row.subject,
            time: row.occurred_at,
            datacontenttype: "application/json",
            tenantid: row.tenant_id,
            sequence: row.position.map(|position| position.to_string()),
            subjectversion: i32::try_from(row.subject_version).ok().filter(|version| *version > 0),
            actor: &row.actor,
            requestid: &row.request_id,
            correlationid: &row.correlation_id,
            reason: row.reason.as_deref(),
            data: serde_json::from_str(&row.data).unwrap_or(RawValue::NULL),
        }
    }

    /// Returns the document's text, on one line.
    pub fn json(&self) -> String {
        let json = serde_json::to_string(self).expect("texts and a value that is JSON already are always written");
        // Data is kept as it was written; a line break in JSON is white space, and one in a frame is not.
        if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ") } else { json }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn row() -> EventRow {
        EventRow {
            seq: 7,
            position: Some(9),
            id: kernel::Id::new(),
            tenant_id: TenantId::new(),
            kind: "inventory.item.created".into(),
            subject: "itm_1".into(),
            subject_version: 3,
            actor: "usr_1".into(),
            request_id: "request".into(),
            correlation_id: "chain".into(),
            occurred_at: Timestamp::parse("2026-11-21T08:00:00Z").expect("a time"),
            data: "{\r\n \"b\": 1, \"a\": \"é\\n\" }".into(),
            reason: None,
        }
    }

    fn document(row: &EventRow) -> Value {
        serde_json::from_str(&CloudEvent::of(row).json()).expect("JSON")
    }

    #[test]
    fn an_event_is_a_cloud_event() {
        let row = row();
        assert_eq!(
            document(&row),
            json!({
                "specversion": "1.0",
                "id": row.id,
                "source": format!("/tenants/{}/inventory", row.tenant_id),
                "type": "inventory.item.created",
                "subject": "itm_1",
                "time": "2026-11-21T08:00:00.000000Z",
                "datacontenttype": "application/json",
                "tenantid": row.tenant_id,
                "sequence": "9",
                "subjectversion": 3,
                "actor": "usr_1",
                "requestid": "request",
                "correlationid": "chain",
                "data": { "b": 1, "a": "é\n" },
            })
        );
        let attributes = document(&row).as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        assert!(attributes.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase())), "{attributes:?}");
    }

    #[test]
    fn a_document_is_one_line() {
        assert!(!CloudEvent::of(&row()).json().contains(['\n', '\r']));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let bare = EventRow { position: None, subject: String::new(), subject_version: 0, ..row() };
        let document = document(&bare);
        for name in ["sequence", "subject", "subjectversion", "reason"] {
            assert!(document.get(name).is_none(), "{name}");
        }
        let told = EventRow { reason: Some("ticket 7".into()), data: "not JSON".into(), ..row() };
        let document = self::document(&told);
        assert_eq!((&document["reason"], &document["data"]), (&json!("ticket 7"), &Value::Null));
    }
}
