//! What placeholders show, and what they can never break.

use super::*;

fn rendered(template: &str, values: &Values<'_>) -> Option<String> {
    let header = Template::compile(template).expect("compiles").header(values)?;
    Some(String::from_utf8_lossy(header.as_bytes()).into_owned())
}

#[test]
fn placeholders_show_what_the_request_brought() {
    let mut headers = HeaderMap::new();
    headers.insert("accept-language", HeaderValue::from_static("de"));
    let tenant = TenantId::new();
    let values = Values {
        tenant: Some(tenant),
        role: Some("staff"),
        client_ip: Some([192, 0, 2, 1].into()),
        path: &|name| (name == "id").then_some("i7"),
        query: Some("a=1&b%5B=x+y%21&b[=z"),
        ..Values::empty(&headers, Timestamp(0))
    };
    for (template, expected) in [
        ("{tenant}", Some(tenant.to_string())),
        ("<{role}>", Some("<staff>".to_owned())),
        ("{client_ip};{path.id};{query.b[}", Some("192.0.2.1;i7;x y!".to_owned())),
        ("{header.Accept-Language}{{}}", Some("de{}".to_owned())),
        ("{now}", Some("1970-01-01T00:00:00.000000Z".to_owned())),
        ("plain", Some("plain".to_owned())),
        ("user {user}", None),
        ("{path.other}{query.other}{header.other}", None),
        ("{user}{role}", Some("staff".to_owned())),
    ] {
        assert_eq!(rendered(template, &values), expected, "{template}");
    }
}

#[test]
fn nothing_that_is_filled_in_ends_a_header() {
    let headers = HeaderMap::new();
    let long = "a".repeat(100_000);
    for (query, expected) in
        [("a=x%0d%0aEvil:%201", "<xEvil: 1>"), ("a=%00%01%7f%0a", ""), ("a=%0A%0D", ""), ("a=%ff", "<\u{fffd}>")]
    {
        let values = Values { query: Some(query), ..Values::empty(&headers, Timestamp(0)) };
        assert_eq!(rendered("<{query.a}>", &values).unwrap_or_default(), expected, "{query}");
    }
    let values = Values { subject: Some(&long), ..Values::empty(&headers, Timestamp(0)) };
    assert_eq!(rendered("<{subject}>", &values).expect("a value").len(), VALUE_LIMIT);
}

#[test]
fn templates_that_cannot_be_meant_are_refused() {
    for text in ["{", "}", "{tenant", "tenant}", "{nobody}", "{path.}", "{header.a b}", "a\r\nb", "{}", "a\u{7f}"] {
        assert_eq!(Template::compile(text).expect_err("refused").code(), "config.invalid", "{text:?}");
    }
}

#[test]
fn queries_are_encoded_so_that_they_decode_to_the_same() {
    let all: Vec<u8> = (0..=255).collect();
    let mut query = String::new();
    encode(&all, &mut query);
    assert_eq!(decode(&query), all);
    assert_eq!(decode("%zz%4"), b"%zz%4");
}
