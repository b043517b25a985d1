//! Portico's own document, as it is committed: united, cut, folded, written as YAML. Not for others'.

use serde_json::{Value, json};
use surface::{Door, Source};

use crate::house::assert_whole;

fn committed() -> Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi/portico.json"));
    serde_json::from_str(&text.expect("the committed document")).expect("JSON")
}

fn door(document: &Value) -> Door {
    Door::of(document, vec![json!({ "bearer": [] })])
}

#[test]
fn alone_it_stays_as_it_is() {
    let document = committed();
    let united = surface::unite(&door(&document), &[Source::own("portico", document.clone())]).expect("unites");
    assert!(united.findings.is_empty(), "{:?}", united.findings);
    assert_eq!(united.document, document);
}

#[test]
fn beside_another_it_keeps_every_name() {
    let document = committed();
    let other = json!({ "openapi": "3.0.0", "info": { "title": "O", "version": "1" }, "paths": {
        "/other": { "get": { "responses": { "200": { "description": "", "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Problem" } } } } } } } },
        "components": { "schemas": { "Problem": { "type": "string" } } } });
    let sources = [crate::house::plain("other", other), Source::own("portico", document.clone())];
    // Even when the other is first, which it should not be, its operation ids give way.
    let united = surface::unite(&door(&document), &sources).expect("unites");
    assert_whole(&united.document);
    let own_first = surface::unite(&door(&document), &[sources[1].clone(), sources[0].clone()]).expect("unites");
    assert_whole(&own_first.document);
    assert_eq!(own_first.document["components"]["schemas"]["Problem"], document["components"]["schemas"]["Problem"]);
    assert_eq!(own_first.document["components"]["schemas"]["Other_Problem"], json!({ "type": "string" }));
    for (path, item) in document["paths"].as_object().expect("paths") {
        assert_eq!(own_first.document["paths"][path], *item);
    }
}

#[test]
fn its_parts_are_whole_and_together_everything() {
    let document = committed();
    let mut count = 0;
    for tag in document["tags"].as_array().expect("tags") {
        let part = surface::part(&document, |_, _, operation| operation["tags"][0] == tag["name"]).expect("a part");
        assert_whole(&part);
        let items = part["paths"].as_object().expect("paths").values();
        count += items.flat_map(|item| item.as_object()).map(serde_json::Map::len).sum::<usize>();
        let folded = surface::fold(&part);
        assert_whole(&folded);
        assert!(surface::compare(&part, &folded).is_empty(), "folding changes nothing");
    }
    let items = document["paths"].as_object().expect("paths").values();
    assert_eq!(count, items.flat_map(|item| item.as_object()).map(serde_json::Map::len).sum::<usize>());
}

#[test]
fn folded_it_says_the_same_and_is_shorter() {
    let document = committed();
    let folded = surface::fold(&document);
    assert_whole(&folded);
    assert!(surface::compare(&document, &folded).is_empty());
    assert!(surface::compare(&folded, &document).is_empty());
    let (before, after) = (document.to_string().len(), folded.to_string().len());
    assert!(after * 10 < before * 7, "{before} bytes became {after}");
}

#[test]
fn its_collection_sends_every_operation() {
    let document = committed();
    let collection = surface::collection(&document, &surface::Hints::default());
    let folders = collection["item"].as_array().expect("folders");
    let sent: usize = folders.iter().map(|folder| folder["item"].as_array().expect("requests").len()).sum();
    let items = document["paths"].as_object().expect("paths").values();
    assert_eq!(sent, items.flat_map(|item| item.as_object()).map(serde_json::Map::len).sum::<usize>());
    let again = surface::collection(&document, &surface::Hints::default());
    assert_eq!(collection, again);
}
