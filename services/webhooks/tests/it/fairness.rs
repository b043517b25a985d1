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
        let to = |path: &str| receiver.got().iter().filter(|message| message.path == path).count();
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
