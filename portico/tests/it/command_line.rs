//! The command line as an operator types it: help, settings, starting, signing in, the document and
//! the doctor. Not for the commands that move data, which are in `data_commands`.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::fresh_database::execute;
use crate::process::{Ended, Installation, Server, code_in, portico, run};

/// Every command, as it is typed.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["serve"],
    &["migrate"],
    &["doctor"],
    &["admin"],
    &["admin", "sign-in"],
    &["admin", "rotate-keys"],
    &["admin", "superadmin"],
    &["admin", "forget-secrets"],
    &["events"],
    &["events", "list"],
    &["events", "retry"],
    &["events", "skip"],
    &["events", "replay"],
    &["events", "forget"],
    &["tasks"],
    &["tasks", "list"],
    &["tasks", "show"],
    &["tasks", "retry"],
    &["tasks", "cancel"],
    &["inventory"],
    &["inventory", "verify"],
    &["gateway"],
    &["gateway", "check"],
    &["gateway", "explain"],
    &["gateway", "routes"],
    &["gateway", "example"],
    &["openapi"],
    &["openapi", "export"],
    &["openapi", "postman"],
    &["openapi", "diff"],
    &["config"],
    &["config", "show"],
    &["config", "default"],
    &["backup"],
    &["restore"],
];
/// The one with more to its name.
const TRANSFER: &[&str] = &["transfer"];

#[test]
fn every_command_explains_itself() {
    let mut listed = Vec::new();
    for command in COMMANDS.iter().copied().chain([TRANSFER]) {
        let help = run(portico(command).arg("--help")).well();
        assert!(help.contains("Usage: portico"), "{help}");
        let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let names = commands.map_while(|line| line.split_whitespace().next());
        let with = |name: &str| [command, &[name]].concat().join(" ");
        listed.extend(names.filter(|name| *name != "help").map(with));
    }
    let known = COMMANDS.iter().copied().chain([TRANSFER]);
    let mut known: Vec<String> = known.map(|words| words.join(" ")).filter(|name| !name.is_empty()).collect();
    known.sort();
    listed.sort();
    assert_eq!(listed, known);
    run(portico(&["--version"]).arg("--version")).well();
}

/// Commands that read the settings, with what they need besides.
const READ_SETTINGS: [&[&str]; 7] = [
    &["serve"],
    &["migrate"],
    &["doctor"],
    &["admin", "sign-in"],
    &["config", "show"],
    &["backup", "file"],
    &["restore", "file"],
];

#[test]
fn an_unknown_setting_is_named_and_nothing_is_done() {
    let installation = Installation::new();
    let file = installation.file("wrong.toml");
    std::fs::write(&file, "[server]\nlisen = \"127.0.0.1:1\"\n").expect("writes");
    let refuses = |command: &mut std::process::Command, key: &str| {
        let said = run(command).refused();
        assert!(said.contains("config.invalid") && said.contains(key), "{said}");
        assert!(!installation.data().exists(), "a data folder was made");
        assert!(!installation.file("file").exists(), "a backup was made");
    };
    for words in READ_SETTINGS {
        let command = || installation.command(words);
        refuses(command().arg("--config").arg(&file), "lisen");
        refuses(command().env("PORTICO_CONFIG", &file), "lisen");
        refuses(command().env("PORTICO_SERVER__LISEN", "127.0.0.1:1"), "lisen");
        refuses(command().env("PORTICO_LISTEN", "127.0.0.1:1"), "listen");
        refuses(command().args(["--set", "server.lisen=127.0.0.1:1"]), "lisen");
        refuses(command().args(["--set", "servr.listen=127.0.0.1:1"]), "servr");
        refuses(command().args(["--set", "server.cores=many"]), "cores");
    }
    let missing = installation.command(&["serve", "--config", "no-such-file.toml"]).output();
    let said = String::from_utf8(missing.expect("the binary starts").stderr).expect("UTF-8");
    assert!(said.contains("config.no_file") && said.contains("no-such-file.toml"), "{said}");
    assert!(!installation.data().exists());
    // What the project's own tools set is not a setting.
    installation_with(&installation, "PORTICO_TEST_POSTGRES_URL").well();
    installation_with(&installation, "PORTICO_CRASH_ROUNDS").well();
}

fn installation_with(installation: &Installation, variable: &str) -> Ended {
    run(installation.command(&["config", "show"]).env(variable, "x"))
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let installation = Installation::new();
    let file = installation.file("some.toml");
    let text = "[server]\nheader_timeout_ms = 111\ncores = 11\nin_flight = 11\n";
    std::fs::write(&file, text).expect("writes");
    let mut command = installation.command(&["config", "show", "--set", "server.in_flight=33"]);
    command.arg("--config").arg(&file);
    command.env("PORTICO_SERVER__CORES", "22").env("PORTICO_SERVER__IN_FLIGHT", "22");
    let shown: toml::Table = run(&mut command).well().parse().expect("TOML");
    let server = &shown["server"];
    let number = |key: &str| server[key].as_integer().expect("a number");
    assert_eq!(number("drain_limit_ms"), 10_000, "the default");
    assert_eq!(number("header_timeout_ms"), 111, "the file");
    assert_eq!(number("cores"), 22, "the environment over the file");
    assert_eq!(number("in_flight"), 33, "the flag over both");
    assert!(!installation.data().exists(), "looking made a data folder");

    // `portico.toml` in the present folder is read without being named.
    std::fs::rename(&file, installation.file("portico.toml")).expect("renames");
    let shown: toml::Table = installation.run(&["config", "show"]).well().parse().expect("TOML");
    assert_eq!(shown["server"]["cores"].as_integer(), Some(11));
}

#[test]
fn the_settings_are_shown_without_their_secrets() {
    let installation = Installation::new()
        .set("operator.token", "s3cret-operator")
        .set("cluster.secret", "s3cret-cluster-0123456789-0123456789")
        .set("store.url", "postgres://portico:s3cret-url@db.example/portico")
        .set("store.owner_url", "postgres://owner@db.example/portico?sslmode=require&password=s3cret-query");
    let shown = installation.run(&["config", "show"]).well();
    assert!(!shown.contains("s3cret"), "{shown}");
    let shown: toml::Table = shown.parse().expect("TOML");
    assert_eq!(shown["store"]["url"].as_str(), Some("postgres://portico:(hidden)@db.example/portico"));
    assert_eq!(shown["operator"]["token"].as_str(), Some("(hidden)"));
}

#[tokio::test]
async fn a_data_folder_has_one_server() {
    let installation = Installation::new();
    let server = installation.start().await;
    let said = installation.run(&["serve", "--listen", "127.0.0.1:0"]).refused();
    assert!(said.contains("server.data_folder_in_use"), "{said}");
    assert!(said.contains(&format!("process {}", server.pid())), "{said}");
    // The address of the first would be taken too; the folder is what one must be told of.
    let said = installation.run(&["serve", "--listen", &server.address.to_string()]).refused();
    assert!(said.contains("server.data_folder_in_use"), "{said}");
    let said = installation.run(&["restore", "no-matter"]).refused();
    assert!(said.contains("server.data_folder_in_use"), "{said}");
    server.connect(None).await.get("/health/ready").await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_refused_and_the_first_start_is_still_to_come() {
    let other = Installation::new().start().await;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let installation = Installation::new();
    for taken in [listener.local_addr().expect("an address"), other.address] {
        let said = installation.run(&["serve", "--listen", &taken.to_string()]).refused();
        assert!(said.contains(&format!("server.cannot_listen: cannot listen on {taken}")), "{said}");
    }
    other.connect(None).await.get("/health/ready").await.expect(200);
    // Nobody has seen a sign-in code yet, so this must be the first start.
    let server = installation.start().await;
    server.sign_in().await;
    server.stop().await;
}

async fn sign_in(server: &Server, code: &str) -> (u16, String) {
    let mut connection = server.connect(None).await;
    let answer = connection.post("/api/auth/login", &json!({ "code": code })).await;
    (answer.status, answer.code())
}

async fn assert_works_once(server: &Server, code: &str) {
    assert_eq!(sign_in(server, code).await.0, 200);
    let refused = (401, "identity.invalid_code".to_owned());
    assert_eq!(sign_in(server, code).await, refused);
}

#[tokio::test]
async fn sign_in_codes_work_once_and_for_an_hour() {
    let installation = Installation::new();
    // Before the first start there is nobody to sign in.
    let said = installation.run(&["admin", "sign-in"]).refused();
    assert!(said.contains("there is no organisation called main"), "{said}");

    let server = installation.start().await;
    let first = server.printed_code().expect("a code");
    assert_works_once(&server, &first).await;

    // A running server is asked.
    let printed = installation.run(&["admin", "sign-in"]).well();
    assert!(printed.contains(&format!("http://{}/api/auth/login", server.address)), "{printed}");
    assert_works_once(&server, &code_in(&printed).expect("a code")).await;
    let said = installation.run(&["admin", "sign-in", "--organization", "nobody"]).refused();
    assert!(said.contains("nobody"), "{said}");

    // An hour later, as far as the row knows.
    let late = installation.run(&["admin", "sign-in"]).well();
    let past = "UPDATE identity_sign_in_code SET expires_at = created_at WHERE used_at IS NULL";
    execute(&installation.sqlite_url(), past).await;
    assert_eq!(sign_in(&server, &code_in(&late).expect("a code")).await.0, 401);
    server.stop().await;

    // Without a server the command works on the data.
    let printed = installation.run(&["admin", "sign-in"]).well();
    let said = installation.run(&["admin", "sign-in", "--organization", "nobody"]).refused();
    assert!(said.contains("nobody"), "{said}");
    let server = installation.start().await;
    assert_eq!(server.printed_code(), None, "only a first start prints a code");
    assert_works_once(&server, &code_in(&printed).expect("a code")).await;
    assert_eq!(sign_in(&server, &first).await.0, 401);
    server.stop().await;
}

#[tokio::test]
async fn the_printed_document_is_the_served_one() {
    let installation = Installation::new();
    let printed = installation.run(&["openapi"]).well();
    assert!(!installation.data().exists());
    let document: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    let server = installation.start().await;
    let served = server.connect(None).await.get("/openapi.json").await.expect(200);
    assert_eq!(String::from_utf8_lossy(&served.body), printed);
    server.stop().await;
}

#[tokio::test]
async fn the_doctor_fails_when_something_is_bad() {
    let installation = Installation::new();
    let said = installation.run(&["doctor"]).well();
    assert!(said.contains("0 bad"), "{said}");
    assert!(!installation.data().exists(), "the doctor changes nothing");
    let server = installation.start().await;
    let said = installation.run(&["doctor"]).well();
    assert!(said.contains(&format!("in use by process {}", server.pid())), "{said}");
    assert!(said.contains("up to date") && said.contains("0 bad"), "{said}");
    server.stop().await;
    let said = installation.run(&["doctor"]).well();
    assert!(said.contains("no server runs"), "{said}");

    let away = installation.run(&["doctor", "--store-url", "postgres://nobody:s3cret@127.0.0.1:1/none"]);
    assert_eq!(away.code, Some(1));
    assert!(away.out.contains("BAD") && away.out.contains("1 bad"), "{}", away.out);
    assert!(!format!("{}{}", away.out, away.err).contains("s3cret"));
}
