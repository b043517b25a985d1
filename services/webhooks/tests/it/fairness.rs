//! An endpoint that does not answer keeps its own deliveries waiting, and nobody else's.

use super::*;
use network::{Line, Scripted};

const BLACK_HOLE: &str = "10.9.9.9";

async fn house(engine: Engine) -> (TestApp, Arc<Scripted>) {
    let silent = BLACK_HOLE.parse().expect("an address");
    let network = Arc::new(Scripted::new(Line::SilentAt(silent), |_, _| Vec::new()));
    let allow_networks = vec!["127.0.0.0/8".into(), format!("{BLACK_HOLE}/32")];
    let settings = Settings { allow_http: true, allow_networks, timeout_ms: 100, ..Settings::default() };
    (app_on(engine, settings, network.clone()).await, network)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_is_probed_and_delays_nobody() {
    for engine in testkit::engines() {
        let (app, network) = house(engine).await;
        let (farm, mill, receiver) = (app.tenant("farm").await, app.tenant("mill").await, Receiver::start().await);
        let silent = json!({ "url": format!("http://{BLACK_HOLE}/") });
        endpoint(&app, &farm, silent).await;
        endpoint(&app, &farm, json!({ "url": receiver.url("/farm") })).await;
        endpoint(&app, &mill, json!({ "url": receiver.url("/mill") })).await;
        for number in 0..30 {
            happen(&app, &farm, "things.thing.made", &format!("thing-{number}")).await;
        }
        for number in 0..5 {
            happen(&app, &mill, "things.thing.made", &format!("thing-{number}")).await;
        }
        app.settle().await;
        let tries = || network.called().iter().filter(|address| address.ip().to_string() == BLACK_HOLE).count();
        // What found a lane full comes back in a moment; the fifth failure in a row ends that.
        for _ in 0..20 {
            pass(&app, SECOND);
            app.settle().await;
        }
        let first = tries();
        // On a busy machine one may take too long, and comes again.
        let to = |path: &str| {
            let got = receiver.got();
            let ids = got.iter().filter(|message| message.path == path).map(|message| message.header("webhook-id"));
            ids.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!((to("/farm"), to("/mill")), (30, 5));
        let pending = deliveries(&app, &farm).await.iter().filter(|delivery| delivery["state"] == "pending").count();
        assert_eq!(pending, 30);
        // Whoever had looked before the fifth failure was written may go once more.
        assert!((5..=8).contains(&first), "{first} tries of 30 deliveries");
        // At the next moment for a probe, one delivery goes.
        pass(&app, SECOND * 600);
        app.settle().await;
        assert_eq!(tries(), first + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn black_holes_of_two_tenants_leave_workers_for_a_third() {
    const HOLES: usize = 6;
    const EVENTS: usize = 20;
    for engine in testkit::engines() {
        let silent = BLACK_HOLE.parse().expect("an address");
        let network = Arc::new(Scripted::new(Line::SilentAt(silent), |_, _| Vec::new()));
        let allow_networks = vec!["127.0.0.0/8".into(), format!("{BLACK_HOLE}/32")];
        let settings = Settings { allow_http: true, allow_networks, timeout_ms: 20_000, ..Settings::default() };
        let app = app_on(engine, settings, network.clone()).await;
        let (farm, mill, shop) = (app.tenant("farm").await, app.tenant("mill").await, app.tenant("shop").await);
        let receiver = Receiver::start().await;
        for tenant in [&farm, &mill] {
            for number in 0..HOLES {
                endpoint(&app, tenant, json!({ "url": format!("http://{BLACK_HOLE}/{number}") })).await;
            }
            for _ in 0..3 {
                happen(&app, tenant, "things.thing.made", "thing").await;
            }
        }
        endpoint(&app, &shop, json!({ "url": receiver.url("/shop") })).await;
        let dispatch = || async {
            app.relay().await;
            app.dispatcher().run_until_idle().await.expect("the log can be read");
        };
        dispatch().await;
        let _working = app.engine().start();
        let tries = || network.called().iter().filter(|address| address.ip() == silent).count();
        reached("the places for new endpoints are taken", || tries() >= 4).await;
        for number in 0..EVENTS {
            happen(&app, &shop, "things.thing.made", &format!("thing-{number}")).await;
        }
        dispatch().await;
        // Those that find the lane of a new endpoint taken come back when some time has passed.
        reached("the third tenant's are delivered", || {
            pass(&app, SECOND / 100);
            receiver.count() == EVENTS
        })
        .await;
        assert_eq!(tries(), 4, "two for each tenant");
        for tenant in [&farm, &mill] {
            let listed = deliveries(&app, tenant).await;
            assert_eq!(listed.len(), HOLES * 3);
            assert!(listed.iter().all(|delivery| delivery["attempts"] == 0), "the others still hang");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_repair_an_endpoint_forgets_its_failures() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        let (path, _) = endpoint(&app, &tenant, json!({ "url": receiver.url("/one") })).await;
        receiver.answers(|_| receiver::answer(500));
        for _ in 0..8 {
            happen(&app, &tenant, "things.thing.made", "thing").await;
            app.settle().await;
            pass(&app, SECOND * 2);
        }
        let broken = receiver.count();
        let tried_after = async |change: Value| {
            ask(&app, &tenant, Method::PATCH, &path, change).await.expect(200);
            happen(&app, &tenant, "things.thing.made", "thing").await;
            app.settle().await;
            receiver.count()
        };
        for change in [json!({ "description": "new" }), json!({ "enabled": true }), json!({ "url": receiver.url("/one") })] {
            assert_eq!(tried_after(change.clone()).await, broken, "{change}");
        }
        assert!(tried_after(json!({ "url": receiver.url("/two") })).await > broken);
    }
}

/// Looks until something is so, for less long than a black hole's attempt lasts.
async fn reached(what: &str, mut so: impl FnMut() -> bool) {
    let looking = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}
