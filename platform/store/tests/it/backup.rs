//! Backup and restore: one file, of one moment, that is refused when it is not what was written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kernel::{Answer, Clock, Error, TenantId};
use store::{Config, Store, TransferReport, backup, restore};

use crate::database::{self, Database};
use crate::shop::{self, SHOP, all_rows, assert_rows_and_events_agree, fill, item, open};

pub async fn save(from: &Config, file: &Path) -> Result<TransferReport, Error> {
    backup(from, file, SHOP, &Clock::system(), &mut |_| {}).await
}

pub async fn bring_back(file: &Path, to: &Config) -> Result<TransferReport, Error> {
    restore(file, to, SHOP, &Clock::system(), &mut |_| {}).await
}

/// Writes until told to stop: new items, and changes of them.
async fn keep_writing(store: Store, tenant: TenantId, stop: Arc<AtomicBool>) -> i64 {
    let shelf = shop::add_shelf(&store, tenant, "busy").await;
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let mut ctx = shop::ctx(tenant);
        let mut writer = store.write(&mut ctx).await.expect("opens");
        let thing = shop::thing(100_000 + number, shelf);
        let row = writer.insert::<item::Entity>(thing).await.expect("inserts");
        let change = item::ActiveModel { quantity: sea_orm::Set(number), ..Default::default() };
        writer.update::<item::Entity>(row.id, Some(1), change).await.expect("updates");
        writer.commit(Answer::no_content()).await.expect("commits");
        number += 1;
        tokio::task::yield_now().await;
    }
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_restores_to_rows_that_have_their_events() {
    for source in [Some(database::sqlite()), database::postgres().await].into_iter().flatten() {
        let store = open(&source.config).await;
        let tenants = fill(&store, 200).await;
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> =
            tenants.into_iter().map(|tenant| tokio::spawn(keep_writing(store.clone(), tenant, stop.clone()))).collect();
        let mut files: Vec<PathBuf> = Vec::new();
        for number in 0..3 {
            let file = source.folder.path().join(format!("backup {number}.db"));
            let before = store.statistics().committed();
            fixtures::eventually("writes between two backups", || async {
                store.statistics().committed() > before + 5
            })
            .await;
            let (config, path) = (source.config.clone(), file.clone());
            let saved = tokio::spawn(async move { save(&config, &path).await.map(drop) });
            saved.await.expect("runs").expect("saves");
            files.push(file);
        }
        stop.store(true, Ordering::SeqCst);
        for writer in writers {
            assert!(writer.await.expect("goes on") > 0, "nothing was written during the backups");
        }
        store.close().await;
        let mut sizes = Vec::new();
        for file in &files {
            let targets = [Some(database::sqlite()), database::postgres().await];
            let mut both = Vec::new();
            for target in targets.into_iter().flatten() {
                bring_back(file, &target.config).await.expect("restores");
                let restored = all_rows(&target.config, tenants).await;
                restored.iter().for_each(assert_rows_and_events_agree);
                sizes.push(restored.iter().map(|rows| rows.items.len()).sum::<usize>());
                both.push(restored);
            }
            both.dedup();
            assert_eq!(both.len(), 1, "both engines hold the same");
        }
        assert!(sizes.is_sorted() && sizes.first() < sizes.last(), "{sizes:?}");
    }
}

async fn saved() -> (Database, PathBuf) {
    let source = database::sqlite();
    let store = open(&source.config).await;
    fill(&store, 10).await;
    store.close().await;
    let file = source.folder.path().join("backup.db");
    save(&source.config, &file).await.expect("saves");
    (source, file)
}

#[tokio::test]
async fn a_backup_that_was_changed_is_refused() {
    let changes = [
        "UPDATE shop_item SET quantity = quantity - 1 WHERE name LIKE '% 8 %'",
        "UPDATE shop_item SET note = NULL WHERE note = ''",
        "DELETE FROM event_log WHERE seq = 3",
        "INSERT INTO shop_label (tenant_id, id, text, created_at, created_by) \
         SELECT id, id, '', 1, '' FROM tenant",
        "CREATE TABLE more (id TEXT)",
        "UPDATE backup_manifest SET tables = '[]'",
        "UPDATE backup_manifest SET tables = 'x'",
        "DELETE FROM backup_manifest",
        "UPDATE sqlite_sequence SET seq = seq + 1",
    ];
    let (_source, file) = saved().await;
    for change in changes {
        let changed = file.with_extension("changed");
        std::fs::copy(&file, &changed).expect("copies");
        database::run(&format!("sqlite:{}", changed.display()), change).await;
        let target = database::sqlite();
        let error = bring_back(&changed, &target.config).await.expect_err(change);
        assert_eq!(error.code(), "store.backup_damaged", "{change}: {error}");
        assert!(!target.config.sqlite_path().expect("a path").exists(), "{change}");
    }
}

#[tokio::test]
async fn a_backup_that_is_cut_or_is_none_is_refused() {
    let (source, file) = saved().await;
    let whole = std::fs::read(&file).expect("reads");
    let other = file.with_extension("other");
    let mut scribbled = whole.clone();
    let middle = whole.len() / 2;
    scribbled[middle..middle + 4096].fill(0x5a);
    let wrong = [
        (&whole[..whole.len() / 2], "store.backup_damaged"),
        (&scribbled, "store.backup_damaged"),
        (b"no database at all, only some text that is long enough to look at", "store.backup_damaged"),
        (&[], "store.backup_invalid"),
    ];
    for (bytes, code) in wrong {
        std::fs::write(&other, bytes).expect("writes");
        let target = database::sqlite();
        let error = bring_back(&other, &target.config).await.expect_err("not a backup");
        assert_eq!(error.code(), code, "{error}");
        assert!(!target.config.sqlite_path().expect("a path").exists());
    }
    let target = database::sqlite();
    let plain = source.config.sqlite_path().expect("a path");
    let error = bring_back(&plain, &target.config).await.expect_err("a store, not a backup");
    assert_eq!(error.code(), "store.backup_invalid");
    let error = bring_back(&other.join("x"), &target.config).await.expect_err("no file");
    assert_eq!(error.code(), "store.backup_missing");
}

#[tokio::test]
async fn a_backup_is_one_private_file_and_overwrites_nothing() {
    for source in [Some(database::sqlite()), database::postgres().await].into_iter().flatten() {
        let store = open(&source.config).await;
        let tenants = fill(&store, 5).await;
        store.close().await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("it's a backup.db");
        save(&source.config, &file).await.expect("saves");
        let error = save(&source.config, &file).await.expect_err("exists");
        assert_eq!(error.code(), "store.backup_exists");
        let missing = folder.path().join("missing").join("backup.db");
        let error = save(&source.config, &missing).await.expect_err("no folder");
        assert_eq!(error.code(), "store.backup_not_written");
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).expect("reads").map(|entry| entry.expect("reads").file_name()).collect();
        assert_eq!(names, ["it's a backup.db"], "nothing else is left");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = file.metadata().expect("is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).expect("sets");
        }
        let before = std::fs::read(&file).expect("reads");
        let target = database::sqlite();
        bring_back(&file, &target.config).await.expect("restores");
        assert_eq!(std::fs::read(&file).expect("reads"), before, "a restore changes no backup");
        let restored = all_rows(&target.config, tenants).await;
        assert_eq!(restored, all_rows(&source.config, tenants).await);
        // A store that is made of the file itself can be saved again.
        let again = database::sqlite();
        std::fs::copy(&file, again.config.sqlite_path().expect("a path")).expect("copies");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let path = again.config.sqlite_path().expect("a path");
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("sets");
        }
        save(&again.config, &again.folder.path().join("second")).await.expect("saves");
    }
}

#[tokio::test]
async fn a_damaged_database_gives_no_backup() {
    let source = database::sqlite();
    let store = open(&source.config).await;
    fill(&store, 3).await;
    store.close().await;
    let damage = "PRAGMA ignore_check_constraints = ON; UPDATE shop_item SET level = 1000";
    source.run(damage).await;
    let file = source.folder.path().join("backup.db");
    let error = save(&source.config, &file).await.expect_err("damaged");
    assert_eq!(error.code(), "store.database_damaged");
    assert!(!file.exists());
}
