//! Whose `traceparent` has a request recorded: a stranger's raises nothing, here or behind the door. What a recorded
//! request leaves is tested where the spans are.

use kernel::Clock;
use prometheus_client::registry::Registry;
use serde_json::Value;
use telemetry::{Config, Exporter, TrustParent};
use tokio::runtime::Handle;

use crate::front::Front;
use crate::member;

const DECLARED: &str = r#"
[upstreams.origin]
servers = ["http://ORIGIN"]
[[routes]]
path = "/open"
upstream = "origin"
access = "public"
[[routes]]
path = "/mine"
upstream = "origin"
[[routes]]
path = "/both"
composition = "both"
[compositions.both.parts.mine]
path = "/mine"
"#;

const ONE: (&str, &str) = ("authorization", "Bearer one");
const OTHER: (&str, &str) = ("authorization", "Bearer other");
const SAMPLED: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
const UNSAMPLED: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");

/// Returns a front door that records traces so, and what exports them.
async fn front(trust_parent: TrustParent) -> (Front, Exporter) {
    let front = Front::open(DECLARED).await;
    front.tokens.add("one", &member("tok_1"));
    let collector = front.origin.start().await;
    let config = Config { endpoint: format!("http://{collector}"), trust_parent, ..Config::default() };
    let mut registry = Registry::default();
    let exporter = Exporter::start(&config, "p1", Clock::system(), &Handle::current(), &mut registry);
    let exporter = exporter.expect("an exporter");
    front.lasting.trace_with(exporter.tracer());
    front.reload("", "").await.expect("doors that record");
    (front, exporter)
}

/// Returns the trace, the span and the flags that the origin was told.
fn told(answer: &Value) -> (String, String, String) {
    let parent = answer["headers"]["traceparent"].as_str().unwrap_or_default();
    let mut fields = parent.split('-').skip(1).map(str::to_owned);
    let mut next = || fields.next().unwrap_or_default();
    (next(), next(), next())
}

#[tokio::test]
async fn a_strangers_wish_is_taken_out_and_a_known_callers_is_followed() {
    for (trust, strangers, known) in
        [(TrustParent::SignedIn, "00", "01"), (TrustParent::Always, "01", "01"), (TrustParent::Never, "00", "00")]
    {
        let (front, exporter) = front(trust).await;
        for (target, headers, flags) in [
            ("/open", &[SAMPLED][..], strangers),
            // A public route asks nobody who he is: a token that was not checked proves nothing.
            ("/open", &[SAMPLED, ONE], strangers),
            ("/open", &[SAMPLED, OTHER], strangers),
            ("/mine", &[SAMPLED, ONE], known),
        ] {
            let (trace, span, told) = told(&front.get(target, headers).await.json());
            assert_eq!(told, flags, "{trust:?} {target} {headers:?}");
            assert_eq!(trace, SAMPLED.1[3..35], "the trace goes on, recorded or not");
            assert_ne!(span, SAMPLED.1[36..52], "whoever changes the flag has a span of his own");
        }
        let parts = front.get("/both", &[SAMPLED, ONE]).await.json();
        assert_eq!(told(&parts["mine"]).2, known, "{trust:?}: parts of a composition go with the whole");
        // Who does not want to be recorded is not, and is passed on to the letter.
        let answer = front.get("/mine", &[UNSAMPLED, ONE]).await.json();
        assert_eq!(answer["headers"]["traceparent"], UNSAMPLED.1);
        assert_eq!(front.get("/mine", &[SAMPLED, OTHER]).await.status, 401);
        exporter.stop().await;
        front.stop().await;
    }
}
