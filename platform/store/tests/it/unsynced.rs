//! Acknowledged means on disk: a process is killed under load, everything that it had not synced is
//! taken away, and what it had acknowledged is still there. Not for kill -9 alone, which loses
//! nothing that was written.

use std::collections::BTreeMap;
use std::path::Path;

use kernel::{Answer, Clock, Id, TenantId};
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use store::{Config, Purpose, Store, migrate};

use crate::ground::{Random, Sql, history, renamed, shelf};
use crate::power_cut::cut_power;
use crate::shim::{self, Running, Watched, library, say, told};
use crate::shop::{self, SHOP, shelf as shelves};

use shelves::{Entity, Shelf};

const CHILD: &str = "unsynced::child";

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

/// Plays the child's part; does nothing as a test of its own.
#[test]
fn child() {
    let (Some(role), Some(url)) = (shim::role(), told("PORTICO_TEST_STORE")) else {
        return;
    };
    match role.as_str() {
        "store" => runtime().block_on(write_for_ever(Config::at(url))),
        synchronous => runtime().block_on(write_carelessly(&url, synchronous)),
    }
}

async fn write_for_ever(config: Config) {
    migrate(&config, SHOP, &Clock::system()).await.expect("migrates");
    let store = Store::open(config, Clock::system()).await.expect("opens");
    let seed = told("SEED").and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let system = store.system(Purpose::Housekeeping).await.expect("opens");
    // Small enough that checkpoints and new beginnings of the log happen all the time.
    let pages = 5 + Random::seeded(seed).below(100);
    system.rows(&Sql(&format!("PRAGMA wal_autocheckpoint = {pages}"))).await.expect("sets");
    system.commit().await.expect("commits");
    let system = store.system_read(Purpose::SignIn).await.expect("opens");
    let known = system.tenant_by_slug("one").await.expect("reads");
    system.close().await.expect("closes");
    let tenant = match known {
        Some(tenant) => tenant.id,
        None => shop::tenant(&store, "one").await,
    };
    say("ack tenant 1");
    let tasks: Vec<_> = (0..8).map(|task| tokio::spawn(write(store.clone(), tenant, seed + task))).collect();
    for task in tasks {
        task.await.expect("writes until it is killed");
    }
}

async fn write(store: Store, tenant: TenantId, seed: u64) {
    let mut random = Random::seeded(seed);
    let mut last: Option<Id<Shelf>> = None;
    loop {
        let mut ctx = shop::ctx(tenant);
        let mut writer = store.write(&mut ctx).await.expect("opens");
        let name = "n".repeat(1 + random.below(3_000) as usize);
        let row = match (random.below(4), last) {
            (0, Some(id)) => writer.delete::<Entity>(id, None).await,
            (1, Some(id)) => writer.update::<Entity>(id, None, renamed(&name)).await,
            _ => writer.insert::<Entity>(shelf(&name)).await,
        };
        let row = row.expect("changes");
        last = row.deleted_at.is_none().then_some(row.id);
        writer.commit(Answer::no_content()).await.expect("commits");
        say(&format!("ack {} {}", row.id, row.version));
    }
}

/// Notes what a child has acknowledged: the last version of each row.
fn listen(acknowledged: &mut BTreeMap<String, i64>, line: &str) {
    let (id, version) = line.split_once(' ').expect("two words");
    acknowledged.insert(id.to_owned(), version.parse().expect("a version"));
}

async fn open_raw(path: &Path) -> SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.expect("opens")
}

async fn assert_sound(path: &Path) {
    let mut connection = open_raw(path).await;
    let rows = sqlx::query("PRAGMA integrity_check").fetch_all(&mut connection).await.expect("checks");
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(found, ["ok"]);
    connection.close().await.expect("closes");
}

async fn assert_kept(config: &Config, acknowledged: &BTreeMap<String, i64>) {
    // As a restart does: the log is read again, and steps that were cut off are applied again.
    migrate(config, SHOP, &Clock::system()).await.expect("migrates");
    assert_sound(&config.sqlite_path().expect("a path")).await;
    let store = Store::open(config.clone(), Clock::system()).await.expect("opens");
    let system = store.system_read(Purpose::SignIn).await.expect("opens");
    let tenant = system.tenant_by_slug("one").await.expect("reads");
    system.close().await.expect("closes");
    let Some(tenant) = tenant else {
        assert!(acknowledged.is_empty(), "the tenant itself is lost");
        store.close().await;
        return;
    };
    let found = history(&store, tenant.id).await;
    store.close().await;
    found.assert_whole();
    let versions: BTreeMap<_, _> = found.shelves.iter().map(|row| (row.id.to_string(), row.version)).collect();
    for (id, version) in acknowledged {
        if id != "tenant" {
            assert!(
                versions.get(id).is_some_and(|found| found >= version),
                "{id} {version} was acknowledged and is lost"
            );
        }
    }
}

/// Lets the child work until it has been busy enough, then kills it.
fn kill_some_time(mut child: Running, log: &Path, random: &mut Random, acknowledged: &mut BTreeMap<String, i64>) {
    if random.below(4) == 0 {
        // At a moment of its start: during the migration, the opening, the first writes.
        let bytes = random.below(600_000);
        let journal = log.join("journal");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while journal.metadata().map_or(0, |known| known.len()) < bytes {
            assert!(std::time::Instant::now() < deadline, "the child does not write");
            std::thread::yield_now();
        }
    } else {
        for _ in 0..1 + random.below(400) {
            listen(acknowledged, &child.next("ack ").expect("the child works until it is killed"));
        }
    }
    child.kill("ack ").iter().for_each(|line| listen(acknowledged, line));
}

fn rounds() -> u64 {
    told("PORTICO_UNSYNCED_ROUNDS").and_then(|rounds| rounds.parse().ok()).unwrap_or(25)
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let Some(library) = library() else { return };
    let mut random = Random::seeded(7);
    let (mut lost, mut all) = (0, 0);
    let mut watched = Watched::new();
    let mut acknowledged = BTreeMap::new();
    for round in 0..rounds() {
        if round % 5 == 0 {
            watched = Watched::new();
            acknowledged.clear();
        }
        watched.forget();
        let more = [
            ("SEED", random.next().to_string()),
            ("SHIM_LOG", watched.log().display().to_string()),
            ("SHIM_SYNC_US", "300".to_owned()),
        ];
        let child = watched.start(library, CHILD, "store", &more);
        kill_some_time(child, &watched.log(), &mut random, &mut acknowledged);
        // Every second time the disk had taken some of it, in any order.
        let chance = (round % 2 == 1).then_some(&mut random);
        lost += cut_power(&watched.data(), &watched.log(), chance);
        all += acknowledged.len();
        runtime().block_on(assert_kept(&Config::at(watched.url()), &acknowledged));
    }
    println!("{all} acknowledged, {lost} unsynced changes taken away");
    assert!(lost > 0 && all > 0, "nothing was at stake");
}

/// Writes as the store refuses to: without waiting for the disk.
async fn write_carelessly(url: &str, synchronous: &str) {
    let path = url.strip_prefix("sqlite:").expect("a path");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let options = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let mut connection = options.connect().await.expect("opens");
    let set = format!(
        "PRAGMA synchronous = FULL; CREATE TABLE note (id INTEGER PRIMARY KEY); PRAGMA synchronous = {synchronous}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut connection).await.expect("sets");
    for id in 1.. {
        let done = sqlx::query("INSERT INTO note (id) VALUES (?)").bind(id).execute(&mut connection).await;
        done.expect("inserts");
        say(&format!("ack {id}"));
    }
}

/// Returns how many of the acknowledged rows a power cut took away.
fn lose(library: &Path, synchronous: &str) -> usize {
    let watched = Watched::new();
    watched.forget();
    let more = [("SHIM_LOG", watched.log().display().to_string())];
    let mut child = watched.start(library, CHILD, synchronous, &more);
    let mut acknowledged: Vec<_> = (0..50).map(|_| child.next("ack ").expect("it works")).collect();
    acknowledged.extend(child.kill("ack "));
    cut_power(&watched.data(), &watched.log(), None);
    let path = watched.data().join("portico.db");
    let found = runtime().block_on(async {
        let mut connection = open_raw(&path).await;
        let rows = sqlx::query("SELECT id FROM note").fetch_all(&mut connection).await.expect("reads");
        rows.len()
    });
    acknowledged.len().saturating_sub(found)
}

#[test]
fn the_power_cut_is_real_for_whoever_does_not_sync() {
    let Some(library) = library() else { return };
    assert_eq!(lose(library, "FULL"), 0, "what is synced is kept");
    assert!(lose(library, "NORMAL") >= 50, "synchronous=NORMAL does not sync each commit");
    assert!(lose(library, "OFF") >= 50, "synchronous=OFF never syncs");
}
