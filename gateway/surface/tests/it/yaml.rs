//! YAML means what the JSON meant. Not for reading others' YAML.

use serde_json::{Value, json};

#[test]
fn every_text_comes_back() {
    let texts = [
        "on", "no", "y", "Null", "~", "", " ", "1", "1.0", "1e3", "0x1f", "012", "1_000", "1:30", "2026-11-21", ".inf",
        "a: b", "# c", "- a", "? a", "!x", "&a", "*a", "%a", "@x", "`x", "a #b", "{", "[", "\"q\"", "'q'", "=", "<<",
        "two\nlines", "two\nlines\n", "\n", "end \n", "  in\n front", "tab\tin", "\u{0}\u{7}", "\u{2028}", "\u{feff}x", "日本",
        "a very long line that goes on and on, so that a writer of YAML may think of folding it: which it may, if it comes back",
        "long  with  two  spaces  and an end  of spaces that goes on and on and on and on and on and on and on and on  ",
    ];
    let document = json!({
        "values": texts.to_vec(), "keys": texts.iter().map(|text| ((*text).to_owned(), json!(1))).collect::<serde_json::Map<_, _>>(),
        "numbers": [0, -1, 1.5, 1e300, 18446744073709551615u64, i64::MIN], "rest": [null, true, false, {}, [], [[]], [{ "a": [{}] }]],
    });
    let text = surface::to_yaml(&document).expect("writes");
    let back: Value = serde_saphyr::from_str(&text).expect("reads");
    assert_eq!(back, document, "{text}");
}

#[test]
fn a_document_is_in_the_order_of_reading() {
    let document = json!({ "paths": {}, "openapi": "3.1.0", "components": {}, "info": { "version": "1", "title": "T" }, "x-a": 1 });
    let text = surface::to_yaml(&document).expect("writes");
    let keys: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(':').next()).collect();
    assert_eq!(keys, ["openapi", "info", "paths", "components", "x-a"]);
}
