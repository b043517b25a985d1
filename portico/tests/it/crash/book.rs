//! What the clients know: every operation that was sent, and whether it was acknowledged. Not for
//! what the server has, which is read through its door.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What an operation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    Create,
    Adjust { delta: i64 },
    Update { expected: Option<i64> },
    Delete,
    Restore,
}

/// What its client knows of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Sent, and no answer came.
    Unanswered,
    /// Answered with success; the version is in the answer of all but deletions.
    Acknowledged { version: Option<i64> },
    /// Answered with a refusal that says that nothing was changed.
    Refused,
}

/// An operation. Its key is its Idempotency-Key, its X-Request-Id, and what it leaves behind: the
/// SKU of a create, the note of an adjustment, the name of an update.
#[derive(Clone, Debug)]
pub struct Operation {
    pub key: String,
    pub deed: Deed,
    pub fate: Fate,
    /// Whether it was only done when it was sent a second time.
    pub done_late: bool,
}

/// An item, as its operations made it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: Option<String>,
    /// The newest version that an answer told of.
    pub version: Option<i64>,
    /// Whether the newest answer said that it is deleted.
    pub deleted: bool,
    /// The first operation is the create; its key is the SKU.
    pub operations: Vec<Operation>,
}

/// All items by SKU.
#[derive(Clone, Debug, Default)]
pub struct Book {
    pub entries: BTreeMap<String, Entry>,
    pub acknowledged: u64,
    /// Answers that are neither success nor a refusal to be expected.
    pub strange: Vec<String>,
    /// Answers that asked to try again.
    pub turned_away: u64,
}

/// An operation as it goes over the wire.
pub struct Wire {
    pub method: http::Method,
    pub path: String,
    pub expected: Option<i64>,
    pub body: Option<Value>,
}

/// What the answer to an operation means.
pub struct Meaning {
    pub fate: Fate,
    pub id: Option<String>,
    pub strange: bool,
}

impl Operation {
    /// Returns an operation that is about to be sent.
    pub fn new(key: String, deed: Deed) -> Self {
        Self { key, deed, fate: Fate::Unanswered, done_late: false }
    }

    /// Returns the request id that the events of this operation carry.
    pub fn request_id(&self) -> String {
        if self.done_late { format!("{}.again", self.key) } else { self.key.clone() }
    }

    /// Returns the type of its event.
    pub fn event(&self) -> &'static str {
        match self.deed {
            Deed::Create => "inventory.item.created",
            Deed::Adjust { .. } => "inventory.item.adjusted",
            Deed::Update { .. } => "inventory.item.updated",
            Deed::Delete => "inventory.item.deleted",
            Deed::Restore => "inventory.item.restored",
        }
    }

    /// Says whether it was acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        matches!(self.fate, Fate::Acknowledged { .. })
    }

    /// Returns the request; sent twice it is the same to the byte, as an Idempotency-Key demands.
    pub fn wire(&self, id: Option<&str>) -> Wire {
        let item = || format!("/api/inventory/{}", id.expect("only known items are changed"));
        let (method, path, expected, body) = match &self.deed {
            Deed::Create => {
                let body = json!({ "sku": self.key, "name": self.key });
                (http::Method::POST, "/api/inventory".into(), None, Some(body))
            }
            Deed::Adjust { delta } => {
                let body = json!({ "delta": delta, "reason": "counted", "note": self.key });
                (http::Method::POST, item() + "/adjust", None, Some(body))
            }
            Deed::Update { expected } => {
                let body = json!({ "name": self.key });
                (http::Method::PUT, item(), *expected, Some(body))
            }
            Deed::Delete => (http::Method::DELETE, item() + "?force=true", None, None),
            Deed::Restore => (http::Method::POST, item() + "/restore", None, None),
        };
        Wire { method, path, expected, body }
    }

    /// Reads an answer.
    pub fn read(&self, answer: &crate::client::Answer) -> Meaning {
        if answer.is_success() {
            let created = (self.deed == Deed::Create).then(|| answer.data()["id"].take());
            return Meaning {
                fate: Fate::Acknowledged { version: answer.version() },
                id: created.and_then(|id| id.as_str().map(str::to_owned)),
                strange: false,
            };
        }
        // Nobody but its own clients touches an item, so only these refusals have a reason.
        let code = answer.code();
        let expected = match (&self.deed, code.as_str()) {
            (Deed::Create, _) => false,
            (_, "request.not_found") => true,
            (Deed::Adjust { .. }, "inventory.insufficient_stock") => true,
            (Deed::Update { .. }, "request.version_mismatch") => true,
            (Deed::Restore, "request.refused_by_state") => true,
            _ => false,
        };
        Meaning {
            fate: if expected { Fate::Refused } else { Fate::Unanswered },
            id: None,
            strange: !expected && answer.status != 503,
        }
    }
}

impl Book {
    /// Notes that an operation is about to be sent; gives its place.
    pub fn begin(&mut self, sku: &str, operation: Operation) -> usize {
        let entry = self.entries.entry(sku.to_owned()).or_insert(Entry {
            id: None,
            version: None,
            deleted: false,
            operations: Vec::new(),
        });
        entry.operations.push(operation);
        entry.operations.len() - 1
    }

    /// Notes what was answered; says whether it was a success.
    pub fn end(&mut self, sku: &str, place: usize, answer: &crate::client::Answer) -> bool {
        let entry = self.entries.get_mut(sku).expect("it was begun");
        let operation = &mut entry.operations[place];
        let meaning = operation.read(answer);
        operation.fate = meaning.fate;
        if meaning.strange {
            let body = String::from_utf8_lossy(&answer.body);
            let key = &operation.key;
            self.strange.push(format!("{key} was answered {}: {body}", answer.status));
        } else if meaning.fate == Fate::Unanswered {
            self.turned_away += 1;
        }
        let Fate::Acknowledged { version } = meaning.fate else {
            return false;
        };
        self.acknowledged += 1;
        match operation.deed {
            Deed::Create => entry.id = meaning.id,
            Deed::Delete => entry.deleted = true,
            Deed::Restore => entry.deleted = false,
            _ => {}
        }
        entry.version = entry.version.max(version);
        true
    }

    /// Returns the operations without an answer, as SKU and place, oldest first for each item.
    pub fn unanswered(&self) -> Vec<(String, usize)> {
        let of = |(sku, entry): (&String, &Entry)| {
            let sku = sku.clone();
            let operations = entry.operations.iter().enumerate();
            let open = operations.filter(|(_, operation)| operation.fate == Fate::Unanswered);
            open.map(|(place, _)| (sku.clone(), place)).collect::<Vec<_>>()
        };
        self.entries.iter().flat_map(of).collect()
    }
}
