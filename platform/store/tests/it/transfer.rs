//! Transfer: nothing is lost, nothing is invented, nothing is overwritten.

use kernel::{Answer, Clock, Error};
use store::{
    Config, Engine, EventRow, Phase, Progress, Purpose, Store, TransferReport, assign_positions, migrate, transfer,
};

use crate::backup::{bring_back, save};
use crate::database::{self, Database};
use crate::shop::{
    self, OLD_SHOP, SHOP, all_rows, assert_next_position, assert_rows_and_events_agree, fill, open, rows, shelf,
};

async fn copy(from: &Config, to: &Config) -> Result<TransferReport, Error> {
    transfer(from, to, SHOP, &Clock::system(), &mut |_| {}).await
}

#[tokio::test]
async fn from_sqlite_to_postgres_and_back_everything_is_the_same() {
    let Some(server) = database::postgres().await else {
        return;
    };
    let (first, last) = (database::sqlite(), database::sqlite());
    let store = open(&first.config).await;
    let tenants = fill(&store, 400).await;
    store.close().await;
    let before = all_rows(&first.config, tenants).await;

    let there = copy(&first.config, &server.config).await.expect("copies");
    assert_eq!((there.from, there.to), (Engine::Sqlite, Engine::Postgres));
    let count = |name| there.tables.iter().find(|table| table.table == name).map(|table| table.rows);
    assert_eq!(count("shop_item"), Some(800));
    assert_eq!(count("shop_shelf"), Some(4));
    assert_eq!(count("tenant"), Some(2));
    assert_eq!(count("idempotency_key"), Some(2));
    assert_eq!(count("event_log"), Some(2 * (400 + 80 + 3)));
    assert_eq!(all_rows(&server.config, tenants).await, before);

    let mut seen = Vec::new();
    let mut watch = |progress: Progress| seen.push(progress);
    let back = transfer(&server.config, &last.config, SHOP, &Clock::system(), &mut watch).await;
    let back = back.expect("copies");
    assert_eq!(back.tables, there.tables, "counts and checksums");
    assert_eq!(back.last_position, there.last_position);
    assert_eq!(all_rows(&last.config, tenants).await, before);
    for phase in [Phase::Copying, Phase::Checking] {
        let done = Progress { phase, table: "shop_item".to_owned(), rows: 800 };
        assert!(seen.contains(&done), "{seen:?}");
    }
    let text = back.to_string();
    let item = back.tables.iter().find(|table| table.table == "shop_item").expect("is there");
    assert!(text.contains(&item.checksum.short()) && text.contains("800"), "{text}");

    for config in [&first.config, &server.config, &last.config] {
        assert_next_position(config, tenants[1], back.last_position + 1).await;
    }
}

#[tokio::test]
async fn between_two_databases_of_one_engine_everything_is_the_same() {
    let mut pairs = vec![(database::sqlite(), database::sqlite())];
    if let (Some(from), Some(to)) = (database::postgres().await, database::postgres().await) {
        pairs.push((from, to));
    }
    for (from, to) in pairs {
        let store = open(&from.config).await;
        let tenants = fill(&store, 20).await;
        store.close().await;
        copy(&from.config, &to.config).await.expect("copies");
        assert_eq!(all_rows(&to.config, tenants).await, all_rows(&from.config, tenants).await);
    }
}

#[tokio::test]
async fn rows_may_refer_to_rows_of_their_own_table_that_come_later() {
    let source = database::sqlite();
    let store = open(&source.config).await;
    let tenant = shop::tenant(&store, "only").await;
    let mut ctx = shop::ctx(tenant);
    let mut writer = store.write(&mut ctx).await.expect("opens");
    let mut shelves = Vec::new();
    // More than a batch, so the last shelf arrives in a later statement than the first.
    for number in 0..1_100 {
        let name = sea_orm::Set(number.to_string());
        let row = shelf::ActiveModel { name, inside_id: sea_orm::Set(None), ..Default::default() };
        shelves.push(writer.insert::<shelf::Entity>(row).await.expect("inserts").id);
    }
    writer.commit(Answer::no_content()).await.expect("commits");
    shop::put_inside(&store, tenant, shelves[0], shelves[1_099]).await;
    store.close().await;
    for target in [Some(database::sqlite()), database::postgres().await].into_iter().flatten() {
        copy(&source.config, &target.config).await.expect("copies");
        let store = open(&target.config).await;
        let rows = rows(&store, tenant).await;
        assert_rows_and_events_agree(&rows);
        assert_eq!(rows.shelves.len(), 1_100);
        store.close().await;
    }
}

#[tokio::test]
async fn a_target_that_holds_something_is_refused_and_left_as_it_is() {
    let source = database::sqlite();
    let store = open(&source.config).await;
    fill(&store, 3).await;
    store.close().await;
    let file = source.folder.path().join("backup");
    save(&source.config, &file).await.expect("saves");
    for target in [Some(database::sqlite()), database::postgres().await].into_iter().flatten() {
        let store = open(&target.config).await;
        let tenants = fill(&store, 5).await;
        store.close().await;
        let before = all_rows(&target.config, tenants).await;
        let refused = [copy(&source.config, &target.config).await, bring_back(&file, &target.config).await];
        for refused in refused {
            let error = refused.expect_err("it holds something");
            assert_eq!(error.code(), "store.transfer_target_not_empty");
            assert!(error.message().contains("shop_item"), "{error}");
        }
        assert_eq!(all_rows(&target.config, tenants).await, before);
    }
}

#[tokio::test]
async fn a_filled_target_of_an_older_release_is_not_migrated_either() {
    let source = database::sqlite();
    open(&source.config).await.close().await;
    for target in [Some(database::sqlite()), database::postgres().await].into_iter().flatten() {
        migrate(&target.config, OLD_SHOP, &Clock::system()).await.expect("migrates");
        let store = Store::open(target.config.clone(), Clock::system()).await.expect("opens");
        shop::tenant(&store, "here").await;
        store.close().await;
        let error = copy(&source.config, &target.config).await.expect_err("it holds a tenant");
        assert_eq!(error.code(), "store.transfer_target_not_empty");
        let pending = store::pending(&target.config, SHOP).await.expect("reads");
        assert_eq!(pending, ["shop/0002_labels"]);
    }
}

#[tokio::test]
async fn a_target_that_stores_something_else_than_it_was_given_keeps_nothing() {
    let source = database::sqlite();
    let store = open(&source.config).await;
    fill(&store, 3).await;
    store.close().await;
    let server = database::postgres().await;
    for target in [Some(database::sqlite()), server].into_iter().flatten() {
        open(&target.config).await.close().await;
        let (meddle, stop) = match target.config.engine().expect("an engine") {
            Engine::Sqlite => (
                "CREATE TRIGGER meddle AFTER INSERT ON tenant BEGIN \
                 UPDATE tenant SET name = 'x' WHERE id = NEW.id AND slug = 'first'; END",
                "DROP TRIGGER meddle",
            ),
            Engine::Postgres => (
                "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.slug = 'first' THEN NEW.name = 'x'; END IF; RETURN NEW; END $$; \
                 CREATE TRIGGER meddle BEFORE INSERT ON tenant \
                 FOR EACH ROW EXECUTE FUNCTION meddle()",
                "DROP TRIGGER meddle ON tenant",
            ),
        };
        target.run(meddle).await;
        let error = copy(&source.config, &target.config).await.expect_err("not the same");
        assert_eq!(error.code(), "store.transfer_mismatch");
        assert!(error.message().starts_with("tenant "), "{error}");
        target.run(stop).await;
        copy(&source.config, &target.config).await.expect("the target is still empty");
    }
}

#[tokio::test]
async fn a_target_that_somebody_else_uses_gets_no_tables() {
    let source = database::sqlite();
    open(&source.config).await.close().await;
    for target in [Some(database::sqlite()), database::postgres().await].into_iter().flatten() {
        if target.config.engine().expect("an engine") == Engine::Sqlite {
            drop(std::fs::File::create(target.config.sqlite_path().expect("a path")));
        }
        target.run("CREATE TABLE theirs (id TEXT)").await;
        let bytes = || target.config.sqlite_path().map(|path| std::fs::read(path).expect("reads"));
        let before = bytes();
        let error = copy(&source.config, &target.config).await.expect_err("not ours");
        assert_eq!(error.code(), "store.transfer_target_not_empty");
        assert_eq!(bytes(), before);
        // Our tables are not there either.
        target.run("CREATE TABLE tenant (id TEXT)").await;
    }
}

#[tokio::test]
async fn positions_are_kept_and_not_the_order_of_insertion() {
    let Some(source) = database::postgres().await else {
        return;
    };
    let store = open(&source.config).await;
    let tenant = shop::tenant(&store, "only").await;
    let insert = |name: &str| shelf::ActiveModel {
        name: sea_orm::Set(name.to_owned()),
        inside_id: sea_orm::Set(None),
        ..Default::default()
    };
    let (mut slow_ctx, mut fast_ctx) = (shop::ctx(tenant), shop::ctx(tenant));
    let mut slow = store.write(&mut slow_ctx).await.expect("opens");
    slow.insert::<shelf::Entity>(insert("slow")).await.expect("inserts");
    let mut fast = store.write(&mut fast_ctx).await.expect("opens");
    fast.insert::<shelf::Entity>(insert("fast")).await.expect("inserts");
    fast.commit(Answer::no_content()).await.expect("commits");
    assert_eq!(assign_positions(&store).await.expect("numbers"), 1);
    slow.commit(Answer::no_content()).await.expect("commits");
    assert_eq!(assign_positions(&store).await.expect("numbers"), 1);
    // What retention removed must not give its position away again.
    source.run("UPDATE event_position SET last = 40").await;
    shop::add_shelf(&store, tenant, "waiting").await;
    shop::add_shelf(&store, tenant, "waiting too").await;
    // As on a replica: the relay cannot run, and the copy numbers what waits.
    source.run("REVOKE UPDATE ON event_position FROM portico_relay").await;
    assign_positions(&store).await.expect_err("may not");
    store.close().await;

    let names = |rows: &[EventRow]| -> Vec<(i64, String)> {
        let name = |event: &EventRow| event.data.replace("{\"name\":", "").replace('}', "");
        rows.iter().map(|event| (event.position.unwrap_or(0), name(event))).collect()
    };
    let expected = [(1, "\"fast\""), (2, "\"slow\""), (41, "\"waiting\""), (42, "\"waiting too\"")];
    let expected = expected.map(|(position, name)| (position, name.to_owned()));
    let targets = [database::sqlite(), database::postgres().await.expect("as before")];
    for target in &targets {
        let report = copy(&source.config, &target.config).await.expect("copies");
        assert_eq!(report.last_position, 42);
        let store = open(&target.config).await;
        assert_eq!(names(&rows(&store, tenant).await.events), expected);
        store.close().await;
        assert_next_position(&target.config, tenant, 43).await;
    }
}

#[tokio::test]
async fn the_source_may_be_a_release_behind_and_not_ahead() {
    for source in [Some(database::sqlite()), database::postgres().await].into_iter().flatten() {
        migrate(&source.config, OLD_SHOP, &Clock::system()).await.expect("migrates");
        let store = Store::open(source.config.clone(), Clock::system()).await.expect("opens");
        let tenants = fill(&store, 5).await;
        store.close().await;
        let file = source.folder.path().join("before the upgrade");
        save(&source.config, &file).await.expect("saves");
        let [direct, restored] = [database::sqlite(), database::sqlite()];
        copy(&source.config, &direct.config).await.expect("copies");
        bring_back(&file, &restored.config).await.expect("restores");
        let expected = all_rows(&source.config, tenants).await;
        for target in [&direct, &restored] {
            assert!(store::pending(&target.config, SHOP).await.expect("reads").is_empty());
            assert_eq!(all_rows(&target.config, tenants).await, expected);
        }
        let ahead = database::sqlite();
        let clock = Clock::system();
        let old = transfer(&direct.config, &ahead.config, OLD_SHOP, &clock, &mut |_| {}).await;
        assert_eq!(old.expect_err("newer").code(), "store.schema_newer");
        open(&ahead.config).await.close().await;
        let error = bring_back(&file, &ahead.config).await.expect_err("an older file");
        assert_eq!(error.code(), "store.transfer_schema_differs");
    }
}

#[tokio::test]
async fn what_the_other_engine_cannot_hold_stops_the_copy_and_leaves_the_target_empty() {
    let Some(target) = database::postgres().await else {
        return;
    };
    let source = database::sqlite();
    let store = open(&source.config).await;
    fill(&store, 5).await;
    store.close().await;
    let wrong = "UPDATE shop_item SET note = 'a' || char(0) || 'b' WHERE quantity = 0";
    source.run(wrong).await;
    let error = copy(&source.config, &target.config).await.expect_err("NUL in a text");
    assert_eq!(error.code(), "store.transfer_value");
    assert!(error.message().contains("shop_item.note"), "{error}");
    source.run("UPDATE shop_item SET note = NULL WHERE quantity = 0").await;
    copy(&source.config, &target.config).await.expect("the target is still empty");
}

#[tokio::test]
async fn a_login_that_owns_nothing_can_transfer_and_one_without_the_role_cannot() {
    let (Some(source), Some(target)) = (database::postgres().await, database::postgres().await) else {
        return;
    };
    let suffix = source.config.url.rsplit('_').next().expect("a name").to_owned();
    let (serves, stranger) = (format!("serves_{suffix}"), format!("stranger_{suffix}"));
    source.run(&format!("CREATE ROLE {serves} LOGIN; CREATE ROLE {stranger} LOGIN")).await;
    let as_serving =
        |database: &Database| Config { owner_url: database.config.url.clone(), ..database.as_login(&serves) };
    let store = open(&as_serving(&source)).await;
    let tenants = fill(&store, 5).await;
    store.close().await;

    let file = source.folder.path().join("backup.db");
    let error = save(&source.as_login(&stranger), &file).await.expect_err("may not");
    assert_eq!(error.code(), "store.transfer_role_missing");
    copy(&as_serving(&source), &as_serving(&target)).await.expect("copies");
    let expected = all_rows(&as_serving(&source), tenants).await;
    assert_eq!(expected[0].items.len(), 5);
    assert_eq!(all_rows(&as_serving(&target), tenants).await, expected);
    let store = Store::open(as_serving(&target), Clock::system()).await.expect("opens");
    assert!(store.system(Purpose::Health).await.is_ok());
    store.close().await;
    source.run(&format!("DROP ROLE {serves}; DROP ROLE {stranger}")).await;
}

#[tokio::test]
async fn a_source_that_is_not_there_or_not_ours_is_named_and_not_made() {
    let (source, target) = (database::sqlite(), database::sqlite());
    let error = copy(&source.config, &target.config).await.expect_err("no file");
    assert_eq!(error.code(), "store.transfer_source_missing");
    let file = source.folder.path().join("backup.db");
    let error = save(&source.config, &file).await.expect_err("no file");
    assert_eq!(error.code(), "store.transfer_source_missing");
    assert_eq!(std::fs::read_dir(source.folder.path()).expect("reads").count(), 0);
    let path = source.config.sqlite_path().expect("a path");
    drop(std::fs::File::create(&path).expect("creates"));
    source.run("CREATE TABLE theirs (id TEXT)").await;
    assert_eq!(copy(&source.config, &target.config).await.expect_err("theirs").code(), "store.not_portico");
    assert_eq!(save(&source.config, &file).await.expect_err("theirs").code(), "store.not_portico");
    assert!(!target.config.sqlite_path().expect("a path").exists());
}
