//! Imports: what an export gives comes back as it was, each row once, and what is wrong is said.

use serde_json::{Value, json};
use store::fault::{self, FaultAction};
use testkit::{TestApp, TestResponse, TestTenant};

use crate::{ITEMS, apps, item};

const IMPORT: &str = "/api/inventory/import";

/// Sends a file, lets the work be done, and gives the import and its errors.
async fn import(app: &TestApp, tenant: &TestTenant, query: &str, file: impl AsRef<[u8]>) -> (Value, Vec<Value>) {
    let taken = send(app, tenant, query, file).await.expect(202);
    app.settle().await;
    let id = taken.data()["importId"].as_str().expect("an id").to_owned();
    let path = format!("/api/inventory/imports/{id}");
    let shown = app.get(&path).token(&tenant.admin_token).send().await.expect(200).data();
    let errors = app.get(&format!("{path}/errors")).token(&tenant.admin_token).send().await.expect(200).data();
    (shown, errors["items"].as_array().expect("errors").clone())
}

async fn send(app: &TestApp, tenant: &TestTenant, query: &str, file: impl AsRef<[u8]>) -> TestResponse {
    let file = file.as_ref();
    let media_type = if file.starts_with(b"[") || file.starts_with(b"{") { "application/json" } else { "text/csv" };
    let request = app.post(&format!("{IMPORT}?{query}")).token(&tenant.admin_token);
    request.header("content-type", media_type).bytes(file).send().await
}

async fn export(app: &TestApp, tenant: &TestTenant, what: &str, format: &str) -> String {
    let path = format!("/api/inventory/export/{what}?format={format}");
    app.get(&path).token(&tenant.admin_token).send().await.expect(200).text()
}

/// Returns the tenant's items by SKU without what another tenant must have different.
async fn items(app: &TestApp, tenant: &TestTenant) -> Vec<Value> {
    let mut items = app.get("/api/inventory/export/inventory").token(&tenant.admin_token).send().await.expect(200).data();
    for item in items.as_array_mut().expect("items") {
        for name in ["id", "version", "createdAt", "updatedAt"] {
            item.as_object_mut().expect("an item").remove(name);
        }
    }
    let mut items = items.as_array().expect("items").clone();
    items.sort_by_key(|item| item["sku"].to_string());
    items
}

/// Returns the tenant's ledger without what another tenant must have different.
async fn ledger(app: &TestApp, tenant: &TestTenant) -> Vec<String> {
    let lines = app.get("/api/inventory/export/logs").token(&tenant.admin_token).send().await.expect(200).data();
    let shown = |line: &Value| {
        let names = ["sku", "delta", "reason", "note", "occurredAt", "amount", "reference"];
        names.map(|name| line[name].to_string()).join("|")
    };
    lines.as_array().expect("lines").iter().map(shown).collect()
}

fn counts(import: &Value) -> [i64; 4] {
    ["rows", "applied", "unchanged", "failed"].map(|name| import[name].as_i64().expect("a count"))
}

fn faults(errors: &[Value]) -> Vec<(i64, &str, &str)> {
    let line = |fault: &Value| fault["line"].as_i64().expect("a line");
    errors
        .iter()
        .map(|fault| {
            let (column, code) = (fault["column"].as_str(), fault["code"].as_str());
            (line(fault), column.unwrap_or_default(), code.unwrap_or_default().trim_start_matches("inventory."))
        })
        .collect()
}

/// Makes a tenant with items and a ledger that are hard to write down.
async fn stocked(app: &TestApp) -> TestTenant {
    let tenant = app.tenant("farm").await;
    for (sku, name, description) in [
        ("A", "=1+1", json!("'=quoted, \"twice\"")),
        ("'B", "Größe; 5\" pipe", json!(null)),
        ("C,1", "@SUM(A1)", json!("-5")),
    ] {
        let body = json!({
            "sku": sku, "name": name, "description": description, "unit": "gram", "lowStockLevel": 2, "unitCost": 125,
        });
        let made = app.post(ITEMS).token(&tenant.staff_token).json(&body).send().await.expect(201);
        let adjust = format!("{}/adjust", made.header("location"));
        for body in [
            json!({ "delta": 50, "reason": "opening" }),
            json!({
                "delta": -7, "reason": "sold", "note": "=cmd()", "amount": 1234, "reference": "+4711",
                "occurredAt": "2026-11-01T10:00:00.000001Z",
            }),
        ] {
            app.post(&adjust).token(&tenant.staff_token).json(&body).send().await.expect(200);
        }
    }
    tenant
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_export_gives_an_import_takes() {
    for app in apps().await {
        let from = stocked(&app).await;
        for format in ["csv", "json"] {
            let (to, other) = (app.tenant("copy").await, app.tenant("counted").await);
            let (described, moved) =
                (export(&app, &from, "inventory", format).await, export(&app, &from, "logs", format).await);
            let (done, errors) = import(&app, &to, "", &described).await;
            assert_eq!((counts(&done), errors), ([3, 3, 0, 0], vec![]), "{format}");
            assert_eq!(done["complete"], true);
            let (done, errors) = import(&app, &to, "kind=movements", &moved).await;
            assert_eq!((counts(&done), errors), ([6, 6, 0, 0], vec![]), "{format}");
            assert_eq!(items(&app, &to).await, items(&app, &from).await, "{format}");
            assert_eq!(ledger(&app, &to).await, ledger(&app, &from).await, "{format}");
            // The same again says what is there.
            let (again, _) = import(&app, &to, "", &described).await;
            assert_eq!(counts(&again), [3, 0, 3, 0], "{format}");
            let (opened, _) = import(&app, &other, "stock=opening", &described).await;
            assert_eq!(counts(&opened), [3, 3, 0, 0], "{format}");
            assert_eq!(items(&app, &other).await, items(&app, &from).await, "{format}");
        }
    }
}

const FILE: &str = "\u{feff}quantity,sku,name,lowStockLevel,negativeStock\r\n\
    5,A,First,,\r\n\
    1.5,B,Second,-1,never\r\n\
    \r\n\
    1,C,Third\r\n\
    2,A,First again,,\r\n\
    99999999999999999999,D,\"Fo\r\nurth\",,\r\n\
    3,,No SKU,,\r\n\
    4,E,\"Fifth\"x,,\r\n\
    6,F,,,\r\n\
    7,G,\"cut off,,\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn wrong_rows_are_named_by_line_and_column_and_the_others_applied() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let wanted = vec![
            (3, "lowStockLevel", "import_invalid_value"),
            (3, "negativeStock", "import_invalid_value"),
            (3, "quantity", "import_invalid_value"),
            (5, "", "import_ragged_row"),
            (6, "sku", "import_duplicate"),
            (7, "name", "import_invalid_value"),
            (7, "quantity", "import_invalid_value"),
            (9, "sku", "import_invalid_value"),
            (10, "", "import_malformed_row"),
            (11, "name", "import_invalid_value"),
            (12, "", "import_malformed_row"),
        ];
        let before = app.digest(&tenant).await.len();
        let (dry, errors) = import(&app, &tenant, "stock=opening&dryRun=true", FILE).await;
        assert_eq!((counts(&dry), faults(&errors)), ([9, 1, 0, 8], wanted.clone()));
        assert_eq!(items(&app, &tenant).await, Vec::<Value>::new(), "a dry run makes nothing, {before} rows before");
        let (done, errors) = import(&app, &tenant, "stock=opening", FILE).await;
        assert_eq!((counts(&done), faults(&errors)), ([9, 1, 0, 8], wanted));
        let made = items(&app, &tenant).await;
        assert_eq!((made.len(), &made[0]["sku"], &made[0]["quantity"]), (1, &json!("A"), &json!(5)));
        let path = format!("/api/inventory/imports/{}/errors?format=csv", done["id"].as_str().expect("an id"));
        let csv = app.get(&path).token(&tenant.admin_token).send().await.expect(200);
        assert!(csv.text().starts_with("line,column,code,message\n3,lowStockLevel,inventory.import_invalid_value,"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn movements_are_refused_as_adjustments_are_and_a_dry_run_knows_it() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        let id = path.rsplit('/').next().expect("an id");
        let rows = [
            "sku,itemId,delta,reason,occurredAt,amount".to_owned(),
            "A,,10,received,2026-11-01,".to_owned(),
            format!(",{id},-8,sold,2026-11-02T08:00:00+02:00,995"),
            "A,,-3,sold,,".to_owned(),
            "A,,0,sold,,".to_owned(),
            "Z,,1,received,,".to_owned(),
            "A,,1,stolen,2026-02-30,1.5".to_owned(),
            "A,,1,received,2026-11-22,".to_owned(),
            "A,,-2,sold,,".to_owned(),
        ];
        let wanted = vec![
            (4, "delta", "insufficient_stock"),
            (5, "delta", "import_invalid_value"),
            (6, "sku", "import_no_such_item"),
            (7, "amount", "import_invalid_value"),
            (7, "occurredAt", "import_invalid_value"),
            (7, "reason", "import_invalid_value"),
            (8, "occurredAt", "import_invalid_value"),
        ];
        for query in ["kind=movements&dryRun=true", "kind=movements"] {
            let (done, errors) = import(&app, &tenant, query, &rows.join("\n")).await;
            let mut found = faults(&errors);
            found.sort_unstable();
            assert_eq!((counts(&done), found), ([8, 3, 0, 5], wanted.clone()), "{query}");
        }
        let lines = ledger(&app, &tenant).await;
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1], "\"A\"|-8|\"sold\"|null|\"2026-11-02T06:00:00.000000Z\"|995|null");
        let left = app.get(&path).token(&tenant.staff_token).send().await.expect(200).data();
        assert_eq!(left["quantity"], 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_has_its_effect_once_whatever_stops_the_work() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        item(&app, &tenant, "A").await;
        let rows: String = (0..900).map(|row| format!("A,1,received,{row}\n")).collect();
        let sent = send(&app, &tenant, "kind=movements", &format!("sku,delta,reason,reference\n{rows}")).await.expect(202);
        let id = sent.data()["importId"].as_str().expect("an id").to_owned();
        // The third batch fails, later the fifth, and then the end of the task.
        let place = format!("import.before_commit@{id}");
        for (place, after) in [(place.clone(), 2), (place.clone(), 2), ("task.before_complete@inventory.import".to_owned(), 0)] {
            fault::arm(place.clone(), after, FaultAction::Error);
            app.settle().await;
            assert!(!fault::is_armed(&place), "the work came by");
            app.clock().shift(3_600_000_000);
        }
        app.settle().await;
        let shown = app.get(&format!("/api/inventory/imports/{id}")).token(&tenant.admin_token).send().await.data();
        assert_eq!((counts(&shown), &shown["complete"]), ([900, 900, 0, 0], &json!(true)));
        let lines = ledger(&app, &tenant).await;
        let wanted: Vec<String> = (0..900).map(|row| format!("\"{row}\"")).collect();
        let found: Vec<&str> = lines.iter().map(|line| line.rsplit('|').next().expect("a reference")).collect();
        assert_eq!(found, wanted, "each row once and in order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_import_stops() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let sent = send(&app, &tenant, "", "sku,name\nA,First\n").await.expect(202);
        let cancel = format!("{}/cancel", sent.header("location"));
        app.post(&cancel).token(&tenant.admin_token).send().await.expect(200);
        app.settle().await;
        assert_eq!(items(&app, &tenant).await, Vec::<Value>::new());
        let task = app.get(sent.header("location")).token(&tenant.admin_token).send().await.expect(200).json();
        assert_eq!(task["state"], "cancelled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_such_file_is_refused_and_leaves_nothing() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let before = app.digest(&tenant).await;
        for (query, file, code) in [
            ("", "", "inventory.import_invalid_file"),
            ("", "\n\n", "inventory.import_invalid_file"),
            ("", "\"sku", "inventory.import_invalid_file"),
            ("", "{\"sku\":1}", "inventory.import_invalid_file"),
            ("", "[1]", "inventory.import_invalid_file"),
            ("", "[", "inventory.import_invalid_file"),
            ("", "name\nA\n", "inventory.import_columns"),
            ("", "sku,sku\nA,B\n", "inventory.import_columns"),
            ("", "sku,color,=1\nA,B,C\n", "inventory.import_columns"),
            ("kind=movements", "sku,delta\nA,1\n", "inventory.import_columns"),
            ("kind=people", "sku\n", "request.invalid_query"),
            ("dry=1", "sku\n", "request.invalid_query"),
        ] {
            let refused = send(&app, &tenant, query, file).await.expect(400);
            assert_eq!(refused.code(), code, "{query} {file}");
        }
        let refused = send(&app, &tenant, "", "sku,color,=1\nA,B,C\n").await.expect(400);
        assert!(refused.text().contains("\"color\"") && refused.text().contains("\"=1\""), "{}", refused.text());
        let refused = app.post(IMPORT).token(&tenant.admin_token).header("content-type", "text/plain").bytes("sku\n");
        refused.send().await.expect(415);
        let long = app.post(IMPORT).token(&tenant.admin_token).header("content-type", "text/csv");
        long.header("content-length", &(65 << 20).to_string()).bytes("sku\n").send().await.expect(413);
        assert_eq!(app.digest(&tenant).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_off_is_applied_up_to_there_and_says_so() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let file = r#"[{"sku":"A","name":"First"},{"sku":"B","name":7,"color":"red"},{"sku":["C"]},"#;
        let (done, errors) = import(&app, &tenant, "", file).await;
        assert_eq!((counts(&done), &done["complete"]), ([3, 1, 0, 2], &json!(false)));
        let wanted = vec![
            (1, "color", "import_unknown_column"),
            (1, "sku", "import_invalid_value"),
            (1, "sku", "import_invalid_value"),
            (1, "", "import_broken_file"),
        ];
        assert_eq!(faults(&errors), wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_and_endless_rows_cost_only_themselves() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let long = vec![b'x'; 70_000];
        let file = [b"sku,name\nA,\xff\nB,".as_slice(), &long, b"\nC,\0\nD,Fine\n"].concat();
        let (done, errors) = import(&app, &tenant, "", file).await;
        let wanted = vec![
            (2, "name", "import_not_utf8"),
            (3, "", "import_row_too_long"),
            (4, "name", "import_invalid_value"),
        ];
        assert_eq!((counts(&done), faults(&errors)), ([4, 1, 0, 3], wanted));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_stored_in_pieces_that_go_when_it_is_done() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        item(&app, &tenant, "A").await;
        let note = "n".repeat(480);
        let rows: String = (0..1_200).map(|_| format!("A,1,received,{note}\n")).collect();
        let file = format!("sku,delta,reason,note\n{rows}");
        let request = |file: &str| {
            let request = app.post(&format!("{IMPORT}?kind=movements")).token(&tenant.admin_token);
            request.header("content-type", "text/csv").header("idempotency-key", "once").bytes(file)
        };
        let first = request(&file).send().await.expect(202);
        let pieces = || async { app.digest(&tenant).await.iter().filter(|row| row.contains("import_piece")).count() };
        let kept = pieces().await;
        let again = request(&file).send().await.expect(202);
        assert_eq!((again.data(), again.header("idempotency-replayed")), (first.data(), "true"));
        assert_eq!((kept, pieces().await), (3, 3), "what was sent again is not kept");
        let other = request(&format!("{file}A,1,received,\n")).send().await.expect(422);
        assert_eq!((other.code().as_str(), pieces().await), ("request.idempotency_key_reused", 3));
        app.settle().await;
        assert_eq!((pieces().await, ledger(&app, &tenant).await.len()), (0, 1_200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_items_are_changed_left_or_refused_as_asked() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        item(&app, &tenant, "A").await;
        let file = "sku,name,unit,quantity\nA,Renamed,gram,9\nB,New,,\n";
        let (skipped, _) = import(&app, &tenant, "onExisting=skip", file).await;
        assert_eq!(counts(&skipped), [2, 1, 1, 0]);
        let (failed, errors) = import(&app, &tenant, "onExisting=fail", file).await;
        assert_eq!((counts(&failed), errors.len()), ([2, 0, 0, 2], 2));
        let (updated, _) = import(&app, &tenant, "stock=opening", file).await;
        assert_eq!(counts(&updated), [2, 1, 1, 0]);
        let all = items(&app, &tenant).await;
        assert_eq!((&all[0]["name"], &all[0]["unit"], &all[0]["quantity"]), (&json!("Renamed"), &json!("gram"), &json!(9)));
        assert_eq!((&all[1]["unit"], &all[1]["quantity"]), (&json!("piece"), &json!(0)));
        let other = app.tenant("other").await;
        let path = format!("/api/inventory/imports/{}", updated["id"].as_str().expect("an id"));
        for path in [path.clone(), format!("{path}/errors")] {
            app.get(&path).token(&other.admin_token).send().await.expect(404);
        }
        app.post(IMPORT).token(&tenant.staff_token).header("content-type", "text/csv").bytes("sku\n").send().await.expect(403);
    }
}
