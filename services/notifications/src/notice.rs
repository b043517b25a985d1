//! What an event means to people: which type, about what, in which words, and the key that keeps it
//! from being told twice. Not for whom it concerns.

use std::time::Duration;

use kernel::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::EventRow;

use crate::kind::NotificationType;

/// What is older is history: a service that starts over a long log tells nobody of it.
const OLDEST: Duration = Duration::from_secs(7 * 24 * 3600);

const TITLE: usize = 200;
const BODY: usize = 2_000;

/// The events that people may be told of.
pub(crate) const LOW_STOCK: &str = "inventory.item.low_stock";
pub(crate) const ADJUSTED: &str = "inventory.item.adjusted";
pub(crate) const QC_FAILED: &str = "inventory.batch.qc_failed";
pub(crate) const ALERT: &str = "system.alert.raised";

/// Something that people may be told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notice {
    pub kind: NotificationType,
    /// What it is about; what happens to one object within a window is told at once.
    pub object: String,
    pub dedupe_key: String,
    /// Whether it waits for nothing: no window, no quiet hours.
    pub severe: bool,
    pub title: String,
    pub body: String,
    /// Who did it, and knows.
    pub actor: String,
    /// How large it is, where only large ones are told.
    pub size: Option<i64>,
    pub occurred_at: Timestamp,
}

/// Returns what an event has to tell, if anything.
pub(crate) fn read(event: &EventRow, now: Timestamp) -> Option<Notice> {
    if event.occurred_at < now.minus(OLDEST) {
        return None;
    }
    let data: Value = serde_json::from_str(&event.data).ok()?;
    let said = |name: &str| match &data[name] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let named = |name: &str, otherwise: &str| if said(name).is_empty() { otherwise.to_owned() } else { said(name) };
    let what = [said("sku"), said("name")].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
    let what = if what.is_empty() { event.subject.clone() } else { what };
    let (mut severe, mut size, mut key) = (false, None, event.id.to_string());
    let (kind, title, body) = match event.kind.as_str() {
        LOW_STOCK => {
            key = format!("{}/{}", event.subject, named("crossing", &key));
            let left = format!("{} {}", said("quantity"), said("unit"));
            let body = format!("{} left; the level is {}.", left.trim(), said("lowStockLevel"));
            (NotificationType::LowStock, format!("Low stock: {what}"), body)
        }
        ADJUSTED => {
            let delta = data["delta"].as_i64()?;
            size = Some(delta.saturating_abs());
            let body = format!("Changed by {delta:+} ({}); now there are {}.", said("reason"), said("quantity"));
            (NotificationType::LargeAdjustment, format!("Large adjustment: {what}"), body)
        }
        QC_FAILED => {
            severe = matches!(said("severity").to_ascii_lowercase().as_str(), "severe" | "critical");
            let what = named("batch", &what);
            let body = named("reason", "The batch did not pass its quality check.");
            (NotificationType::QcFailed, format!("Quality check failed: {what}"), body)
        }
        ALERT => {
            severe = true;
            key = named("dedupeKey", &key);
            (NotificationType::SystemAlert, named("title", "System alert"), named("message", &event.subject))
        }
        _ => return None,
    };
    Some(Notice {
        dedupe_key: clean(&format!("{}:{key}", kind.name()), TITLE),
        kind,
        object: clean(&event.subject, TITLE),
        severe,
        title: clean(&title, TITLE),
        body: clean(&body, BODY),
        actor: event.actor.clone(),
        size,
        occurred_at: event.occurred_at,
    })
}

/// Makes a text one line of bounded length: it goes into lists and into the subject of letters.
fn clean(text: &str, longest: usize) -> String {
    let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let trimmed = plain.trim();
    if trimmed.chars().count() <= longest {
        return trimmed.to_owned();
    }
    let mut cut: String = trimmed.chars().take(longest - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, subject: &str, data: Value) -> EventRow {
        EventRow {
            seq: 1,
            position: Some(1),
            id: kernel::Id::new(),
            tenant_id: kernel::TenantId::new(),
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            subject_version: 1,
            actor: "system".to_owned(),
            request_id: "r".to_owned(),
            correlation_id: "r".to_owned(),
            occurred_at: Timestamp(1_000_000_000_000),
            data: data.to_string(),
            reason: None,
        }
    }

    fn notice(event: &EventRow) -> Option<Notice> {
        read(event, Timestamp(1_000_000_000_000))
    }

    #[test]
    fn events_become_words_and_keys() {
        let data =
            json!({ "sku": "A", "name": "Ärpel", "quantity": 3, "unit": "box", "lowStockLevel": 5, "crossing": 7 });
        let low = notice(&event(LOW_STOCK, "itm_1", data)).expect("a notice");
        assert_eq!((low.title.as_str(), low.body.as_str()), ("Low stock: A Ärpel", "3 box left; the level is 5."));
        assert_eq!((low.dedupe_key.as_str(), low.severe), ("LOW_STOCK:itm_1/7", false));
        let large = event(ADJUSTED, "itm_1", json!({ "delta": -120, "reason": "sold", "sku": "A", "quantity": 3 }));
        let notice_of_large = notice(&large).expect("a notice");
        assert_eq!(
            (notice_of_large.size, notice_of_large.body.as_str()),
            (Some(120), "Changed by -120 (sold); now there are 3.")
        );
        assert_eq!(notice_of_large.dedupe_key, format!("LARGE_ADJUSTMENT:{}", large.id));
        let failed =
            notice(&event(QC_FAILED, "bat_1", json!({ "batch": "B-7", "severity": "Severe" }))).expect("a notice");
        assert_eq!((failed.title.as_str(), failed.severe), ("Quality check failed: B-7", true));
        let alert = json!({ "title": "Disk\r\nBcc: x@y", "message": "full", "dedupeKey": "disk" });
        let alert = notice(&event(ALERT, "store", alert)).expect("a notice");
        assert_eq!((alert.title.as_str(), alert.dedupe_key.as_str()), ("Disk  Bcc: x@y", "SYSTEM_ALERT:disk"));
    }

    #[test]
    fn what_is_odd_old_or_nobodys_business_is_not_told() {
        assert_eq!(notice(&event(ADJUSTED, "itm_1", json!({ "delta": "many" }))), None);
        assert_eq!(notice(&event("inventory.item.created", "itm_1", json!({}))), None);
        let mut broken = event(ALERT, "store", json!({}));
        broken.data = "{".to_owned();
        assert_eq!(notice(&broken), None);
        let old = event(ALERT, "store", json!({}));
        assert_eq!(read(&old, old.occurred_at.plus(OLDEST).plus(Duration::from_secs(1))), None);
        let huge = json!({ "title": "x".repeat(5_000), "message": "ü".repeat(5_000), "dedupeKey": "k".repeat(5_000) });
        let huge = notice(&event(ALERT, "store", huge)).expect("a notice");
        assert_eq!(
            (huge.title.chars().count(), huge.body.chars().count(), huge.dedupe_key.len() < 400),
            (200, 2_000, true)
        );
        assert_eq!(notice(&event(ADJUSTED, "i", json!({ "delta": i64::MIN }))).expect("a notice").size, Some(i64::MAX));
    }
}
