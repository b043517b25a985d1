//! The filter against a parser that reads the whole document: on documents and plans from a generator, and on
//! documents damaged in one place.

use serde_json::{Map, Value, json};

use super::*;
use crate::json::{JsonConfig, OnInvalid};

fn plan(text: &str) -> JsonPlan {
    let config: JsonConfig = toml::from_str(text).expect("TOML");
    JsonPlan::compile(&config).expect("compiles")
}

/// Filters a document in chunks of these sizes, in turn.
fn filtered(plan: &JsonPlan, document: &[u8], sizes: &[usize]) -> Result<String, ()> {
    let mut filter = Filter::new(plan.clone(), vec![Some(b"\"shown\"".to_vec()), None]);
    let (mut out, mut rest, mut turn) = (Vec::new(), document, 0);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(sizes[turn % sizes.len()].clamp(1, rest.len()));
        filter.push(chunk, &mut out).map_err(drop)?;
        (rest, turn) = (after, turn + 1);
    }
    filter.finish(&mut out).map_err(|NotJson| ())?;
    Ok(String::from_utf8(out).expect("UTF-8"))
}

fn check(rules: &str, document: &str, expected: &str) {
    let plan = plan(rules);
    for sizes in [&[usize::MAX][..], &[1], &[2], &[3, 1], &[7]] {
        assert_eq!(
            filtered(&plan, document.as_bytes(), sizes).as_deref(),
            Ok(expected),
            "{rules} {document} {sizes:?}"
        );
    }
}

#[test]
fn members_are_removed_wherever_they_are() {
    let rules = r#"remove = ["a", "b.c"]"#;
    check(rules, r#"{"a":1,"b":{"c":2,"d":3},"e":4}"#, r#"{"b":{"d":3},"e":4}"#);
    check(rules, r#" { "e" : [ 1 , { "a" : 1 } ] , "a" : { "x" : [ ] } } "#, r#"{"e":[1,{"a":1}]}"#);
    check(rules, r#"[{"a":1},{"b":[{"c":1},{"c":2,"d":3}]}]"#, r#"[{},{"b":[{},{"d":3}]}]"#);
    check(rules, r#"{"a":1,"a":2,"a":{"a":3}}"#, "{}");
    check(rules, r#"{"\u0061":1,"b":{"\u0063":2},"\u00e4":3}"#, r#"{"b":{},"\u00e4":3}"#);
    check(rules, r#"{"b":5,"aa":"a","":"}\"{","c":null}"#, r#"{"b":5,"aa":"a","":"}\"{","c":null}"#);
    for scalar in ["1", "\"a\"", "null", "true", "false", "-0.5e+10", "0"] {
        check(rules, scalar, scalar);
    }
    check(rules, "[]", "[]");
}

#[test]
fn only_what_is_named_is_kept() {
    let rules = r#"keep = ["id", "user.name", "items.price"]"#;
    check(
        rules,
        r#"{"secret":{"id":1},"id":7,"user":{"name":"a","password":"b"},"items":[{"price":1,"cost":2},3,{"cost":4}]}"#,
        r#"{"id":7,"user":{"name":"a"},"items":[{"price":1},{}]}"#,
    );
    check(rules, r#"{"user":"root","items":[[{"price":1,"x":2}],null],"x":[1,[2]]}"#, r#"{"items":[[{"price":1}]]}"#);
    check(rules, r#"[{"id":{"any":[1]},"x":1}]"#, r#"[{"id":{"any":[1]}}]"#);
    check(r#"keep = ["a"]"#, r#"{"x":"\\\"","a":1,"y":[[[]]]}"#, r#"{"a":1}"#);
    check("keep = [\"a\"]\nremove = [\"a.b\"]", r#"{"a":{"b":1,"c":2},"b":3}"#, r#"{"a":{"c":2}}"#);
    check("keep = [\"c\"]\nremove = [\"a.b\"]", r#"{"a":{"b":1,"c":2},"c":3}"#, r#"{"c":3}"#);
}

#[test]
fn members_are_renamed_and_set() {
    check(r#"rename = { "a" = "ä\"" }"#, r#"{"a":1,"b":{"a":2},"\u0061":3}"#, r#"{"ä\"":1,"b":{"a":2},"ä\"":3}"#);
    check(r#"rename = { "a" = "b" }"#, r#"{"b":0,"a":1,"b":2}"#, r#"{"b":1}"#);
    check("rename = { \"u\" = \"user\" }\nremove = [\"u.p\"]", r#"{"u":{"p":1,"q":2}}"#, r#"{"user":{"q":2}}"#);
    check(r#"set = { "a" = 1, "m.t" = "x" }"#, r#"{"a":9,"b":2}"#, r#"{"b":2,"a":1,"m":{"t":"x"}}"#);
    check(r#"set = { "m.t" = "x" }"#, r#"{"m":{"t":1,"u":2}}"#, r#"{"m":{"u":2,"t":"x"}}"#);
    check(r#"set = { "m.t" = "x" }"#, r#"{"m":5}"#, r#"{"m":5}"#);
    check(r#"set = { "a" = "{tenant}", "b" = "{user}" }"#, r#"{"b":1}"#, r#"{"a":"shown"}"#);
    check("keep = [\"c\"]\nset = { \"m.t\" = [1] }", r#"{"a":1,"c":2,"m":{"x":1}}"#, r#"{"c":2,"m":{"t":[1]}}"#);
    check(r#"set = { "a" = 1 }"#, "[{},{\"a\":2},3]", r#"[{"a":1},{"a":1},3]"#);
    check("before = '{\"data\":'\nafter = ',\"ok\":true}'", " [1, 2] ", r#"{"data":[1,2],"ok":true}"#);
}

#[test]
fn keys_of_any_length_pass_and_are_not_held() {
    let long = "k".repeat(100_000);
    let document = format!(r#"{{"x":1,"{long}":{{"a":2}},"a":3,"y":4}}"#);
    check(r#"remove = ["a"]"#, &document, &format!(r#"{{"x":1,"{long}":{{"a":2}},"y":4}}"#));
    check(r#"keep = ["a"]"#, &document, r#"{"a":3}"#);
    check(r#"remove = ["a"]"#, &format!(r#"{{"{long}":1,"{long}":2}}"#), &format!(r#"{{"{long}":1,"{long}":2}}"#));
    let escaped: String = "k".repeat(128).bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    check(&format!(r#"remove = ["{}"]"#, "k".repeat(128)), &format!(r#"{{"{escaped}":1}}"#), "{}");
    let mut filter = Filter::new(plan(r#"remove = ["a"]"#), Vec::new());
    filter.push(document.as_bytes(), &mut Vec::new()).expect("JSON");
    assert!(filter.key.capacity() <= 4 * 100_000 && filter.pending.capacity() <= 4 * KEY_LIMIT);
}

#[test]
fn what_is_not_json_is_noticed() {
    let plan = plan(r#"remove = ["a"]"#);
    for document in [
        "",
        " ",
        "{",
        "}",
        "]",
        "[",
        "{]",
        "[}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "01",
        "-",
        "-a",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "0x1",
        "NaN",
        "tru",
        "truee",
        "nul",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u12",
        "\"a\nb\"",
        "\"\u{0}\"",
        "{} {}",
        "1 1",
        "[]]",
        "{}}",
        "\u{feff}{}",
        "// x\n{}",
        "{\"a\":1 \"b\":2}",
        "[1,,2]",
        "\"a\" \"b\"",
        "{\"b\":tru}",
        "{\"a\":tru}",
        "1,",
        "{\"a\":[}",
        "{\"b\":01}",
        "{\"a\":-}",
        "{\"a\":{\"b\"}}",
    ] {
        for sizes in [&[usize::MAX][..], &[1]] {
            assert_eq!(filtered(&plan, document.as_bytes(), sizes), Err(()), "{document:?}");
        }
    }
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(filtered(&plan, deep(128).as_bytes(), &[7]).is_ok());
    assert!(filtered(&plan, deep(129).as_bytes(), &[7]).is_err());
    assert!(filtered(&plan, "{\"a\":".repeat(1_000_000).as_bytes(), &[4_096]).is_err());
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn name(&mut self) -> String {
        ["a", "b", "c", "d", "ä\"\\"][self.below(5) as usize].to_owned()
    }

    fn value(&mut self, depth: u64) -> Value {
        match self.below(if depth == 0 { 5 } else { 9 }) {
            0 => json!(null),
            1 => json!(self.below(2) == 0),
            2 => json!(self.below(1_000) as i64 - 500),
            3 => json!(self.below(1_000) as f64 / 16.0),
            4 => json!(["", "x", "\"\\/\u{8}\n\t", "{\"a\":1}", "💥\u{0}"][self.below(5) as usize]),
            5 | 6 => Value::Array((0..self.below(4)).map(|_| self.value(depth - 1)).collect()),
            _ => Value::Object((0..self.below(5)).map(|_| (self.name(), self.value(depth - 1))).collect()),
        }
    }

    fn paths(&mut self) -> Vec<String> {
        (0..self.below(4)).map(|_| (0..=self.below(3)).map(|_| self.name()).collect::<Vec<_>>().join(".")).collect()
    }
}

/// The same changes on a whole document: removals, and keeping alone.
fn expected(value: Value, at: &[String], keep: &[String], remove: &[String]) -> Option<Value> {
    let path = at.join(".");
    let inside = |list: &[String]| list.iter().any(|known| known.starts_with(&format!("{path}.")) || path.is_empty());
    let kept_whole = keep.iter().any(|known| path == *known || path.starts_with(&format!("{known}.")));
    let parts_only = !keep.is_empty() && !kept_whole;
    if remove.contains(&path) || parts_only && !inside(keep) {
        return None;
    }
    match value {
        Value::Object(members) => {
            let mut changed = Map::new();
            for (name, value) in members {
                let below = [at, std::slice::from_ref(&name)].concat();
                if let Some(value) = expected(value, &below, keep, remove) {
                    changed.insert(name, value);
                }
            }
            Some(Value::Object(changed))
        }
        Value::Array(elements) => {
            let changed = elements.into_iter().filter_map(|element| expected(element, at, keep, remove));
            Some(Value::Array(changed.collect()))
        }
        _ if parts_only && !at.is_empty() => None,
        scalar => Some(scalar),
    }
}

#[test]
fn generated_documents_come_out_as_if_they_had_been_read_whole() {
    let mut random = Random(11);
    let mut compared = 0;
    for _ in 0..4_000 {
        let (keep, remove) = (random.paths(), random.paths());
        let config = JsonConfig { keep: keep.clone(), remove: remove.clone(), ..JsonConfig::default() };
        // Plans that contradict themselves are refused when they are compiled.
        let Ok(plan) = JsonPlan::compile(&config) else { continue };
        let document = random.value(4);
        if document.is_array() && !keep.is_empty() {
            continue;
        }
        let text = match random.below(2) {
            0 => serde_json::to_string(&document),
            _ => serde_json::to_string_pretty(&document),
        };
        let text = text.expect("JSON");
        let whole = filtered(&plan, text.as_bytes(), &[usize::MAX]).expect("JSON");
        let sizes: Vec<usize> = (0..8).map(|_| 1 + random.below(9) as usize).collect();
        assert_eq!(filtered(&plan, text.as_bytes(), &sizes).as_ref(), Ok(&whole), "{text}");
        let read: Value = serde_json::from_str(&whole).expect("JSON comes out");
        assert_eq!(Some(read), expected(document, &[], &keep, &remove), "keep {keep:?} remove {remove:?} {text}");
        compared += 1;
    }
    assert!(compared > 1_500, "{compared}");
}

#[test]
fn damaged_documents_are_noticed_as_a_strict_parser_does() {
    let mut random = Random(5);
    let plan = plan(r#"remove = ["a.b"]"#);
    let bytes = b"{}[]\",:0123456789-+.eEtrufalsn\\ /b\x01\t x\"\"{}[]";
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut text = serde_json::to_vec(&random.value(3)).expect("JSON");
        let at = random.below(text.len() as u64) as usize;
        let byte = bytes[random.below(bytes.len() as u64) as usize];
        match random.below(4) {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            2 => drop(text.remove(at)),
            _ => text.truncate(at),
        }
        let strict = serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok();
        if std::str::from_utf8(&text).is_ok() {
            let ours = filtered(&plan, &text, &[3, 1, 5]);
            assert_eq!(ours.is_ok(), strict, "{:?}", String::from_utf8_lossy(&text));
            refused += u32::from(!strict);
        }
    }
    assert!(refused > 5_000, "{refused}");
}

#[test]
fn changes_that_contradict_themselves_are_refused() {
    for text in [
        r#"keep = [""]"#,
        r#"keep = ["a.", "b"]"#,
        r#"keep = ["a", "a"]"#,
        r#"keep = ["a", "a.b"]"#,
        r#"keep = ["a.b", "a"]"#,
        r#"remove = ["a", "a"]"#,
        "remove = [\"a\"]\nset = { a = 1 }",
        "remove = [\"a\"]\nrename = { a = \"b\" }",
        "rename = { a = \"b\", c = \"b\" }",
        "set = { a = 1, \"a.b\" = 2 }",
        "rename = { a = \"b\" }\nset = { b = 1 }",
        "before = \"{\"",
        "after = \"x\"",
        "set = { a = \"{nobody}\" }",
        "max_depth = 0",
    ] {
        let config: JsonConfig = toml::from_str(text).expect("TOML");
        assert_eq!(config.check().expect_err(text).code(), "config.invalid", "{text}");
    }
    assert_eq!(JsonConfig::default().on_invalid, OnInvalid::Fail);
}
