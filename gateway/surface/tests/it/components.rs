//! Components of two documents: shared, renamed, referred to. Not for paths.

use serde_json::json;

use crate::house::{answered, document, gives, plain, to, unite};

#[test]
fn equal_components_are_shared_and_different_ones_renamed() {
    let pet = json!({ "type": "object", "properties": { "owner": to("Owner") } });
    let schemas = |owner: &str| json!({ "Pet": pet, "Owner": { "type": owner }, "Same": { "type": "integer" } });
    let paths = |path: &str| json!({ path: gives(json!({ "anyOf": [to("Pet"), to("Same")] })) });
    let a = plain("a", document("3.1.0", paths("/a"), schemas("string")));
    let b = plain("b", document("3.1.0", paths("/b"), schemas("object")));
    let c = plain("c", document("3.1.0", paths("/c"), schemas("object")));
    let united = unite(&[a, b, c]);
    // The text of Pet is the same everywhere; what it refers to is not.
    assert_eq!(answered(&united, "/a")["anyOf"], json!([to("Pet"), to("Same")]));
    assert_eq!(answered(&united, "/b")["anyOf"], json!([to("B_Pet"), to("Same")]));
    assert_eq!(answered(&united, "/c")["anyOf"], json!([to("B_Pet"), to("Same")]));
    assert_eq!(united.document["components"]["schemas"]["B_Pet"]["properties"]["owner"], to("B_Owner"));
    assert_eq!(united.document["components"]["schemas"].as_object().expect("schemas").len(), 5);
    assert!(united.findings.is_empty(), "{:?}", united.findings);
}

#[test]
fn cycles_are_shared_when_they_are_equal_all_the_way_round() {
    let ring = |last: &str| {
        json!({
            "A": { "properties": { "next": to("B") } },
            "B": { "properties": { "next": to("C") } },
            "C": { "properties": { "next": to("A"), "end": { "type": last } } },
        })
    };
    let source = |name: &str, last: &str| {
        plain(name, document("3.1.0", json!({ format!("/{name}"): gives(to("A")) }), ring(last)))
    };
    let united = unite(&[source("one", "string"), source("two", "string"), source("three", "integer")]);
    assert_eq!(answered(&united, "/two"), &to("A"));
    assert_eq!(answered(&united, "/three"), &to("Three_A"));
    let schemas = &united.document["components"]["schemas"];
    assert_eq!(schemas.as_object().expect("schemas").len(), 6);
    assert_eq!(schemas["Three_C"]["properties"]["next"], to("Three_A"));
}

#[test]
fn a_chain_that_differs_at_its_end_differs_from_its_beginning() {
    let length = 5_000;
    let chain = |end: &str| {
        let links = (0..length).map(|at| (format!("S{at}"), json!({ "items": to(&format!("S{}", at + 1)) })));
        links.chain([(format!("S{length}"), json!({ "type": end }))]).collect::<serde_json::Map<_, _>>()
    };
    let source = |name: &str, end: &str| {
        plain(name, document("3.1.0", json!({ format!("/{name}"): gives(to("S0")) }), json!(chain(end))))
    };
    let united = unite(&[source("one", "string"), source("two", "integer")]);
    assert_eq!(answered(&united, "/two"), &to("Two_S0"));
    assert_eq!(united.document["components"]["schemas"].as_object().expect("schemas").len(), 2 * (length + 1));
}

#[test]
fn only_what_is_needed_comes_along() {
    let schemas = json!({ "Used": { "items": to("Deep") }, "Deep": {}, "Unused": { "items": to("Gone") } });
    let united = unite(&[plain("a", document("3.1.0", json!({ "/a": gives(to("Used")) }), schemas))]);
    let names: Vec<&String> = united.document["components"]["schemas"].as_object().expect("schemas").keys().collect();
    assert_eq!(names, ["Deep", "Used"]);
    assert!(united.findings.is_empty(), "nobody reads Unused");
}

#[test]
fn references_of_every_form_lead_to_what_they_meant() {
    let mut given = document(
        "3.1.0",
        json!({
            "/x/{id}": gives(json!({ "type": "object", "properties": { "deep": { "type": "string" } } })),
            "/y": gives(json!({ "$ref": "#/paths/~1x~1%7Bid%7D/get/responses/200/content/application~1json/schema/properties/deep" })),
            "/z": gives(json!({ "$ref": "#Anchored" })),
            "/w": gives(json!({ "$ref": "#/components/schemas/Caf%C3%A9%20au~1lait", "description": "beside" })),
            "/v": gives(json!({ "$ref": "https://example.com/schemas/v" })),
        }),
        json!({
            "Named": { "$anchor": "Anchored", "type": "boolean" },
            "Café au/lait": { "type": "number" },
            "WithId": { "$id": "https://example.com/schemas/v", "items": { "$ref": "#/$defs/inner" }, "$defs": { "inner": { "type": "null" } } },
        }),
    );
    given["paths"]["/x/{id}"]["parameters"] = json!([{ "name": "id", "in": "path", "required": true, "schema": {} }]);
    let united = unite(&[plain("a", given)]);
    assert!(united.findings.is_empty(), "{:?}", united.findings);
    let target = |path: &str| {
        let reference = answered(&united, path)["$ref"].as_str().expect("a reference").to_owned();
        united.document.pointer(&reference[1..]).expect("there").clone()
    };
    assert_eq!(target("/y"), json!({ "type": "string" }));
    assert_eq!(target("/z"), json!({ "type": "boolean" }));
    assert_eq!(target("/w"), json!({ "type": "number" }));
    assert_eq!(answered(&united, "/w")["description"], "beside");
    let inner = target("/v")["items"]["$ref"].as_str().expect("a reference").to_owned();
    assert_eq!(united.document.pointer(&inner[1..]), Some(&json!({ "type": "null" })));
    let names = united.document["components"]["schemas"].as_object().expect("schemas").keys();
    assert!(names.clone().all(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))), "{names:?}");
}

#[test]
fn what_is_missing_is_told_with_its_place() {
    let mut given = document("3.1.0", json!({ "/a": gives(to("Gone")) }), json!({}));
    given["paths"]["/a"]["get"]["parameters"] = json!([{ "$ref": "#/components/parameters/none" }]);
    given["paths"]["/a"]["get"]["responses"]["400"] = json!({ "$ref": "other.yaml#/Problem" });
    given["paths"]["/a"]["get"]["security"] = json!([{ "nobody": [] }, {}]);
    let united = unite(&[plain("a", given)]);
    let at: Vec<&str> = united.findings.iter().map(|finding| finding.at.as_str()).collect();
    assert_eq!(
        at,
        [
            "/paths/~1a/get/responses/200/content/application~1json/schema",
            "/paths/~1a/get/responses/400",
            "/paths/~1a/get/parameters/0",
            "/paths/~1a/get",
        ]
    );
    assert!(united.findings[1].what.contains("another document"), "{}", united.findings[1]);
    let operation = &united.document["paths"]["/a"]["get"];
    assert_eq!(operation["parameters"], json!([]));
    assert_eq!(operation["responses"]["400"]["description"], "Not described");
    assert_eq!(operation["security"], json!([{}]));
}

#[test]
fn data_that_look_like_references_stay_data() {
    let data = json!({ "$ref": "#/components/schemas/Gone", "nul": "\u{0}c0", "\u{0}c1": 1, "\u{0}implicit": { "a": "\u{0}c0" } });
    let schema = json!({
        "type": "object", "properties": { "$ref": { "type": "string" } },
        "default": data, "examples": [data], "enum": [data], "const": data, "x-data": data,
    });
    let united = unite_loosely(schema.clone());
    assert_eq!(united, schema);
}

fn unite_loosely(schema: serde_json::Value) -> serde_json::Value {
    let source = plain("a", document("3.1.0", json!({ "/a": gives(schema) }), json!({})));
    let united = surface::unite(&crate::house::door(), &[source]).expect("unites");
    answered(&united, "/a").clone()
}

#[test]
fn discriminators_keep_their_meaning_under_new_names() {
    let schemas = |kind: &str| {
        json!({
            "Pet": { "oneOf": [to("Dog"), to("Cat")],
                "discriminator": { "propertyName": "kind", "mapping": { "meow": "Cat" } } },
            "Dog": { "type": kind }, "Cat": { "type": "object" },
            "Base": { "type": "object", "title": kind, "discriminator": { "propertyName": "t" } },
            "Heir": { "allOf": [to("Base"), { "type": "object" }] },
            "Grandchild": { "allOf": [to("Heir")] },
        })
    };
    let source = |name: &str, kind: &str| {
        let paths = json!({ format!("/{name}"): gives(json!({ "anyOf": [to("Pet"), to("Base")] })) });
        plain(name, document("3.1.0", paths, schemas(kind)))
    };
    let united = unite(&[source("one", "object"), source("two", "string")]);
    let schemas = &united.document["components"]["schemas"];
    let reference = |name: &str| format!("#/components/schemas/{name}");
    assert_eq!(schemas["Pet"]["discriminator"]["mapping"], json!({ "meow": reference("Cat") }));
    assert_eq!(
        schemas["Two_Pet"]["discriminator"]["mapping"],
        json!({ "meow": reference("Cat"), "Dog": reference("Two_Dog") })
    );
    assert_eq!(schemas["Base"]["discriminator"], json!({ "propertyName": "t" }));
    assert_eq!(
        schemas["Two_Base"]["discriminator"]["mapping"],
        json!({ "Heir": reference("Two_Heir"), "Grandchild": reference("Two_Grandchild") }),
        "who builds on it is needed, though nothing refers to it"
    );
}
