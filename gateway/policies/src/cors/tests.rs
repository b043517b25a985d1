//! Origins that look like listed ones, preflights, and what a service must not add.

use super::*;

fn cors(text: &str) -> Cors {
    let config: CorsConfig = toml::from_str(text).expect("TOML");
    Cors::compile(&config).expect("compiles")
}

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, value.parse().expect("a value"));
    }
    headers
}

fn applied(cors: &Cors, origin: Option<&str>, service: &[(HeaderName, &str)]) -> HeaderMap {
    let mut answer = headers(service);
    let origin = origin.map(|origin| HeaderValue::try_from(origin).expect("a value"));
    cors.apply(origin.as_ref(), false, &mut answer);
    answer
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().expect("ASCII"))
}

#[test]
fn only_listed_origins_are_named() {
    let cors = cors(r#"origins = ["https://App.example", "https://*.shop.example:8443", "http://localhost:3000"]"#);
    for (origin, allowed) in [
        ("https://app.example", true),
        ("http://localhost:3000", true),
        ("https://a.shop.example:8443", true),
        ("https://a.b.shop.example:8443", true),
        ("https://shop.example:8443", false),
        ("https://a.shop.example", false),
        ("http://a.shop.example:8443", false),
        ("https://evil-shop.example:8443", false),
        ("https://evil.example/.shop.example:8443", false),
        ("https://evil.example#.shop.example:8443", false),
        ("https://a@.shop.example:8443", false),
        ("https://.shop.example:8443", false),
        ("https://app.example.evil.example", false),
        ("https://app.example:443", false),
        ("https://app.example/", false),
        ("HTTPS://APP.EXAMPLE", false),
        ("http://app.example", false),
        ("null", false),
        ("*", false),
        ("", false),
    ] {
        let answer = applied(&cors, Some(origin), &[]);
        let expected = allowed.then_some(origin);
        assert_eq!(text(&answer, &ACCESS_CONTROL_ALLOW_ORIGIN), expected, "{origin}");
        assert_eq!(text(&answer, &VARY), Some("Origin"), "{origin}");
        assert!(!answer.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }
    assert_eq!(text(&applied(&cors, None, &[]), &VARY), Some("Origin"), "without an origin too");
}

#[test]
fn the_services_own_headers_do_not_pass() {
    let cors = cors(r#"origins = ["https://app.example"]"#);
    let service = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "https://evil.example"),
        (ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "x-secret"),
        (ACCESS_CONTROL_ALLOW_METHODS, "DELETE"),
        (ACCESS_CONTROL_MAX_AGE, "9"),
        (VARY, "Accept"),
    ];
    let answer = applied(&cors, Some("https://evil.example"), &service);
    let mut left: Vec<&str> = answer.values().map(|value| value.to_str().expect("ASCII")).collect();
    left.sort_unstable();
    assert_eq!(left, ["Accept", "Origin"]);
    let twice = applied(&cors, Some("https://app.example"), &[(VARY, "accept, ORIGIN")]);
    assert_eq!(twice.get_all(VARY).iter().count(), 1);
    assert_eq!(text(&applied(&cors, None, &[(VARY, "*")]), &VARY), Some("*"));
}

#[test]
fn a_preflight_is_answered_with_what_is_allowed() {
    let cors = cors(
        r#"
        origins = ["https://app.example"]
        methods = ["GET", "put"]
        request_headers = ["Content-Type", "Authorization"]
        expose_headers = ["ETag"]
        credentials = true
        max_age_seconds = 60
        private_network = true
        "#,
    );
    let asked = headers(&[
        (ORIGIN, "https://app.example"),
        (ACCESS_CONTROL_REQUEST_METHOD, "PUT"),
        (REQUEST_PRIVATE_NETWORK, "true"),
    ]);
    let mut response = cors.preflight(&Method::OPTIONS, &asked).expect("allowed").expect("a preflight");
    cors.apply(asked.get(ORIGIN), true, response.headers_mut());
    assert_eq!(response.status(), 204);
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "https://app.example"),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, PUT"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "content-type, authorization"),
        (ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
        (ACCESS_CONTROL_MAX_AGE, "60"),
        (ALLOW_PRIVATE_NETWORK, "true"),
    ] {
        assert_eq!(text(response.headers(), &name), Some(value), "{name}");
    }
    assert!(!response.headers().contains_key(ACCESS_CONTROL_EXPOSE_HEADERS));
    let answer = applied(&cors, Some("https://app.example"), &[]);
    assert_eq!(text(&answer, &ACCESS_CONTROL_EXPOSE_HEADERS), Some("etag"));

    let foreign = headers(&[(ORIGIN, "https://evil.example"), (ACCESS_CONTROL_REQUEST_METHOD, "PUT")]);
    let error = cors.preflight(&Method::OPTIONS, &foreign).expect_err("refused");
    assert_eq!((error.code(), error.status()), ("gateway.origin_refused", 403));
    let two = headers(&[
        (ORIGIN, "https://app.example"),
        (ORIGIN, "https://evil.example"),
        (ACCESS_CONTROL_REQUEST_METHOD, "PUT"),
    ]);
    assert!(cors.preflight(&Method::OPTIONS, &two).is_err() && Cors::origin(&two).is_none());
}

#[test]
fn what_is_no_preflight_goes_on() {
    let cors = cors(r#"origins = ["*"]"#);
    let asks = (ACCESS_CONTROL_REQUEST_METHOD, "PUT");
    for (method, sent) in [
        (Method::OPTIONS, headers(&[(ORIGIN, "https://a.example")])),
        (Method::OPTIONS, headers(std::slice::from_ref(&asks))),
        (Method::GET, headers(&[(ORIGIN, "https://a.example"), asks.clone()])),
        (Method::OPTIONS, HeaderMap::new()),
    ] {
        assert!(cors.preflight(&method, &sent).expect("no refusal").is_none());
    }
    assert_eq!(text(&applied(&cors, Some("https://a.example"), &[]), &ACCESS_CONTROL_ALLOW_ORIGIN), Some("*"));
}

#[test]
fn any_headers_are_repeated_if_they_are_names() {
    let cors = cors("origins = [\"https://app.example\", \"null\"]\nrequest_headers = [\"*\"]\ncredentials = true");
    let asking = |list: &str| {
        let asked = headers(&[
            (ORIGIN, "null"),
            (ACCESS_CONTROL_REQUEST_METHOD, "GET"),
            (ACCESS_CONTROL_REQUEST_HEADERS, list),
        ]);
        let response = cors.preflight(&Method::OPTIONS, &asked).expect("allowed").expect("a preflight");
        text(response.headers(), &ACCESS_CONTROL_ALLOW_HEADERS).map(str::to_owned)
    };
    assert_eq!(asking("authorization,x-a"), Some("authorization,x-a".to_owned()));
    assert_eq!(asking("a b"), None);
    assert_eq!(asking("a,,b"), None);
    assert_eq!(asking(&"a,".repeat(5_000)), None);
}

#[test]
fn policies_that_would_open_too_much_or_never_match_are_refused() {
    for text in [
        "origins = [\"*\"]\ncredentials = true",
        r#"origins = ["*", "https://a.example"]"#,
        r#"origins = ["https://*.com"]"#,
        r#"origins = ["https://*"]"#,
        r#"origins = ["https://a.*.example"]"#,
        r#"origins = ["a.example"]"#,
        r#"origins = ["https://a.example/"]"#,
        r#"origins = ["https://a.example/path"]"#,
        r#"origins = ["https://ä.example"]"#,
        r#"origins = ["https://a.example:port"]"#,
        r#"origins = ["https://a..example"]"#,
        r#"origins = ["://a.example"]"#,
        r#"methods = ["G T"]"#,
        r#"request_headers = ["*", "a"]"#,
        r#"expose_headers = ["*"]"#,
        r#"expose_headers = ["a b"]"#,
    ] {
        let config: CorsConfig = toml::from_str(text).expect("TOML");
        assert_eq!(config.check().expect_err("refused").code(), "config.invalid", "{text}");
    }
}
