//! A disk that is full, or that fails to sync: writers are told so, reads go on, nothing is there in
//! part, and it works again without a restart. The disk is the shim's, around a child process. Not
//! for power cuts: see `unsynced`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fixtures::eventually;
use kernel::{Error, Id, TenantId};
use store::{Config, Store};
use tokio::task::JoinSet;

use crate::ground::{add, history, open_at};
use crate::server::Server;
use crate::shim::{self, Watched, library, say, told};
use crate::shop::{
    self,
    shelf::{Entity, Shelf},
};

const CHILD: &str = "disk::child";

/// Plays the child's part; does nothing as a test of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Some(role), Some(url)) = (shim::role(), told("PORTICO_TEST_STORE")) else {
        return;
    };
    let flag = PathBuf::from(told(&role).expect("the flag of the fault"));
    let code = if role == "SHIM_FULL" { "store.disk_full" } else { "store.unavailable" };
    let kept = suffer(Config::at(url), &flag, code).await;
    say(&format!("suffered {kept} kept"));
}

/// Writes until the disk refuses; returns what was acknowledged, and the refusal of each task.
async fn write_until_refused(store: &Store, tenant: TenantId) -> (BTreeSet<Id<Shelf>>, Vec<Error>) {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut kept = BTreeSet::new();
            // What was given before may have room left: the log is written again from its start.
            for number in 0..2_000 {
                match add(&store, tenant, &format!("{number} {}", "n".repeat(2_000))).await {
                    Ok(id) => kept.insert(id),
                    Err(error) => return (kept, error),
                };
            }
            panic!("the disk never refused");
        });
    }
    let (mut kept, mut errors) = (BTreeSet::new(), Vec::new());
    for (of_task, error) in tasks.join_all().await {
        kept.extend(of_task);
        errors.push(error);
    }
    (kept, errors)
}

/// Reads without writing anything, as the relay of `history` would.
async fn there(store: &Store, tenant: TenantId) -> BTreeSet<Id<Shelf>> {
    let ctx = shop::ctx(tenant);
    let reader = store.read(&ctx).await.expect("reads go on");
    let rows = reader.select::<Entity>().all().await.expect("reads go on");
    rows.into_iter().map(|row| row.id).collect()
}

async fn suffer(config: Config, flag: &Path, code: &str) -> usize {
    let store = open_at(config.clone()).await;
    let tenant = shop::tenant(&store, "one").await;
    let mut kept = BTreeSet::new();
    for round in 0..3 {
        for _ in 0..30 {
            kept.insert(add(&store, tenant, "there is room").await.expect("at once"));
        }
        std::fs::write(flag, "").expect("sets the flag");
        for _ in 0..2 {
            let (more, errors) = write_until_refused(&store, tenant).await;
            kept.extend(more);
            for error in errors {
                assert_eq!((error.status(), error.code()), (503, code), "{error}");
                assert!(error.retry_after_seconds().is_some());
            }
            assert_eq!(there(&store, tenant).await, kept, "what was acknowledged: round {round}");
        }
        std::fs::remove_file(flag).expect("clears the flag");
        kept.insert(add(&store, tenant, "there is room again").await.expect("at once"));
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert_eq!(found.ids(), kept);
    }
    store.close().await;
    let store = open_at(config).await;
    assert_eq!(history(&store, tenant).await.ids(), kept, "after a restart too");
    kept.len()
}

fn on_a_disk_with(fault: &str, flag: &str) {
    let Some(library) = library() else { return };
    let watched = Watched::new();
    let more = [(fault, watched.flag(flag).display().to_string())];
    let (well, said) = watched.start(library, CHILD, fault, &more).end();
    assert!(well && said.iter().any(|line| line.starts_with("suffered ")), "{said:#?}");
}

#[test]
fn a_full_disk_refuses_changes_and_nothing_else() {
    on_a_disk_with("SHIM_FULL", "full");
}

#[test]
fn a_sync_that_fails_is_not_acknowledged() {
    on_a_disk_with("SHIM_BROKEN", "broken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_the_server_refuses_changes_and_nothing_else() {
    let Some(server) = library().and_then(Server::start) else {
        return;
    };
    let mut config = Config::at(server.url());
    (config.connections, config.acquire_timeout_ms) = (12, 5_000);
    eventually("the server answers", async || store::pending(&config, &[]).await.is_ok()).await;
    suffer(config, &server.full(), "store.disk_full").await;
}
