//! The documents of upstreams over time: fetched, refused, kept. Not for HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use surface::{Asked, Shelf, ShelfConfig, Source, Taken, United};

use crate::house::{document, door, plain};

fn body(path: &str) -> Vec<u8> {
    document("3.1.0", json!({ path: { "get": { "responses": {} } } }), json!({})).to_string().into_bytes()
}

fn answer(status: u16, body: Vec<u8>) -> Asked {
    Asked::Answered { status, etag: Some("\"1\"".into()), body }
}

fn shelf(now: Instant) -> Shelf {
    let config = ShelfConfig { refresh_seconds: 60, timeout_ms: 1_000, max_bytes: 1_000 };
    Shelf::new(config, ["a", "b"].map(|name| (name.to_owned(), "/openapi.json".to_owned())), now)
}

fn united(shelf: &mut Shelf) -> (Vec<String>, usize) {
    let own = Source::own("own", json!({ "openapi": "3.1.0", "paths": { "/own": { "get": {} } } }));
    let upstream = |name: &str, document: Arc<Value>| Source { document, ..plain(name, Value::Null) };
    let (United { document, .. }, refused) = shelf.unite(&door(), &own, upstream).expect("the own one is sound");
    (document["paths"].as_object().expect("paths").keys().cloned().collect(), refused.len())
}

#[test]
fn everything_is_asked_for_at_once_and_then_again() {
    let start = Instant::now();
    let mut shelf = shelf(start);
    let wants = shelf.due(start);
    assert_eq!(wants.len(), 2);
    assert_eq!((wants[0].if_none_match.clone(), wants[0].max_bytes), (None, 1_000));
    assert!(shelf.due(start).is_empty(), "on its way");
    assert_eq!(shelf.take("a", answer(200, body("/a")), start), Taken::New);
    assert_eq!(shelf.take("b", answer(200, body("/b")), start), Taken::New);
    assert_eq!(united(&mut shelf).0, ["/a", "/b", "/own"]);
    let later = start + Duration::from_secs(60);
    assert_eq!(shelf.next(), Some(later));
    let wants = shelf.due(later);
    assert_eq!(wants[0].if_none_match.as_deref(), Some("\"1\""));
    assert_eq!(shelf.take("a", answer(304, Vec::new()), later), Taken::Unchanged);
    assert_eq!(shelf.take("b", answer(200, body("/b")), later), Taken::Unchanged);
}

#[test]
fn a_failure_keeps_the_last_good_one_and_is_tried_again_soon() {
    let mut now = Instant::now();
    let mut shelf = shelf(now);
    shelf.due(now);
    shelf.take("a", answer(200, body("/a")), now);
    assert_eq!(united(&mut shelf).0, ["/a", "/own"], "b has not answered yet");
    let failures = [
        Asked::Failed("refused".into()),
        answer(503, Vec::new()),
        answer(304, Vec::new()),
        answer(200, b"{".to_vec()),
        answer(200, b"{}".to_vec()),
        answer(200, vec![b' '; 1_001]),
        answer(200, format!("{}1{}", "[".repeat(400), "]".repeat(400)).into_bytes()),
    ];
    for (number, failure) in failures.into_iter().enumerate() {
        assert!(matches!(shelf.take("b", failure, now), Taken::Kept(_)));
        let wait = Duration::from_secs((1 << number).min(60));
        assert!(shelf.due(now + wait - Duration::from_millis(1)).iter().all(|want| want.upstream != "b"));
        now += wait;
        assert!(shelf.due(now).iter().any(|want| want.upstream == "b"), "after {wait:?}");
    }
    assert_eq!(shelf.take("nobody", answer(200, body("/x")), now), Taken::Unchanged);
    assert_eq!(united(&mut shelf).0, ["/a", "/own"]);
}

#[test]
fn one_that_cannot_be_united_is_refused_alone() {
    let now = Instant::now();
    let mut shelf = shelf(now);
    shelf.due(now);
    shelf.take("a", answer(200, body("/a")), now);
    shelf.take("b", answer(200, body("/b")), now);
    assert_eq!(united(&mut shelf), (vec!["/a".into(), "/b".into(), "/own".into()], 0));
    // Both have news; one takes what the door itself has.
    shelf.take("a", answer(200, body("/a2")), now);
    shelf.take("b", answer(200, body("/own")), now);
    assert_eq!(united(&mut shelf), (vec!["/a2".into(), "/b".into(), "/own".into()], 1));
    assert_eq!(united(&mut shelf).1, 0, "told once");
    shelf.take("b", answer(200, body("/b2")), now);
    assert_eq!(united(&mut shelf).0, ["/a2", "/b2", "/own"]);
}

#[test]
fn settings_of_nothing_are_refused() {
    ShelfConfig::default().check().expect("the defaults are sound");
    assert!(ShelfConfig { max_bytes: 0, ..ShelfConfig::default() }.check().is_err());
}
