//! Tokens that must not be believed, one line each, beside the ones they are made from, which must be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use issuers::{Config, Issuers, Secret};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::support::{Key, Reply, SECONDS, Server, change, claims, clock, config, set, text};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

struct Scene {
    issuers: Issuers,
    es: Key,
    p384: Key,
    ed: Key,
    rs: Key,
    ps: Key,
    other: Key,
    mallory: Key,
    _folder: tempfile::TempDir,
}

/// Three issuers: one with a key of each kind, another one, and one with a secret.
fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("a folder");
    let (es, p384, ed) = (Key::p256("es"), Key::p384("p384"), Key::ed("ed"));
    let (rs, ps) = (Key::rsa("rs"), Key::pss("ps"));
    // The same name for another key, at another issuer.
    let (other, mallory) = (Key::p256("es"), Key::p256("mallory"));
    let (first, second) = (folder.path().join("first.json"), folder.path().join("second.json"));
    std::fs::write(&first, set([&es, &p384, &ed, &rs, &ps])).expect("written");
    std::fs::write(&second, set([&other])).expect("written");
    let login = Config { jwks_file: first, refetch_window_ms: 1, ..config() };
    let second =
        Config { name: "other".into(), issuer: "https://other.example".into(), jwks_file: second, ..login.clone() };
    let shared = Config {
        name: "shared".into(),
        issuer: "shared".into(),
        jwks_file: Default::default(),
        secret: Secret(SECRET.into()),
        ..login.clone()
    };
    let issuers = Issuers::build(&[login, second, shared], None, &Handle::current(), clock()).expect("issuers");
    Scene { issuers, es, p384, ed, rs, ps, other, mallory, _folder: folder }
}

fn hmac(algorithm: Algorithm, secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).expect("signs");
    format!("{message}.{signature}")
}

fn claims_with(changed: Value) -> Value {
    let mut claims = claims();
    change(&mut claims, &changed);
    claims
}

#[tokio::test]
async fn good_tokens_of_every_kind_are_believed() {
    let scene = scene();
    for key in [&scene.es, &scene.p384, &scene.ed, &scene.rs, &scene.ps] {
        let what = key.algorithm();
        let caller = scene.issuers.check(&key.token()).await.expect(what);
        assert_eq!((&*caller.subject, caller.tenant_name.as_deref()), ("u1", Some("acme")));
        assert_eq!(caller.key_id.as_deref(), Some(key.id.as_str()));
        assert!(caller.permissions.allows("items.read"));
    }
    let renamed = scene.ed.headed(&json!({ "alg": "Ed25519" }));
    scene.issuers.check(&renamed).await.expect("the name of RFC 9864");
    let elsewhere = scene.other.with(&json!({ "iss": "https://other.example" }));
    assert_eq!(&*scene.issuers.check(&elsewhere).await.expect("the other").issuer, "other");
    let shared = claims_with(json!({ "iss": "shared" }));
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let token = hmac(Algorithm::HS256, SECRET.as_bytes(), &header, &shared);
    assert_eq!(&*scene.issuers.check(&token).await.expect("the secret").issuer, "shared");
    // What is not understood and not critical is let be (RFC 7515, section 4).
    let strange = scene.es.headed(&json!({ "x": { "y": 1 }, "zip": "DEF", "cty": "at", "jku": "https://a.example" }));
    scene.issuers.check(&strange).await.expect("unknown members");
    let padded = scene.es.signed(&format!(" {} ", scene.es.header()), &format!("\n{}\t", claims()));
    scene.issuers.check(&padded).await.expect("white space inside");
}

/// Signatures and algorithms.
fn forged(scene: &Scene) -> Vec<(&'static str, String)> {
    let Scene { es, p384, ed, rs, ps, other, mallory, .. } = scene;
    let parts = |token: &str| -> Vec<String> { token.split('.').map(str::to_owned).collect() };
    let good = parts(&es.token());
    let (header, payload, signature) = (&good[0], &good[1], &good[2]);
    let hs = json!({ "alg": "HS256", "kid": "rs", "typ": "at+jwt" });
    let none = |name: &str| {
        let header = json!({ "alg": name, "kid": "es", "typ": "at+jwt" }).to_string();
        format!("{}.{payload}.", text(header))
    };
    let mut tokens = vec![
        ("none", none("none")),
        ("None", none("None")),
        ("NONE", none("NONE")),
        ("no algorithm and no signature", none("")),
        ("none with a signature", format!("{}{signature}", none("none"))),
        ("no algorithm", es.headed(&json!({ "alg": null }))),
        ("an algorithm that is a list", es.headed(&json!({ "alg": ["ES256"] }))),
        ("an algorithm in small letters", es.headed(&json!({ "alg": "es256" }))),
        ("another curve", es.headed(&json!({ "alg": "ES256K" }))),
        ("two algorithms", es.signed(r#"{"alg":"none","alg":"ES256","kid":"es","typ":"JWT"}"#, &claims().to_string())),
        ("HS256 with the modulus", hmac(Algorithm::HS256, &rs.der(), &hs, &claims())),
        ("HS256 with the JWK", hmac(Algorithm::HS256, rs.jwk().to_string().as_bytes(), &hs, &claims())),
        ("HS256 with the n", hmac(Algorithm::HS256, rs.jwk()["n"].as_str().expect("n").as_bytes(), &hs, &claims())),
        ("HS256 with nothing", hmac(Algorithm::HS256, b"", &hs, &claims())),
        ("HS512 with DER", hmac(Algorithm::HS512, &rs.der(), &json!({ "alg": "HS512", "kid": "rs" }), &claims())),
        ("the secret of another issuer", hmac(Algorithm::HS256, SECRET.as_bytes(), &hs, &claims())),
        ("RS256 for a key of another kind", rs.headed(&json!({ "kid": "es" }))),
        ("ES256 for an RSA key", es.headed(&json!({ "kid": "rs" }))),
        ("PS256 with a key for RS256", ps.headed(&json!({ "kid": "rs" }))),
        ("RS256 with a key for PS256", rs.headed(&json!({ "kid": "ps" }))),
        ("RS256 said, PS256 done", ps.headed(&json!({ "alg": "RS256", "kid": "rs" }))),
        ("RS512 said", rs.headed(&json!({ "alg": "RS512" }))),
        ("ES384 said, ES256 done", es.headed(&json!({ "alg": "ES384" }))),
        ("ES256 said, ES384 done", p384.headed(&json!({ "alg": "ES256" }))),
        ("EdDSA said for ES256", es.headed(&json!({ "alg": "EdDSA" }))),
        ("ES256 said for EdDSA", ed.headed(&json!({ "alg": "ES256" }))),
        ("the key of the same name of another issuer", other.token()),
        ("a stranger's key under a known name", mallory.headed(&json!({ "kid": "es" }))),
        ("a stranger's key", mallory.token()),
        ("a stranger's key without a name", mallory.headed(&json!({ "kid": null }))),
        ("a key in the header", mallory.headed(&json!({ "jwk": mallory.jwk() }))),
        ("a key in the header, named as ours", mallory.headed(&json!({ "jwk": mallory.jwk(), "kid": "es" }))),
        ("a certificate in the header", mallory.headed(&json!({ "x5c": ["MIIB"], "kid": "es" }))),
        ("a name that is a path", mallory.headed(&json!({ "kid": "../../dev/null" }))),
        ("a name that is a query", mallory.headed(&json!({ "kid": "x' UNION SELECT 'a" }))),
        ("a name that is a number", es.headed(&json!({ "kid": 1 }))),
        ("a name that is a list", es.headed(&json!({ "kid": ["es"] }))),
        ("an empty name", es.headed(&json!({ "kid": "" }))),
        ("a long name", es.headed(&json!({ "kid": "e".repeat(5_000) }))),
        ("crit", es.headed(&json!({ "crit": ["exp"] }))),
        ("an empty crit", es.headed(&json!({ "crit": [] }))),
        ("an unencoded payload", es.headed(&json!({ "crit": ["b64"], "b64": false }))),
        ("an unencoded payload, not critical", es.headed(&json!({ "b64": false }))),
        ("no type", es.headed(&json!({ "typ": null }))),
        ("a proof", es.headed(&json!({ "typ": "dpop+jwt" }))),
        ("a word to log out", es.headed(&json!({ "typ": "application/logout+jwt" }))),
        ("a type that is a list", es.headed(&json!({ "typ": ["at+jwt"] }))),
        ("no signature", format!("{header}.{payload}.")),
        ("no third part", format!("{header}.{payload}")),
        ("a fourth part", format!("{header}.{payload}.{signature}.{signature}")),
        ("five parts, as if encrypted", format!("{header}.{payload}.{signature}.{signature}.{signature}")),
        ("JSON form", json!({ "protected": header, "payload": payload, "signature": signature }).to_string()),
        ("a signature of zeros", format!("{header}.{payload}.{}", text([0; 64]))),
        ("half a signature", format!("{header}.{payload}.{}", &signature[..signature.len() / 2])),
        ("a longer signature", format!("{header}.{payload}.{signature}AAAA")),
        (
            "the signature of another token",
            format!("{header}.{payload}.{}", parts(&es.with(&json!({ "sub": "u2" })))[2]),
        ),
        ("padding", format!("{header}.{payload}.{signature}==")),
        ("white space", format!("{header}.{payload}.{signature}\n")),
        ("a space in front", format!(" {header}.{payload}.{signature}")),
        ("too long", format!("{header}.{payload}.{}", "A".repeat(20_000))),
    ];
    // The last character of 64 bytes has four loose bits: another text for the same bytes.
    let last = signature.chars().last().expect("a character");
    let loose = (b'A'..=b'Z').chain(b'a'..=b'z').map(char::from).find(|other| {
        let decode = |letter: char| "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".find(letter);
        match (decode(last), decode(*other)) {
            (Some(one), Some(two)) => one != two && one >> 4 == two >> 4,
            _ => false,
        }
    });
    let other_text = format!("{}{}", &signature[..signature.len() - 1], loose.unwrap_or('B'));
    tokens.push(("loose bits", format!("{header}.{payload}.{other_text}")));
    let mut tampered = claims();
    tampered["tenant"] = json!("victim");
    tokens.push((
        "another tenant under the same signature",
        format!("{header}.{}.{signature}", text(tampered.to_string())),
    ));
    let der = {
        // As OpenSSL writes signatures: a sequence of two integers.
        let raw = es.sign(format!("{header}.{payload}").as_bytes());
        let integer = |bytes: &[u8]| [vec![2, 33, 0], bytes.to_vec()].concat();
        let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
        [vec![0x30, u8::try_from(body.len()).expect("short")], body].concat()
    };
    tokens.push(("a signature in DER", format!("{header}.{payload}.{}", text(der))));
    tokens
}

/// Claims under a good signature.
fn misleading(scene: &Scene) -> Vec<(&'static str, String)> {
    let es = &scene.es;
    let raw = |payload: &str| es.signed(&es.header().to_string(), payload);
    let twice = |what: &str| raw(&claims().to_string().replacen('{', &format!("{{{what},"), 1));
    vec![
        ("another issuer's name", es.with(&json!({ "iss": "https://other.example" }))),
        ("the secret's issuer", es.with(&json!({ "iss": "shared" }))),
        ("an unknown issuer", es.with(&json!({ "iss": "https://evil.example" }))),
        ("a slash more", es.with(&json!({ "iss": "https://login.example/" }))),
        ("capital letters", es.with(&json!({ "iss": "https://LOGIN.example" }))),
        ("no issuer", es.with(&json!({ "iss": null }))),
        ("a list of issuers", es.with(&json!({ "iss": ["https://login.example"] }))),
        ("another audience", es.with(&json!({ "aud": "app" }))),
        ("a longer audience", es.with(&json!({ "aud": "api2" }))),
        ("other audiences", es.with(&json!({ "aud": ["app", "web"] }))),
        ("no audience", es.with(&json!({ "aud": null }))),
        ("an empty list of audiences", es.with(&json!({ "aud": [] }))),
        ("audiences that are no text", es.with(&json!({ "aud": ["api", { "a": 1 }] }))),
        ("no end", es.with(&json!({ "exp": null }))),
        ("an end that is text", es.with(&json!({ "exp": (SECONDS + 60).to_string() }))),
        ("an end in milliseconds", es.with(&json!({ "exp": (SECONDS + 60) * 1000 }))),
        ("an end beyond all bounds", es.with(&json!({ "exp": 1e300 }))),
        ("a negative end", es.with(&json!({ "exp": -1 }))),
        ("not yet", es.with(&json!({ "nbf": SECONDS + 31 }))),
        ("not yet, as text", es.with(&json!({ "nbf": "now" }))),
        ("from the future", es.with(&json!({ "iat": SECONDS + 3_600 }))),
        ("no subject", es.with(&json!({ "sub": null }))),
        ("an empty subject", es.with(&json!({ "sub": "" }))),
        ("a subject with a line end", es.with(&json!({ "sub": "u1\r\nx-tenant: victim" }))),
        ("no tenant", es.with(&json!({ "tenant": null }))),
        ("a list of tenants", es.with(&json!({ "tenant": ["acme", "victim"] }))),
        ("two subjects", twice(r#""sub":"admin""#)),
        ("two issuers", twice(r#""iss":"https://other.example""#)),
        ("two tenants, one escaped", twice(r#""ten\u0061nt":"victim""#)),
        ("no object", raw("[]")),
        ("no JSON", raw("sub=u1")),
        ("a second object", raw(&format!("{}{}", claims(), claims()))),
        ("a byte order mark", raw(&format!("\u{feff}{}", claims()))),
        ("a token in a token", raw(&es.token())),
    ]
}

#[tokio::test]
async fn no_attack_is_believed() {
    let scene = scene();
    let mut tokens = forged(&scene);
    tokens.extend(misleading(&scene));
    let shared = claims_with(json!({ "iss": "shared" }));
    for (what, algorithm, secret, header) in [
        ("HS384 with the secret", Algorithm::HS384, SECRET, json!({ "alg": "HS384", "typ": "JWT" })),
        (
            "another secret",
            Algorithm::HS256,
            "0123456789abcdef0123456789abcdeg",
            json!({ "alg": "HS256", "typ": "JWT" }),
        ),
        ("ES256 said, HS256 done", Algorithm::HS256, SECRET, json!({ "alg": "ES256", "kid": "es", "typ": "JWT" })),
    ] {
        tokens.push((what, hmac(algorithm, secret.as_bytes(), &header, &shared)));
    }
    assert!(tokens.len() >= 90, "{}", tokens.len());
    for (what, token) in &tokens {
        let error = scene.issuers.check(token).await.expect_err(what);
        assert_eq!((error.status(), error.code()), (401, "gateway.token_invalid"), "{what}: {error}");
        assert_eq!(error.message(), "the access token is not valid here", "{what}: nobody learns why");
    }
    let expired = scene.es.with(&json!({ "exp": SECONDS - 31 }));
    assert_eq!(scene.issuers.check(&expired).await.expect_err("expired").code(), "gateway.token_expired");
    let forged_and_expired =
        scene.mallory.signed(&scene.es.header().to_string(), &claims_with(json!({ "exp": SECONDS - 31 })).to_string());
    let error = scene.issuers.check(&forged_and_expired).await.expect_err("forged");
    assert_eq!(error.code(), "gateway.token_invalid", "only a good signature learns that it has expired");
}

#[tokio::test]
async fn every_changed_character_is_noticed() {
    let scene = scene();
    let good = scene.es.token();
    for place in 0..good.len() {
        for other in ["A", "b", "_", "."] {
            let mut changed = good.clone();
            changed.replace_range(place..=place, other);
            if changed != good {
                assert!(scene.issuers.check(&changed).await.is_err(), "{place} {other}: {changed}");
            }
        }
    }
    for length in 0..good.len() {
        assert!(scene.issuers.check(&good[..length]).await.is_err(), "cut at {length}");
    }
}

#[tokio::test]
async fn nobody_is_asked_where_a_token_says() {
    let scene = scene();
    let connections = Arc::new(AtomicUsize::new(0));
    let (count, key) = (connections.clone(), set([&scene.mallory]));
    let server = Server::start(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Reply::Json(key.clone())
    })
    .await;
    for header in ["jku", "x5u"] {
        for kid in [json!("mallory"), json!("es"), Value::Null] {
            let token = scene.mallory.headed(&json!({ header: server.url("/keys"), "kid": kid }));
            assert!(scene.issuers.check(&token).await.is_err(), "{header}");
        }
    }
    let token = scene.mallory.with(&json!({ "iss": server.url("") }));
    assert!(scene.issuers.check(&token).await.is_err());
    assert_eq!((connections.load(Ordering::SeqCst), server.asked()), (0, 0));
}

#[tokio::test]
async fn the_issuer_of_a_token_is_recognised_without_checking_it() {
    let scene = scene();
    let named = |token: &str| scene.issuers.recognises(token).map(|named| named.name.to_string());
    assert_eq!(named(&scene.mallory.token()).as_deref(), Some("login"));
    assert_eq!(named(&scene.es.with(&json!({ "iss": "shared" }))).as_deref(), Some("shared"));
    for other in ["", "ptc_0123456789", "a.b.c", "..", &scene.es.with(&json!({ "iss": "portico" }))] {
        assert_eq!(named(other), None, "{other}");
    }
}
