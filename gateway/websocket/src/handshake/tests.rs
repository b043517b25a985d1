//! The handshake from both sides, with what is refused.

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn asked(changes: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ] {
        headers.insert(name, value.parse().expect("a value"));
    }
    for (name, value) in changes {
        match value.strip_prefix('+') {
            Some(more) => drop(headers.append(*name, more.parse().expect("a value"))),
            None if value.is_empty() => drop(headers.remove(*name)),
            None => drop(headers.insert(*name, value.parse().expect("a value"))),
        }
    }
    headers
}

fn read(changes: &[(&'static str, &str)]) -> Result<Handshake> {
    Handshake::read(&Method::GET, Version::HTTP_11, &asked(changes), true)
}

#[test]
fn the_example_of_the_standard_is_answered_as_it_says() {
    assert_eq!(accept(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(read(&[]).is_ok());
    assert!(read(&[("content-length", "0")]).is_ok());
}

#[test]
fn a_handshake_that_is_none_is_refused() {
    let refused: &[(&[(&str, &str)], u16)] = &[
        (&[("sec-websocket-version", "8")], 426),
        (&[("sec-websocket-version", "")], 426),
        (&[("sec-websocket-version", "+13")], 426),
        (&[("sec-websocket-key", "")], 400),
        (&[("sec-websocket-key", "dGhl")], 400),
        (&[("sec-websocket-key", "not base64 at all, no")], 400),
        (&[("sec-websocket-key", "+dGhlIHNhbXBsZSBub25jZQ==")], 400),
        (&[("upgrade", "websocket, h2c")], 400),
        (&[("upgrade", "+websocket")], 400),
        (&[("content-length", "5")], 400),
        (&[("transfer-encoding", "chunked")], 400),
        (&[("sec-websocket-protocol", "a, a")], 400),
        (&[("sec-websocket-protocol", "a b")], 400),
        (&[("sec-websocket-extensions", "a; b=\"c")], 400),
        (&[("sec-websocket-extensions", "(a)")], 400),
    ];
    for (changes, status) in refused {
        assert_eq!(read(changes).expect_err("refused").status(), *status, "{changes:?}");
    }
    let headers = asked(&[]);
    assert!(Handshake::read(&Method::POST, Version::HTTP_11, &headers, true).is_err());
    assert!(Handshake::read(&Method::GET, Version::HTTP_10, &headers, true).is_err());
    assert!(Handshake::read(&Method::GET, Version::HTTP_2, &headers, true).is_err());
}

fn answer(handshake: &Handshake, changes: &[(&'static str, &str)]) -> Result<u8> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(SEC_WEBSOCKET_ACCEPT, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".parse().expect("a value"));
    upgrade(headers);
    for (name, value) in changes {
        headers.insert(*name, value.parse().expect("a value"));
    }
    handshake.agree(&mut response)
}

#[test]
fn an_answer_takes_only_what_was_offered() {
    let offer = [
        ("sec-websocket-protocol", "chat, Superchat"),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits, x-two; q=\"a,b\""),
    ];
    let handshake = read(&offer).expect("a handshake");
    assert_eq!(answer(&handshake, &[]).expect("agreed"), 0);
    assert_eq!(answer(&handshake, &[("sec-websocket-protocol", "Superchat")]).expect("agreed"), 0);
    let deflate = ("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover");
    assert_eq!(answer(&handshake, &[deflate]).expect("agreed"), COMPRESSED);
    assert_eq!(answer(&handshake, &[("sec-websocket-extensions", "x-two")]).expect("agreed"), ALL_RESERVED);
    for refused in [
        ("sec-websocket-accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("upgrade", "h2c"),
        ("connection", "close"),
        ("sec-websocket-protocol", "superchat"),
        ("sec-websocket-protocol", "chat, Superchat"),
        ("sec-websocket-extensions", "x-three"),
        ("sec-websocket-extensions", "permessage-deflate, permessage-deflate"),
    ] {
        assert_eq!(answer(&handshake, &[refused]).expect_err("refused").status(), 502, "{refused:?}");
    }
    let plain = Handshake::read(&Method::GET, Version::HTTP_11, &asked(&offer), false).expect("a handshake");
    let mut onward = asked(&offer);
    plain.ask(&mut onward);
    assert!(!onward.contains_key(SEC_WEBSOCKET_EXTENSIONS));
    assert!(answer(&plain, &[deflate]).is_err(), "not passed on, so not offered");
}

#[test]
fn a_refusal_ends_the_connection_and_names_the_version() {
    let mut response = Response::new(Body::empty());
    complete_refusal(&mut response);
    assert_eq!(response.headers()[CONNECTION], "close");
    *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
    complete_refusal(&mut response);
    assert_eq!(response.headers()[SEC_WEBSOCKET_VERSION], "13");
    assert!(lists(response.headers(), &CONNECTION, "close") && lists(response.headers(), &CONNECTION, "upgrade"));
}
