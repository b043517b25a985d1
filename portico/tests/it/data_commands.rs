//! The commands that change or move data: migrate, backup, restore, transfer. Not for what the
//! copying must get right table by table, which `store` tests.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::Client;
use crate::fresh_database::{FreshDatabase, execute};
use crate::process::{Installation, Server, run};

/// Copies belong to the installation that they were made of, so they share its master key.
fn sealed() -> Installation {
    Installation::new().set("master_key", &"5a".repeat(32))
}

/// Runs a check on SQLite, and on PostgreSQL where there is one.
async fn on_both_engines(check: impl AsyncFn(Installation, String)) {
    let installation = sealed();
    let url = installation.sqlite_url();
    check(installation, url).await;
    let Some(database) = FreshDatabase::create().await else {
        return;
    };
    check(sealed().set("store.url", &database.url()), database.url()).await;
}

#[tokio::test]
async fn migrating_twice_does_nothing_the_second_time() {
    on_both_engines(async |installation, _| {
        let without = ["serve", "--listen", "127.0.0.1:0", "--set", "store.migrate_at_start=false"];
        let said = installation.run(&without).refused();
        assert!(said.contains("store.schema_older") && said.contains("portico migrate"), "{said}");
        let first = installation.run(&["migrate"]).well();
        assert!(first.contains("applied inventory/0001_items"), "{first}");
        assert!(first.contains(", 0 were there already"), "{first}");
        let second = installation.run(&["migrate"]).well();
        assert!(second.starts_with("0 applied, "), "{second}");
        let installation = installation.set("store.migrate_at_start", "false");
        let server = installation.start().await;
        installation.run(&["migrate"]).well();
        server.stop().await;
    })
    .await;
}

#[test]
fn migrating_makes_the_data_folder() {
    sealed().run(&["migrate"]).well();
}

#[tokio::test]
async fn an_older_binary_refuses_a_newer_schema() {
    on_both_engines(async |installation, url| {
        let server = installation.start().await;
        let token = server.sign_in().await;
        server.stop().await;
        let newer = "INSERT INTO schema_step (name, checksum, applied_at, binary_version) \
                     VALUES ('inventory/9999_later', 'x', 0, '9.9.9')";
        execute(&url, newer).await;
        let commands: [&[&str]; 3] = [
            &["serve", "--listen", "127.0.0.1:0"],
            &["serve", "--listen", "127.0.0.1:0", "--set", "store.migrate_at_start=false"],
            &["migrate"],
        ];
        for command in commands {
            let said = installation.run(command).refused();
            assert!(said.contains("store.schema_newer"), "{command:?}: {said}");
            assert!(said.contains("inventory/9999_later"), "{command:?}: {said}");
        }
        let doctor = installation.run(&["doctor"]);
        assert_eq!(doctor.code, Some(1));
        assert!(doctor.out.contains("inventory/9999_later"), "{}", doctor.out);
        // The newer binary would find everything as it was.
        execute(&url, "DELETE FROM schema_step WHERE name = 'inventory/9999_later'").await;
        let server = installation.start().await;
        server.connect(Some(&token)).await.get("/api/auth/me").await.expect(200);
        server.stop().await;
    })
    .await;
}

/// Everything that the door shows of items, their ledgers and events.
async fn everything(server: &Server, token: &Arc<str>) -> Value {
    let mut connection = server.connect(Some(token)).await;
    let mut items = connection.pages("/api/inventory?includeDeleted=true&limit=200&sort=createdAt").await;
    for item in &mut items {
        item["ledger"] = connection.pages(&format!("{}/logs?limit=200", path(item))).await.into();
    }
    let events = connection.pages("/api/events?limit=200").await;
    json!({ "items": items, "events": events })
}

fn path(item: &Value) -> String {
    format!("/api/inventory/{}", item["id"].as_str().expect("an id"))
}

/// Creates an item and changes its stock twice.
async fn make_item(connection: &mut Client, sku: &str) -> Value {
    let item = json!({ "sku": sku, "name": format!("Item {sku}") });
    let item = connection.post("/api/inventory", &item).await.expect(201).data();
    for delta in [40, -7] {
        let change = json!({ "delta": delta, "reason": "counted" });
        connection.post(&format!("{}/adjust", path(&item)), &change).await.expect(200);
    }
    item
}

/// Fills an installation with items that were changed, deleted and restored.
async fn fill(server: &Server, token: &Arc<str>) {
    let mut connection = server.connect(Some(token)).await;
    for number in 0..30 {
        let item = make_item(&mut connection, &format!("item-{number}")).await;
        let mut send = async |method: http::Method, path: String| {
            let request = connection.request(method, &path);
            let answer = connection.send(request, None).await.expect("an answer");
            assert!(answer.is_success(), "{}", answer.status);
        };
        if number % 3 == 0 {
            send(http::Method::DELETE, format!("{}?force=true", path(&item))).await;
        }
        if number % 6 == 0 {
            send(http::Method::POST, format!("{}/restore", path(&item))).await;
        }
    }
}

fn arguments<'a>(command: &'a str, file: &'a Path) -> [&'a str; 2] {
    [command, file.to_str().expect("UTF-8")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_busy_server_restores_to_a_consistent_state() {
    on_both_engines(async |installation, _| {
        let server = installation.start().await;
        let token = server.sign_in().await;
        fill(&server, &token).await;
        let before = everything(&server, &token).await;

        // Four clients write all the while.
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut writers = tokio::task::JoinSet::new();
        for client in 0..4 {
            let (mut connection, stopped) = (server.connect(Some(&token)).await, stopped.clone());
            writers.spawn(async move {
                for number in 0.. {
                    if *stopped.borrow() {
                        return number;
                    }
                    make_item(&mut connection, &format!("busy-{client}-{number}")).await;
                }
                0
            });
        }
        let file = installation.file("busy.backup");
        let mut command = installation.command(&arguments("backup", &file));
        let backup = tokio::task::spawn_blocking(move || run(&mut command));
        let printed = backup.await.expect("it runs").well();
        assert!(printed.contains("inventory_item"), "{printed}");
        stop.send_replace(true);
        let made: usize = writers.join_all().await.into_iter().sum();
        assert!(made > 0, "nothing was written meanwhile");

        // The restored copy holds all that was there before, and nothing half done.
        let copy = sealed();
        copy.run(&arguments("restore", &file)).well();
        let restored = copy.start().await;
        assert_eq!(restored.printed_code(), None, "it is not a first start");
        let found = everything(&restored, &token).await;
        assert_whole(&found);
        for kind in ["items", "events"] {
            let (before, found) = (list(&before[kind]), list(&found[kind]));
            assert_eq!(before, &found[..before.len()], "{kind}");
        }
        // It goes on from there.
        make_item(&mut restored.connect(Some(&token)).await, "after").await;
        assert_whole(&everything(&restored, &token).await);
        restored.stop().await;

        // Of a server at rest the copy is equal.
        let file = installation.file("rest.backup");
        installation.run(&arguments("backup", &file)).well();
        let original = everything(&server, &token).await;
        assert_whole(&original);
        let copy = sealed();
        copy.run(&arguments("restore", &file)).well();
        let restored = copy.start().await;
        assert_eq!(everything(&restored, &token).await, original);
        restored.stop().await;
        server.stop().await;
    })
    .await;
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

/// Asserts that rows, ledgers and events tell the same.
#[track_caller]
fn assert_whole(found: &Value) {
    let events = list(&found["events"]);
    for item in list(&found["items"]) {
        let ledger = list(&item["ledger"]);
        let sum: i64 = ledger.iter().map(|line| line["delta"].as_i64().expect("a number")).sum();
        assert_eq!(item["quantity"], sum, "{item}");
        let of_item = events.iter().filter(|event| event["subject"] == item["id"]);
        let versions: Vec<i64> = of_item.map(|event| event["subjectVersion"].as_i64().expect("a number")).collect();
        let wanted: Vec<i64> = (1..=item["version"].as_i64().expect("a number")).collect();
        assert_eq!(versions, wanted, "{item}");
    }
}

#[tokio::test]
async fn a_backup_is_only_restored_where_nothing_is() {
    let installation = sealed();
    let server = installation.start().await;
    let token = server.sign_in().await;
    fill(&server, &token).await;
    let before = everything(&server, &token).await;
    let file = installation.file("some.backup");
    installation.run(&arguments("backup", &file)).well();
    // A backup that is there is not written over.
    installation.run(&arguments("backup", &file)).refused();
    server.stop().await;

    let said = installation.run(&arguments("restore", &file)).refused();
    assert!(said.contains("not empty") || said.contains("empty"), "{said}");
    let server = installation.start().await;
    assert_eq!(everything(&server, &token).await, before);
    server.stop().await;

    // A file that was cut is refused, and leaves the target free for the whole one.
    let whole = std::fs::read(&file).expect("reads");
    let cut = installation.file("cut.backup");
    std::fs::write(&cut, &whole[..whole.len() * 2 / 3]).expect("writes");
    let target = sealed();
    target.run(&arguments("restore", &cut)).refused();
    target.run(&arguments("restore", &installation.file("missing"))).refused();
    target.run(&arguments("restore", &file)).well();
    let restored = target.start().await;
    assert_eq!(everything(&restored, &token).await, before);
    restored.stop().await;
}

#[tokio::test]
async fn a_transfer_to_postgres_and_back_changes_nothing() {
    let Some(database) = FreshDatabase::create().await else {
        return;
    };
    let installation = sealed();
    let server = installation.start().await;
    let token = server.sign_in().await;
    fill(&server, &token).await;
    let original = everything(&server, &token).await;
    server.stop().await;

    let transfer = |from: &str, to: &str| installation.run(&["transfer", "--from", from, "--to", to]);
    let (sqlite, postgres) = (installation.sqlite_url(), database.url());
    let there = transfer(&sqlite, &postgres).well();
    assert!(there.contains("counts and checksums are equal"), "{there}");
    transfer(&sqlite, &postgres).refused();

    let back = sealed();
    std::fs::create_dir(back.data()).expect("a folder");
    let returned = transfer(&postgres, &back.sqlite_url()).well();
    assert_eq!(there, returned, "the same tables, rows and checksums");

    // A server on each shows the same, and goes on.
    let on_postgres = sealed().set("store.url", &postgres);
    for installation in [on_postgres, back] {
        let server = installation.start().await;
        assert_eq!(everything(&server, &token).await, original);
        make_item(&mut server.connect(Some(&token)).await, "after").await;
        server.stop().await;
    }
}
