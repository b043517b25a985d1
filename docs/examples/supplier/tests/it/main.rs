//! The example, through the door: one file per resource or action, on every engine that is there. A
//! new file in this folder is found by itself.

automod::dir!("tests/it");

use testkit::TestApp;

/// Returns the example on a fresh database of each engine.
async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        apps.push(TestApp::start(engine, vec![example_suppliers::service()], Default::default()).await);
    }
    apps
}
