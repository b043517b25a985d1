//! What lies on the disk and in the log of a server that has handed out every kind of secret: none
//! of them, plain, in hexadecimal or in base64. Not for the files that are made to hold one.

use std::path::Path;

use base64::Engine as _;
use http::Method;
use serde_json::{Value, json};

use crate::process::Installation;

const PASSWORD: &str = "seven otters juggle lamps";
/// Made to hold secrets, and readable by their owner alone.
const HOMES: [&str; 3] = ["operator.token", "secrets", "letters"];

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if HOMES.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((name, std::fs::read(&path).expect("readable")));
        }
    }
}

/// Returns the secret part of a credential, in the forms in which it could have been written down.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    let mut forms = vec![secret.as_bytes().to_vec(), hex.into_bytes(), engine.encode(secret).into_bytes()];
    // A secret of hexadecimal digits could lie there as bytes.
    if secret.len() >= 20 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digit = |place: usize| u8::from_str_radix(&secret[place..place + 2], 16).expect("a digit");
        let bytes: Vec<u8> = (0..secret.len() / 2).map(|place| digit(place * 2)).collect();
        forms.push(engine.encode(&bytes).into_bytes());
        forms.push(bytes);
    }
    forms
}

/// Returns what is written in Base64 in hexadecimal digits, which are looked for as bytes too.
fn digits(secret: &str) -> String {
    let bytes = base64::engine::general_purpose::STANDARD.decode(secret).expect("Base64");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn no_secret_is_found_in_the_data_folder_or_in_the_log() {
    let installation = Installation::new().set("log.filter", "debug").set("log.format", "json");
    let server = installation.start().await;
    let signed_in = server.session().await;
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("not text: {value}")).to_owned();
    let access = text(&signed_in["accessToken"]);
    let mut client = server.connect(Some(&access.as_str().into())).await;
    let change = json!({ "newPassword": PASSWORD });
    client.post("/api/auth/password/change", &change).await.expect(204);
    let api = text(&client.post("/api/auth/tokens", &json!({ "name": "x" })).await.expect(201).json()["token"]);
    let body = json!({ "email": "ada@example.org", "role": "staff" });
    let invited = text(&client.post("/api/auth/invitations", &body).await.expect(201).json()["code"]);
    let refresh = text(&signed_in["refreshToken"]);
    let next = client.post("/api/auth/refresh", &json!({ "refreshToken": refresh })).await.expect(200).json();
    let patch = client.request(Method::PATCH, "/api/auth/me");
    client.send(patch, Some(&json!({ "email": "boss@example.org" }))).await.expect("an answer").expect(200);
    client.post("/api/auth/login", &json!({ "email": "boss@example.org", "password": PASSWORD })).await.expect(200);
    let made = client.post("/api/inventory/qc-keys", &json!({ "name": "a laboratory" })).await.expect(201).json();
    let rotate = format!("/api/inventory/qc-keys/{}/rotate", text(&made["data"]["id"]));
    let rotated = client.post(&rotate, &json!({})).await.expect(200).json();
    let whsec = |made: &Value| text(&made["data"]["secret"]).trim_start_matches("whsec_").to_owned();
    let read = |path: &str| std::fs::read_to_string(installation.data().join(path)).expect("a file").trim().to_owned();
    let tail = |token: &str| {
        token.rsplit('_').next().expect("a secret").trim_end_matches(char::is_whitespace)[..64].to_owned()
    };
    let secrets = [
        ("the password", PASSWORD.to_owned()),
        ("the access token's signature", access.rsplit('.').next().expect("a signature").to_owned()),
        ("the refresh token", tail(&refresh)),
        ("the next refresh token", tail(&text(&next["refreshToken"]))),
        ("the API token", tail(&api)),
        ("the invitation's code", invited.clone()),
        ("the invitation's code without hyphens", invited.replace('-', "")),
        ("the old secret of a laboratory", whsec(&made)),
        ("the bytes of the old secret of a laboratory", digits(&whsec(&made))),
        ("the secret of a laboratory", whsec(&rotated)),
        ("the bytes of the secret of a laboratory", digits(&whsec(&rotated))),
        ("the one-use code", server.printed_code().expect("printed").replace('-', "")),
        ("the operator token", read("operator.token")),
        ("the master key", read("secrets/master.key")),
    ];
    let log = server.said();
    server.stop().await;
    let mut found = Vec::new();
    files(&installation.data(), &mut found);
    assert!(found.iter().any(|(name, bytes)| name == "portico.db" && bytes.len() > 100_000), "the database is there");
    // The first start prints its code, which is spent; nothing else is said.
    let said: String = log.lines().filter(|line| !line.contains(&server_code(&log))).collect();
    found.push(("the log".to_owned(), said.into_bytes()));
    for (what, secret) in &secrets {
        for form in forms(secret) {
            for (name, bytes) in &found {
                let there = bytes.windows(form.len()).any(|part| part == form);
                assert!(!there, "{what} is in {name}");
            }
        }
    }
    // The test would see one: what is no secret is found.
    assert!(found.iter().any(|(_, bytes)| bytes.windows(16).any(|part| part == b"boss@example.org")));
}

fn server_code(log: &str) -> String {
    crate::process::code_in(log).expect("printed")
}
