//! The verifier's own tests: each kind of loss and of disorder is put into a small world that is as
//! it should be, and must be seen. Not for the server.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::book::{Book, Deed, Entry, Fate, Operation};
use super::verify::{Event, Fault, Found, Line, Log, Row, check_settled, check_strangers, check_unsettled};

/// A small world in which everything is as it should be.
struct World {
    book: Book,
    rows: BTreeMap<String, Row>,
    found: Found,
    events: Vec<Event>,
}

fn operation(key: &str, deed: Deed, version: Option<i64>) -> Operation {
    let fate = Fate::Acknowledged { version };
    Operation { fate, ..Operation::new(key.into(), deed) }
}

fn event(version: i64, request: &str, verb: &str, data: Value) -> Event {
    Event {
        position: version * 10,
        id: format!("evt_{version}"),
        kind: format!("inventory.item.{verb}"),
        subject: "itm_1".into(),
        version,
        request_id: request.into(),
        data,
    }
}

fn world() -> World {
    let mut refused = Operation::new("a-9".into(), Deed::Adjust { delta: -90 });
    refused.fate = Fate::Refused;
    let entry = Entry {
        id: Some("itm_1".into()),
        version: Some(4),
        deleted: true,
        operations: vec![
            operation("a-1", Deed::Create, Some(1)),
            operation("a-2", Deed::Adjust { delta: 7 }, Some(2)),
            refused,
            operation("a-3", Deed::Update { expected: None }, Some(3)),
            operation("a-4", Deed::Adjust { delta: -2 }, Some(4)),
            operation("a-5", Deed::Delete, None),
        ],
    };
    let row = Row { id: "itm_1".into(), name: "a-3".into(), quantity: 5, version: 5, deleted: true };
    let line = |note: &str, delta| Line { note: note.into(), delta };
    World {
        book: Book { entries: [("a-1".to_owned(), entry)].into(), ..Book::default() },
        rows: [("a-1".to_owned(), row.clone())].into(),
        found: Found { row, ledger: vec![line("a-4", -2), line("a-2", 7)] },
        events: vec![
            event(1, "a-1", "created", json!({ "name": "a-1" })),
            event(2, "a-2", "adjusted", json!({ "delta": 7, "quantity": 7 })),
            event(3, "a-3", "updated", json!({ "name": "a-3" })),
            event(4, "a-4", "adjusted", json!({ "delta": -2, "quantity": 5 })),
            event(5, "a-5", "deleted", json!({})),
        ],
    }
}

impl World {
    fn operations(&mut self) -> &mut Vec<Operation> {
        &mut self.book.entries.get_mut("a-1").expect("there").operations
    }

    fn faults(&self) -> Vec<Fault> {
        let mut log = Log::default();
        self.events.iter().for_each(|event| log.add(event.clone()));
        let mut faults = log.faults.clone();
        let entry = &self.book.entries["a-1"];
        let found = self.rows.get("a-1").map(|_| &self.found);
        faults.extend(check_settled("a-1", entry, found, &log));
        faults.extend(check_strangers(&self.book, &self.rows, &log));
        faults
    }
}

fn losses(faults: &[Fault]) -> usize {
    faults.iter().filter(|fault| fault.is_loss()).count()
}

#[test]
fn a_whole_world_has_no_fault() {
    assert_eq!(world().faults(), []);
}

#[test]
fn an_acknowledged_operation_that_is_gone_is_a_loss() {
    // An acknowledgement that the server knows nothing of.
    let mut forged = world();
    forged.operations().push(operation("a-6", Deed::Adjust { delta: 1 }, Some(6)));
    assert_eq!(losses(&forged.faults()), 2, "ledger line and event");

    let mut row = world();
    row.rows.clear();
    assert_eq!(row.faults()[0], Fault::Lost("the item a-1".into()));

    let mut line = world();
    line.found.ledger.pop();
    assert_eq!(losses(&line.faults()), 1);

    for event in 0..5 {
        let mut gone = world();
        gone.events.remove(event);
        assert_eq!(losses(&gone.faults()), 1, "event {event}");
    }
}

#[test]
fn what_was_not_asked_for_or_does_not_add_up_is_a_fault() {
    type Breaking = fn(&mut World);
    let all: [(&str, Breaking); 14] = [
        ("quantity", |world| world.found.row.quantity += 1),
        ("version", |world| world.found.row.version += 1),
        ("deletion", |world| world.found.row.deleted = false),
        ("name", |world| world.found.row.name = "other".into()),
        ("id", |world| world.found.row.id = "itm_2".into()),
        ("a line twice", |world| world.found.ledger.push(world.found.ledger[0].clone())),
        ("another delta", |world| world.found.ledger[0].delta = 2),
        ("a refused line", |world| world.found.ledger[0].note = "a-9".into()),
        ("a strange line", |world| world.found.ledger[0].note = "x".into()),
        ("an event twice", |world| {
            let mut again = world.events[1].clone();
            (again.position, again.id) = (99, "evt_99".into());
            world.events.push(again);
        }),
        ("positions fall", |world| world.events.swap(3, 4)),
        ("an event's delta", |world| world.events[1].data["delta"] = json!(8)),
        ("an event without its row", |world| {
            let stray = Event { subject: "itm_9".into(), ..event(9, "x", "created", json!({})) };
            world.events.push(stray);
        }),
        ("a row without its operation", |world| {
            world.rows.insert("x".into(), world.found.row.clone());
        }),
    ];
    for (name, breaking) in all {
        let mut world = world();
        breaking(&mut world);
        assert!(!world.faults().is_empty(), "{name} was not seen");
    }
}

#[test]
fn an_unanswered_adjustment_may_be_there_once_or_not_at_all() {
    for there in 0..3 {
        let mut world = world();
        world.operations().push(Operation::new("a-7".into(), Deed::Adjust { delta: 3 }));
        for _ in 0..there {
            let line = Line { note: "a-7".into(), delta: 3 };
            world.found.ledger.push(line);
            world.found.row.quantity += 3;
        }
        let entry = &world.book.entries["a-1"];
        let faults = check_unsettled("a-1", entry, Some(&world.found));
        assert_eq!(faults.is_empty(), there < 2, "{there} times: {faults:?}");
    }
}
